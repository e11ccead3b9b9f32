"""`probe report --share`: whatever may name somebody is gone from every format, in every form."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.output import Context, formats, output
from probe.redact import MASK, Redactor
from probe.runs.saved import Saved, read
from probe.runs.share import shared
from probe.runs.share.stand_ins import StandIns
from probe.runs.share.texts import Texts, words
from tests.output.runs import FOLDER, NAMES

# What no text of ours, no server and no number holds.
NEEDLES = ("zqwxv", "kjhgf", "vbnmq")
ADDRESS, SIX, SERIAL = "81.2.69.142", "2a02:8108:dead:beef::77", "7f3a9b2c5d8e1f4a6b7c"
HOST = "zqwxv.kjhgf.test"
FORMS = (
    "zqwxv",
    "Zqwxv Kjhgf GmbH",
    "zqwxv@kjhgf.test",
    f"220 {HOST} ESMTP Vbnmq Gateway ready",
    f"250-{HOST.upper()} Hello [{ADDRESS}]",
    "KJHGF\\zqwxv",
    "/home/zqwxv/kjhgf/ca.pem",
    "C:\\Users\\zqwxv\\kjhgf.toml",
    f"<AM0PR01-7731-2209@{HOST}>",
    f"CN={HOST},O=Zqwxv Kjhgf AG,L=Vbnmq,C=DE",
    f"<I>CN=Zqwxv Root CA<S>CN=*.{HOST}",
    base64.b64encode(b"zqwxv.kjhgf.test says vbnmq").decode(),
    base64.urlsafe_b64encode(b"?>zqwxv.kjhgf").decode(),
    base64.b64encode("ZQWXV".encode("utf-16-le")).decode(),
    b"zqwxv.kjhgf".hex(),
    ":".join(f"{one:02X}" for one in b"zqwxv.kjhgf"),
    "%7aqwxv%2Ekjhgf=20vbnm=71",
    "zq&#119;xv \\u007aqwxv",
    "mail.zqwxvü.test xn--zqwxv-kva.test XN--ZQWXV-KVA.TEST",
    f"Received: from {HOST} ([{ADDRESS}])\r\n\tby vbnmq.kj\r\n hgf.test id 4BxZQWXV9",
    f"142.69.2.81.in-addr.arpa 81-2-69-142.dyn.{HOST} ip-81-2-69-142",
    f"{SIX} [IPv6:{SIX}]:587 " + ".".join("7700000000000000feebdaed801820a2") + ".ip6.arpa",
    f"https://portal.{HOST}/~zqwxv/reset?user=kjhgf",
    f"_587._tcp.{HOST}. IN TLSA 3 1 1 {SERIAL}{SERIAL}",
    f"in folder INBOX/Zqwxv/Kjhgf, serial {SERIAL.upper()}, {' '.join(re.findall('..', SERIAL))}",
    f"queued as {SERIAL.upper()} tenant 3d2f8a71-zqwx-4b8e-9c55-0123456789ab, 3d2f8a71-1c2d-4b8e-9c55-0123456789ab",
    "call +49 89 5551234567",
    "call +49 (89) 555 12 345 67 or 212-555-1234567, (212) 555-9876",
    f"refused by [{ADDRESS}]: v{ADDRESS}, 081.002.069.142, addr:{ADDRESS}:25, x{ADDRESS}",
    f"ip:{SIX}: refused, addr={SIX}/64, 2a02:8108:0:0:dead:beef:5:77",
)
GONE = (
    *NEEDLES,
    ADDRESS,
    "142.69.2.81",
    "81-2-69-142",
    "dead:beef",
    "feebdaed",
    "f.e.e.b.d.a.e.d",
    SERIAL,
    "3d2f8a71",
    "5551234567",
)
# What a run says in words of its own: nobody's name can come there.
STRUCTURE = frozenset(
    """verdict status severity kind security failed_stage direction connection alarm schema version
    started""".split()  # noqa: SIM905
)


def leaves(value: Any, key: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Every text of the JSON: the table or list that holds it, its place there, and the name it stands under."""
    for place, item in value.items() if isinstance(value, dict) else enumerate(value):
        name = place if isinstance(place, str) else key
        if isinstance(item, (dict, list)):
            yield from leaves(item, name)
        elif isinstance(item, str) and name not in STRUCTURE:
            yield value, place, name


def sown(text: str, shift: int) -> Saved:
    """A run with a name to be hidden in each of its texts, and as every name that a server or a profile gives."""
    data = json.loads(text)
    for report in data["reports"]:
        kept = [
            (one, key, one[key])
            for part in ("stages", "findings")
            for one in report[part]
            for key in ("name", "id", "stage")
            if key in one
        ]
        for number, (table, place, name) in enumerate(list(leaves(report))):
            if name == "finding" or re.fullmatch(r"\d{4}-\d\d-\d\dT.*", table[place]):
                continue
            form = FORMS[(number + shift) % len(FORMS)]
            table[place] = form if (number + shift) % 3 else f"{table[place]} {form}"
        for one, key, value in kept:
            one[key] = value
        for stage in report["stages"]:
            facts = stage["facts"]
            for named in ("keywords", "resolvers", "reader_hosts", "quota", "delays", "returned", "asked_for", "tlsa"):
                if facts.get(named):
                    facts[named] = {f"{FORMS[index]}": item for index, item in enumerate(facts[named].values())}
            if stage["name"].endswith(("auth", "login")):
                facts["token"] = {"upn": "zqwxv@kjhgf.test", "Zqwxv": ["kjhgf", {"vbnmq": HOST}]}
                facts["reason"] = {"status": "zqwxv", "Kjhgf": "vbnmq"}
    return read(json.dumps(data), "sown")


def written(saved: Saved, format: str) -> str:
    context = Context(saved.started, saved.seconds, transcript=True, version=saved.version)
    return output(format).write(saved.reports, context)


def left(text: str) -> list[str]:
    """What can still be read of what was to be hidden, over the ends of lines too."""
    plain = re.sub(r"(\\r|\\n|\\t|\s)+", "", text.casefold())
    return [word for word in GONE if word in text.casefold() or word in plain]


SOWN = ("ok-exchange", "failed-smtp-submit", "failed-smtp-certificate", "nodes", "footer", "hostile-reply", "late-hops")


@pytest.fixture(scope="module", params=[(name, shift) for name in SOWN for shift in (0, 5, 13)], ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[Saved, Saved]:
    """A run full of names, and the same shared."""
    name, shift = request.param
    before = sown((FOLDER / f"{name}.json").read_text(encoding="ascii"), shift)
    return before, shared(before)


def test_nothing_that_names_somebody_is_left_in_any_format(pair: tuple[Saved, Saved]) -> None:
    before, after = pair
    assert set(left(written(before, "json"))) > set(NEEDLES), "the test sows nothing"
    for format in formats():
        assert left(written(after, format)) == [], format


def test_nothing_is_left_that_could_be_decoded(pair: tuple[Saved, Saved]) -> None:
    before, after = pair
    assert MASK in Redactor(NEEDLES).text(written(before, "json"))
    assert MASK not in Redactor(NEEDLES).text(written(after, "json"))


@given(
    st.text("bcdfghjkqvwxz", min_size=6, max_size=20),
    st.sampled_from(
        [
            "{}",
            "{}@mail.test",
            "x@{}.test",
            "{}.mail.test",
            "mail.{}",
            "[{}]",
            "AUTH={}",
            "'{}'",
            "_{}_",
            "5{}",
            "/home/{}/",
            "-{}-",
        ]
    ),
    st.sampled_from(
        [str, str.upper, str.title, lambda one: base64.b64encode(one.encode()).decode(), lambda one: one.encode().hex()]
    ),
    st.sampled_from(["550 5.1.1 {} unknown", "{}", "250-{}", "a, {}; b", "<{}>", "CN={},O=x", "{}:587", '"{}" {}']),
)
@settings(max_examples=300, deadline=None)
def test_a_word_nobody_knows_never_stays(word: str, form: str, coded: Any, place: str) -> None:
    said = place.replace("{}", coded(form.format(word)))
    assert MASK not in Redactor([word]).text(Texts(StandIns()).text(said)), said


def test_the_same_value_has_the_same_stand_in_and_another_value_another() -> None:
    texts = Texts(StandIns())
    texts.learn_user("jane@mail.corp-x.com")
    assert texts.text("Jane, JANE@mail.corp-x.com, jane") == "user1, user1@host1.example, user1"
    assert texts.text("mail.corp-x.com MAIL.CORP-X.COM. *.corp-x.com corp-x.com www.corp-y.com") == (
        "host1.example host1.example. *.example example host2.domain2.example"
    )
    assert texts.text("10.0.0.11 [10.0.0.11]:25 10.0.0.12") == "192.0.2.1 [192.0.2.1]:25 192.0.2.2"
    assert texts.text("2a02:8108::1 2A02:8108:0::1 11.0.0.10.in-addr.arpa") == "2001:db8::1 2001:db8::1 1.2.0.192.in-addr.arpa"
    assert texts.text("bücher.test xn--bcher-kva.test") == "domain3.example domain3.example"
    assert texts.text("AB:CD:EF:01:23:45:67:89 abcdef0123456789") == "0000000000000001 0000000000000001"
    assert texts.text("<20261127.ABC123@mail.corp-x.com>") == "<id1@host1.example>"


def test_what_names_nobody_stays() -> None:
    texts = Texts(StandIns())
    for said in (
        "smtp.gmail.com outlook.office365.com smtp.office365.com",
        "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
        "552 5.2.2 Mailbox full",
        "TLSv1.3 TLS_AES_256_GCM_SHA384 ECDHE-RSA-AES256-GCM-SHA384",
        "250-SIZE 37748736",
        "2026-11-24T02:47:04Z, Tue, 24 Nov 2026 02:47:04 +0000",
        "localhost 127.0.0.1 ::1 0.0.0.0",
        "smtp.submit submit.refused certificate.name-mismatch account.username tls.ca_file",
        "C=US,O=Let's Encrypt,CN=R11",
        "https://aka.ms/smtp_auth_disabled",
    ):
        assert texts.text(said) == said
    tenant = texts.text("ZQ9PR02CA0001.outlook.office365.com zqwxv.onmicrosoft.com")
    assert tenant == "host1.outlook.office365.com host2.onmicrosoft.com"
    assert (
        texts.text("kjhgf-test.mail.protection.outlook.com zqwxv@gmail.com") == "host3.mail.protection.outlook.com user1@gmail.com"
    )


def test_what_stood_in_a_place_of_its_own_is_known_in_every_text_number_or_not() -> None:
    texts = Texts(StandIns())
    texts.learn_user("CORP-X\\10482")
    texts.learn_id("73311")
    texts.learn_numbers("CN=x,SERIALNUMBER=104377,PostalCode=80331,O=Y 2026")
    assert texts.text("10482 corp-x 250 Ok 73311 register 104377, 80331 in 2026") == (
        "user1 host1 250 Ok id1 register number1, number2 in 2026"
    )


@pytest.mark.not_on_windows("its clock of a process' work goes in steps of 16 ms")
@pytest.mark.parametrize(
    "piece", ["a-", "a.", "a@", "1.", "1:", "ab:", "ab ", "+1 ", "*.", "1-", "a_", "\\", "<", "x=", "2a02:8108::1: "]
)
def test_work_grows_as_the_text_does(piece: str) -> None:
    """Eight times the text takes about eight times the work, not sixty-four: a server's line may be long."""
    from time import process_time

    def work(octets: int) -> float:
        began = process_time()
        Texts(StandIns()).text(piece * (octets // len(piece)))
        return process_time() - began

    work(100)  # the list of words is read once
    assert work(160_000) < 32 * max(min(work(20_000) for _ in range(3)), 0.001)


def test_many_addresses_get_one_each() -> None:
    given_out = StandIns()
    made = {given_out.address(f"10.{one // 250}.{one % 250}.9") for one in range(1000)}
    assert len(made) == 1000 and not any(one.startswith("10.") for one in made)


@pytest.mark.parametrize("name", NAMES)
def test_a_shared_run_is_a_run_with_the_same_verdict(name: str) -> None:
    before = read((FOLDER / f"{name}.json").read_text(encoding="ascii"), name)
    after = shared(before)
    again = read(written(after, "json"), name)
    assert [one.verdict for one in again.reports] == [one.verdict for one in before.reports]
    for old, new in zip(before.reports, again.reports, strict=True):
        assert [(one.id, one.stage, one.severity) for one in new.findings] == [
            (one.id, one.stage, one.severity) for one in old.findings
        ]
        assert [(one.name, one.status, one.record.seconds) for one in new.stages] == [
            (one.name, one.status, one.record.seconds) for one in old.stages
        ]
        assert len(new.transcript) == len(old.transcript)


def test_our_own_words_are_on_the_list() -> None:
    """`make reference` makes the list: what a finding says is readable when it is shared."""
    from probe.judge import kinds

    said = " ".join(f"{kind.summary} {kind.cause} {' '.join(kind.remedy)}" for kind in kinds().values())
    missing = {word for word in re.findall(r"[^\W_]+", said) if word.isalpha() and word.casefold() not in words()}
    assert missing <= {"contoso"}, "make reference"


def test_the_command_shares_what_it_prints_and_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And over all reports of a file the same name has the same stand-in."""
    from probe.cli import entry

    page = tmp_path / "page.html"
    code = entry(["report", str(FOLDER / "nodes.json"), "--share", "-o", "json", "--report", f"html={page}"])
    said = capsys.readouterr().out
    before, after = json.loads((FOLDER / "nodes.json").read_text()), json.loads(said)
    assert code == before["exit_code"]
    for text in (said, page.read_text(encoding="utf-8")):
        assert not any(name in text for name in ("mail.sandbox.test", "EX01", "probe@sandbox.test", "submission-probe-"))
    names = set(zip(greeted(before), greeted(after), strict=True))
    assert len(greeted(before)) > 1 and len(names) == len({real for real, _ in names}) == len({stand_in for _, stand_in in names})


def greeted(run: dict[str, Any]) -> list[str]:
    """The name that each report's server gave in its greeting."""
    stages = [stage for report in run["reports"] for stage in report["stages"] if stage["name"] == "smtp.greeting"]
    return [stage["facts"]["name"] for stage in stages if stage["facts"].get("name")]
