"""What came back: whose word counts, what filters wrote, what is judged of it and in which words it is shown."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import probe.observe.evidence as evidence
from probe.facts import Verified, rebuilt, to_json
from probe.judge.evidence import of_message
from probe.message.evidence import authentication, delivered, spam
from probe.message.evidence.border import border
from probe.observe.connection import Deadline
from probe.output._came_back import items
from probe.profile import load_mapping
from probe.report import Finding
from probe.tasks.plan import plugins

OUTSIDE = "Received: from client\r\n\tby relay.elsewhere.test (Postfix) with ESMTPS id A; Fri, 27 Nov 2026 10:00:00 +0000\r\n"
EDGE = "Received: from relay.elsewhere.test\r\n\tby mx.contoso.com (Postfix) with ESMTPS id B; Fri, 27 Nov 2026 10:00:01 +0000\r\n"
STORE = "Received: from mx.contoso.com by box with LMTP id C\r\n"
GENUINE = (
    "Authentication-Results: mx.contoso.com; spf=pass (sender IP is 192.0.2.9)\r\n"
    "\tsmtp.mailfrom=probe@contoso.com; dmarc=fail header.from=contoso.com\r\n"
)
FORGED = "Authentication-Results: mx.contoso.com; dmarc=pass header.from=contoso.com; spf=pass smtp.mailfrom=contoso.com\r\n"
MAIL = "From: Probe <probe@contoso.com>\r\nSubject: x\r\n\r\ntext\r\n"


def said(text: str, *trusted: str) -> dict[str, tuple[str, str | None]]:
    """By method (the first is the topmost): its result, and why it does not count."""
    return {one.method: (one.result, one.ignored) for one in reversed(authentication.results(delivered(text.encode()), trusted))}


def test_the_receiving_sides_word_counts_and_what_lies_below_does_not() -> None:
    for text in (STORE + EDGE + GENUINE + OUTSIDE + FORGED + MAIL, STORE + GENUINE + EDGE + OUTSIDE + FORGED + MAIL):
        results = authentication.results(delivered(text.encode()), ())
        assert [(one.method, one.result) for one in results if one.ignored is None] == [("spf", "pass"), ("dmarc", "fail")]
        assert {one.ignored for one in results if one.ignored} == {authentication.FROM_OUTSIDE}


def test_a_forged_field_under_the_same_name_never_counts() -> None:
    """With and without one that is genuine, with and without a Received field of its own."""
    only = said(STORE + EDGE + OUTSIDE + FORGED + MAIL)
    assert only["dmarc"] == ("pass", authentication.FROM_OUTSIDE)
    below = said(STORE + EDGE + GENUINE + FORGED + MAIL)
    assert below["dmarc"] == ("fail", None)
    named = said(STORE + EDGE + OUTSIDE + FORGED + MAIL, "mx.contoso.com")
    assert named["dmarc"] == ("pass", authentication.FROM_OUTSIDE)


def test_whom_the_profile_trusts() -> None:
    gateway = GENUINE.replace("mx.contoso.com", "filter.example.net")
    assert said(STORE + gateway + EDGE + MAIL)["dmarc"] == ("fail", authentication.NOT_TRUSTED)
    assert said(STORE + gateway + EDGE + MAIL, "Filter.Example.net")["dmarc"] == ("fail", None)
    assert said(STORE + GENUINE + EDGE + MAIL, "filter.example.net")["dmarc"] == ("fail", authentication.NOT_OF_PROFILE)


def test_handing_over_within_a_house() -> None:
    """Gmail hands over without a name, Exchange Online by many, and writes no authserv-id."""
    gmail = (
        "Received: by 2002:a05:6402:1 with SMTP id x\r\n"
        "Received: from mail.contoso.com by mx.google.com with ESMTPS id y; Fri, 27 Nov 2026 10:00:01 +0000\r\n"
        "Authentication-Results: mx.google.com;\r\n       dkim=pass header.i=@contoso.com header.s=s1;\r\n"
        "       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=contoso.com\r\n"
    )
    assert said(gmail + MAIL) == {"dkim": ("pass", None), "dmarc": ("pass", None)}
    online = (
        "Received: from AM0PR01.eurprd01.prod.outlook.com by DB7PR01.eurprd01.prod.outlook.com with HTTPS\r\n"
        "Received: from AM5EUR02.eop-EUR02.prod.protection.outlook.com by AM0PR01.eurprd01.prod.outlook.com\r\n"
        "Authentication-Results: spf=pass (sender IP is 192.0.2.9) smtp.mailfrom=contoso.com; dkim=pass (signature was verified)"
        " header.d=contoso.com;dmarc=pass action=none header.from=contoso.com;compauth=pass reason=100\r\n"
        "Received: from mail.contoso.com by AM5EUR02.mail.protection.outlook.com with Microsoft SMTP Server\r\n"
    )
    assert said(online + MAIL) == dict.fromkeys(("spf", "dkim", "dmarc", "compauth"), ("pass", None))
    assert border(delivered((online + OUTSIDE + MAIL).encode()), ()).hosts[-1] == "am5eur02.mail.protection.outlook.com"


def test_what_a_result_is_about() -> None:
    text = (
        'Authentication-Results: "mx.contoso.com" 1; dkim=pass reason="good; signature" header.i=@contoso.com'
        " (a (nested; comment)) header.b=x; dkim=fail header.d=other.test; auth=pass smtp.auth=somebody; nonsense; =x; none\r\n"
    )
    found = authentication.results(delivered((text + EDGE + MAIL).encode()), ())
    assert [(one.method, one.result, one.about, one.ignored) for one in found] == [
        ("dkim", "pass", "contoso.com", None),
        ("dkim", "fail", "other.test", None),
        ("auth", "pass", "", None),
    ]
    assert said("Authentication-Results: mx.contoso.com; none\r\n" + EDGE + MAIL) == {}


@pytest.mark.parametrize(
    "text", ["(" * 3000, "x;" * 2000, '"' * 3001, "\\" * 3000, "a=b " * 900, "spf=" + "p" * 3000, "", ";", "= ; ="]
)
def test_results_of_any_form_are_read(text: str) -> None:
    authentication.results(delivered(f"Authentication-Results: mx; {text}\r\n".encode() * 300 + MAIL.encode()), ())


async def test_bombs_cost_what_they_are_long() -> None:
    began = time.process_time()
    spamd = "X-Spamd-Result: [1 / 2]" + "A(" * 2000 + "\r\n"
    for bomb in (STORE * 1900, EDGE * 1200, GENUINE * 900, spamd, "ARC-Seal: i=1; i=1\r\n" * 1900):
        await facts(bomb + MAIL)
    assert time.process_time() - began < 10


_NAMES = (
    "Received", "Authentication-Results", "DKIM-Signature", "ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results",
    "X-Spam-Status", "X-Spamd-Result", "From", "X-Forefront-Antispam-Report",
)  # fmt: skip
_VALUES = st.text(alphabet=st.sampled_from(list('abi=1;:.@()\\" \t-_/,[]\xe9\n')), max_size=80)
HEADERS = st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES), max_size=12)


@given(HEADERS)
@settings(max_examples=150, deadline=None)
def test_whatever_stands_in_a_header_is_read(headers: list[tuple[str, str]]) -> None:
    text = "".join(f"{name}: {value.replace(chr(10), chr(10) + ' ')}\r\n" for name, value in headers)
    asyncio.run(facts(text + MAIL))


# -- spam -------------------------------------------------------------------------------------------------------------

VERDICTS = {
    "X-Spam-Status: Yes, score=7.1 required=5.0 tests=BAYES_99,HTML_MESSAGE,\r\n\tRDNS_NONE autolearn=no version=4.0.0": (
        ("SpamAssassin", 7.1, 5.0, True, ("BAYES_99", "HTML_MESSAGE", "RDNS_NONE"))
    ),
    "X-Spam-Status: No, score=-1.9 tagged_above=-999 required=6.31 tests=[BAYES_00=-1.9, DKIM_SIGNED=0.1] autolearn=ham": (
        ("SpamAssassin", -1.9, 6.31, False, ("BAYES_00", "DKIM_SIGNED"))
    ),
    "X-Spam-Status: No, hits=0.4 required=5.0": ("SpamAssassin", 0.4, 5.0, False, ()),
    "X-Spamd-Result: default: False [-0.10 / 15.00];\r\n\tMIME_GOOD(-0.10)[text/plain];\r\n\tR_BAD(2.00)[]; ARC_NA(0.00)[]": (
        ("rspamd", -0.1, 15.0, False, ("R_BAD", "ARC_NA", "MIME_GOOD"))
    ),
    "X-Spam-Status: Yes, score=15.30": ("rspamd", 15.3, None, True, ()),
    "X-MS-Exchange-Organization-SCL: -1": ("Exchange", -1.0, 5.0, False, ()),
    "X-Forefront-Antispam-Report: CIP:192.0.2.9;CTRY:;LANG:en;SCL:5;IPV:NLI;SFV:SPM;H:mail;PTR:x;CAT:SPM;SFS:(13230031);DIR:INB;": (
        ("Exchange", 5.0, 5.0, True, ("SFV:SPM", "CAT:SPM", "IPV:NLI"))
    ),
    "X-Proofpoint-Spam-Details: rule=notspam policy=default score=12 adultscore=0 classifier=spam reason=mlx engine=8.12.0": (
        ("Proofpoint", 12.0, None, False, ("notspam",))
    ),
    "X-Gm-Spam: 1": ("Gmail", None, None, True, ()),
    "X-Spam-Status: nonsense": None,
    "X-MS-Exchange-Organization-SCL: high": None,
    "X-Spamd-Result: default": None,
}


@pytest.mark.parametrize("field", VERDICTS)
def test_spam_verdicts_as_filters_write_them(field: str) -> None:
    found = spam.verdicts(delivered(f"{field}\r\n{EDGE}{MAIL}".encode()))
    expected = VERDICTS[field]
    assert [(one.by, one.score, one.threshold, one.spam, one.tests) for one in found] == ([expected] if expected else [])


def test_a_verdict_from_outside_is_none() -> None:
    assert spam.verdicts(delivered((STORE + EDGE + OUTSIDE + "X-Spam-Status: No, score=-9 required=5\r\n" + MAIL).encode())) == []


# -- facts, findings, words ---------------------------------------------------------------------------------------------


class _Job:
    """As much of a Job as evidence asks for."""

    def __init__(self, authserv_ids: tuple[str, ...] = ()) -> None:
        self.deadline = Deadline(asyncio.get_running_loop().time() + 30)
        self.conduct = type("Conduct", (), {"authserv_ids": authserv_ids, "resolvers": {"none": "127.0.0.1:9"}})()

    def utc_now(self) -> datetime:
        return datetime(2026, 11, 27, tzinfo=UTC)


async def facts(text: str, *trusted: str) -> Verified:
    job: Any = _Job(trusted)
    found = await evidence.of_messages(job, {"one": text.encode()}, raise_bugs=True)
    return rebuilt(Verified, found["one"])


def judged(seen: Verified, **expect: object) -> list[str]:
    profile = load_mapping(
        {"submission": {"host": "x.test"}, "account": {"username": "a@x.test", "password": {"env": "X"}}, "expect": expect},
        plugins=plugins(),
    )
    found: list[Finding] = list(of_message("imap.verify", seen, profile))
    return [f"{one.severity} {one.id}: {one.summary}" for one in found]


async def test_without_expectations_nothing_alarms() -> None:
    seen = await facts(STORE + GENUINE + EDGE + OUTSIDE + FORGED + "X-Spam-Status: Yes, score=9 required=5\r\n" + MAIL)
    assert seen.evidence == "whole" and seen.author == "contoso.com"
    assert {line.partition(" ")[0] for line in judged(seen)} == {"info"}
    assert judged(replace(seen, evidence=None)) == []


async def test_what_the_profile_expects() -> None:
    seen = await facts("X-Spam-Status: No, score=4.5 required=5 tests=BAYES_50\r\n" + STORE + GENUINE + EDGE + MAIL)
    assert judged(seen, dkim="contoso.com", dmarc="pass", spam_score_below=4.5) == [
        "critical dkim.missing: the message came back without a DKIM signature of contoso.com",
        "critical dmarc.failed: the receiving side says of DMARC: fail",
        "warning spam.verdict: SpamAssassin, score 4.5 of 5: expected below 4.5",
    ]
    assert judged(seen, spam_score_below=5) == ["info dmarc.failed: the receiving side says that DMARC fails"]
    bare = await facts(STORE + EDGE + MAIL)
    assert judged(bare, dmarc="pass", spam_score_below=5) == [
        "critical dmarc.failed: nothing that counts was written of DMARC on the receiving side",
        "warning spam.verdict: no spam filter wrote a score, which is expected to be below 5",
    ]


SIGNATURE = {
    "domain": "contoso.com", "selector": "s1", "algorithm": "rsa-sha256", "key_bits": 2048, "result": "pass", "why": None,
    "aligned": "strict", "testing": False, "expires": None, "covers": None, "resolver": "system",
}  # fmt: skip


def signed(**changed: object) -> Verified:
    return rebuilt(Verified, {"evidence": "whole", "signatures": [{**SIGNATURE, **changed}]})


def test_an_expected_signature() -> None:
    assert judged(signed(), dkim="contoso.com") == []
    failed = signed(result="fail", why="the signature has expired")
    assert judged(failed, dkim="Contoso.com")[0].startswith("critical dkim.failed: the DKIM signature of contoso.com (selector s1)")
    assert judged(failed)[0].startswith("info dkim.failed")
    assert judged(signed(result="unknown", why="no answer"), dkim="contoso.com")[0].startswith("warning dkim.unverified")
    assert "(signed by contoso.com)" in judged(signed(), dkim="fabrikam.com")[0]
    both = replace(signed(), signatures=[SIGNATURE, {**SIGNATURE, "result": "fail", "why": "x"}])
    assert [line.partition(":")[0] for line in judged(both, dkim="contoso.com")] == ["info dkim.failed"]


async def test_the_words_of_the_line() -> None:
    seen = await facts("X-Spam-Status: No, score=0.1 required=5\r\n" + STORE + GENUINE + EDGE + MAIL)
    assert [item.text for item in items(seen)] == ["not signed", "DMARC fail", "spam score 0.1 of 5"]
    assert [item.text for item in items(signed())] == ["signed by contoso.com"]
    assert items(signed(result="fail"))[0].text == "with a signature of contoso.com that does not hold"
    assert items(signed(result="unknown"))[0].text == "with a signature of contoso.com that could not be verified"
    evil = signed(domain="\x1b[31m\u202eevil.test")
    assert all(item.text.isprintable() and item.more.isprintable() for item in items(evil))


async def test_a_key_that_cannot_be_looked_up_is_no_fault_of_the_signer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "SECONDS", 0.0)
    field = "DKIM-Signature: v=1; a=rsa-sha256; b=AA==; bh=AA==; d=contoso.com; h=from; s=s1\r\n"
    seen = await facts(field * 200 + EDGE + MAIL)
    assert len(seen.signatures) == 20 and {one["result"] for one in seen.signatures} == {"unknown"}
    assert "180 more signatures were not verified" in (seen.evidence or "")
    assert judged(seen)[0].startswith("info evidence.in-part")


async def test_an_error_of_our_own_is_no_fault_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_opened", lambda raw: 1 / 0)
    job: Any = _Job()
    assert await evidence.of_messages(job, {"one": b""}) == {"one": {"evidence": "an error of our own (ZeroDivisionError)"}}


def test_facts_survive_json() -> None:
    seen = signed()
    assert rebuilt(Verified, to_json(seen)) == seen
