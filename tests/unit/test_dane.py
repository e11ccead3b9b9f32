"""DANE from the resolver's answer to the finding: small DNS servers on loopback, and the sandbox as the mail server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

import probe
from probe.facts import Certified
from probe.facts.parts import TlsaAnswer, TlsaRecord
from probe.judge.dane import FINDINGS, judge
from probe.observe.connection import nameserver, tlsa
from probe.profile import Profile, load_mapping
from probe.record import Record, StageRecord, Target
from probe.report import Finding, Report
from probe.sandbox import Sandbox
from probe.tasks.plan import plugins

Zone = dict[tuple[str, str], list[str]]
WRONG = f"3 1 1 {'ab' * 32}"
RRSIG = "TLSA 13 4 300 20300101000000 20200101000000 1 test. AAAA"


class Names(asyncio.DatagramProtocol):
    """Answers from a zone; `ad`, `signed`: what a resolver says of DNSSEC. A TLSA question waits for `may_answer`."""

    def __init__(self, zone: Zone, *, ad: bool = True, signed: bool = True, fail: tuple[str, ...] = ()) -> None:
        self.zone, self.ad, self.signed, self.fail = zone, ad, signed, fail
        self.asked: list[tuple[str, str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, address: Any) -> None:
        task = asyncio.ensure_future(self._answer(dns.message.from_wire(data), address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, query: dns.message.Message, address: Any) -> None:
        response = dns.message.make_response(query)
        question = query.question[0]
        name, kind = str(question.name), question.rdtype.name
        self.asked.append((name, kind))
        if kind == "TLSA":
            await self.may_answer.wait()
        for wanted in ("CNAME", kind):
            if (name, wanted) in self.zone:
                response.answer.append(dns.rrset.from_text(name, 300, "IN", wanted, *self.zone[name, wanted]))
                name = self.zone[name, wanted][0] if wanted == "CNAME" else name
        if kind in self.fail:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif not response.answer and not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        # As a validating resolver does: only for those who ask for it (RFC 4035 section 3.2).
        if query.ednsflags & dns.flags.DO:
            response.flags |= dns.flags.AD if self.ad else 0
            if self.signed and kind == "TLSA" and response.answer:
                response.answer.append(dns.rrset.from_text(name, 300, "IN", "RRSIG", RRSIG))
        self.transport.sendto(response.to_wire(), address)


@asynccontextmanager
async def names(zone: Zone, **options: Any) -> AsyncIterator[Names]:
    served = Names(zone, **options)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: served, local_addr=("127.0.0.1", 0))
    try:
        yield served
    finally:
        transport.close()


# -- what the resolver says ---------------------------------------------------------------------------------------

MAIL: Zone = {("mail.contoso.test.", "A"): ["127.0.0.1"]}
OF_587 = ("_587._tcp.mail.contoso.test.", "TLSA")


async def ask(served: Names, host: str = "mail.contoso.test") -> TlsaAnswer:
    return (await tlsa.ask_each({"here": served.address}, host, 587))["here"]


async def test_the_records_come_with_what_the_resolver_says_of_them() -> None:
    async with names(MAIL | {OF_587: [WRONG, f"2 0 2 {'cd' * 64}"]}) as served:
        said = await ask(served)
    assert (said["authenticated"], said["signed"], said["error"]) == (True, True, None)
    assert said["name"] == "_587._tcp.mail.contoso.test" and said["server"] == served.address
    fields = {(one["usage"], one["selector"], one["matching_type"], one["data"]) for one in said["records"]}
    assert fields == {(3, 1, 1, "ab" * 32), (2, 0, 2, "cd" * 64)}


async def test_without_dnssec_it_says_so() -> None:
    async with names(MAIL | {OF_587: [WRONG]}, ad=False, signed=False) as served:
        said = await ask(served)
    assert (said["authenticated"], said["signed"]) == (False, False) and said["records"]


@pytest.mark.parametrize(
    "zone", [MAIL, MAIL | {("_587._tcp.mail.contoso.test.", "TXT"): ["x"]}, {}], ids=["nxdomain", "empty", "host"]
)
async def test_no_record_is_no_failure(zone: Zone) -> None:
    async with names(zone) as served:
        said = await ask(served)
    assert (said["error"], said["records"], said["authenticated"]) == ("no-record", [], None)


async def test_a_failure_is_no_missing_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tlsa, "SECONDS", 0.3)
    async with names(MAIL, fail=("TLSA",)) as broken, names(MAIL) as silent:
        silent.may_answer.clear()
        said = [await ask(broken), await ask(silent)]
    assert [one["error"] for one in said] == ["failed", "failed"]
    assert "SERVFAIL" in said[0]["text"] and said[1]["text"] == "no answer in time"


async def test_an_alias_that_is_vouched_for_leads_to_its_target_and_any_other_does_not() -> None:
    """RFC 7671 section 7: the target first, then the name itself."""
    zone: Zone = {
        ("mail.contoso.test.", "CNAME"): ["mx.hoster.test."],
        ("mx.hoster.test.", "A"): ["127.0.0.1"],
        ("_587._tcp.mx.hoster.test.", "TLSA"): [WRONG],
        ("_993._tcp.mail.contoso.test.", "TLSA"): [WRONG],
    }
    async with names(zone) as vouched, names(zone, ad=False) as not_vouched:
        assert (await ask(vouched))["name"] == "_587._tcp.mx.hoster.test"
        assert (await tlsa.ask_each({"here": vouched.address}, "mail.contoso.test", 993))["here"]["records"]
        assert (await ask(not_vouched))["error"] == "no-record"
        assert {name for name, kind in not_vouched.asked if kind == "TLSA"} == {"_587._tcp.mail.contoso.test."}


async def test_an_address_is_not_asked_for() -> None:
    async with names({}) as served:
        said = await ask(served, "127.0.0.1")
    assert said["error"] == "no-record" and "only names" in said["text"] and served.asked == []


# -- a run ----------------------------------------------------------------------------------------------------


def settings(sandbox: Sandbox, resolver: str | None, **submission: Any) -> dict[str, Any]:
    ports = sandbox.addresses
    return {
        "submission": {"host": "localhost", "port": ports["submission"].port, "family": "ipv4", **submission},
        "account": {"username": sandbox.username, "password": {"env": "PW"}},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        "readback": {"imap": {"port": ports["imaps"].port}},
        "dns": {"resolvers": {"here": resolver} if resolver else {}},
    }


def zone_for(sandbox: Sandbox, record: str) -> Zone:
    ports = (sandbox.addresses["submission"].port, sandbox.addresses["imaps"].port)
    return {("localhost.", "A"): ["127.0.0.1"], **{(f"_{port}._tcp.localhost.", "TLSA"): [record] for port in ports}}


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    async with Sandbox() as started:
        monkeypatch.setenv("PW", started.password)
        yield started


async def run(settings: dict[str, Any], *, expected: bool = False, **options: Any) -> Report:
    return await probe.run({**settings, "expect": {"dane": expected}}, raise_bugs=True, **options)


def found(report: Report) -> set[tuple[str, str, str]]:
    return {(finding.id, finding.severity, finding.stage) for finding in report.findings}


def certified(report: Report, leg: str = "smtp") -> Certified:
    return next(stage.record.seen(Certified) for stage in report.stages if stage.name == f"{leg}.certificate")


async def test_each_port_is_compared_with_its_record_and_the_right_one_is_printed(sandbox: Sandbox) -> None:
    async with names(zone_for(sandbox, WRONG)) as served:
        told = await run(settings(sandbox, served.address))
        strict = await run(settings(sandbox, served.address), expected=True)
        publish = f"_{sandbox.addresses['submission'].port}._tcp.localhost. IN TLSA {certified(told).tlsa_right}"
        assert told.findings[0].remedy[0] == f"Publish: {publish}"
        for port in ("submission", "imaps"):
            served.zone[f"_{sandbox.addresses[port].port}._tcp.localhost.", "TLSA"] = [certified(told).tlsa_right or ""]
        healthy = await run(settings(sandbox, served.address), expected=True)
    legs = ("smtp.certificate", "imap.certificate")
    assert found(told) == {("dane.no-match", "warning", leg) for leg in legs} and told.verdict == "warning"
    assert found(strict) == {("dane.no-match", "critical", leg) for leg in legs} and strict.verdict == "critical"
    assert found(healthy) == set() and healthy.verdict == "ok"
    assert all(certified(healthy, leg).tlsa["here"]["records"][0]["mismatch"] is None for leg in ("smtp", "imap"))
    # It is an opinion of what DNS says: the message goes its way.
    assert all(stage.status == "ok" for stage in strict.stages if not stage.name.endswith("certificate"))


async def test_a_password_that_stands_in_the_certificate_changes_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is masked in the chain that the facts show, not in the one that is compared."""
    monkeypatch.setenv("PW", "mail.sandbox.test")
    async with Sandbox() as sandbox, names({}) as served:
        served.zone |= zone_for(sandbox, WRONG)
        right = certified(await run(settings(sandbox, served.address))).tlsa_right
        served.zone |= zone_for(sandbox, right or "")
        report = await run(settings(sandbox, served.address), expected=True)
    # The sandbox has another password.
    assert {item[0] for item in found(report)} == {"auth.suspended"}
    assert certified(report).tlsa["here"]["records"][0]["mismatch"] is None and "[secret]" in certified(report).chain_der[0]


async def test_nothing_waits_for_the_records(sandbox: Sandbox) -> None:
    """They are answered only after the message was submitted: were anything to wait for them, there would be none."""
    async with names(zone_for(sandbox, WRONG)) as served:
        served.may_answer.clear()

        def watch(name: str, ended: StageRecord | None) -> None:
            if name == "smtp.submit" and ended:
                served.may_answer.set()

        report = await run(settings(sandbox, served.address), watch=watch)
    assert {item[0] for item in found(report)} == {"dane.no-match"}
    assert certified(report).tlsa["here"]["authenticated"] is True


async def test_a_plain_run_asks_for_no_record(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it load dnspython, for which it would wait."""
    monkeypatch.setattr(tlsa, "resolver_at", lambda server: pytest.fail("DNS was asked"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "dns"]:
        monkeypatch.delitem(sys.modules, name)
    report = await run(settings(sandbox, None))
    assert report.verdict == "ok" and certified(report).tlsa == {} and "dns" not in sys.modules


async def test_with_addresses_of_the_profile_dns_is_asked_only_where_dane_is_expected(sandbox: Sandbox) -> None:
    async with names(zone_for(sandbox, WRONG)) as served:
        given = {**settings(sandbox, served.address, connect=["127.0.0.1"]), "readback": {}}
        assert found(await run(given)) == set() and served.asked == []
        assert found(await run(given, expected=True)) == {("dane.no-match", "critical", "smtp.certificate")}


async def test_the_systems_resolver_is_asked_where_the_profile_names_none(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with names({("localhost.", "A"): ["127.0.0.1"]}) as served:
        monkeypatch.setattr(tlsa, "resolver_at", lambda server: nameserver.resolver_at(server or served.address))
        report = await run(settings(sandbox, None), expected=True)
    assert found(report) == {("dane.missing", "critical", f"{leg}.certificate") for leg in ("smtp", "imap")}
    assert list(certified(report).tlsa) == ["system"]


async def test_a_run_that_ends_first_says_so(sandbox: Sandbox) -> None:
    async with names(zone_for(sandbox, WRONG)) as served:
        served.may_answer.clear()
        report = await run({**settings(sandbox, served.address), "limits": {"timeout": "2s"}}, expected=True)
    assert {item[0] for item in found(report)} == {"dane.lookup-failed"}
    assert certified(report).tlsa["here"]["text"] == "the run ended before there was an answer"


# -- the findings -----------------------------------------------------------------------------------------------


def row(fields: str, mismatch: str | None = None) -> TlsaRecord:
    usage, selector, matching, data = fields.split()
    return {"usage": int(usage), "selector": int(selector), "matching_type": int(matching), "data": data, "mismatch": mismatch}


def answer(*records: TlsaRecord, ad: bool = True, signed: bool = True, error: str | None = None) -> TlsaAnswer:
    plain = tlsa.nothing("192.0.2.53", "mail.contoso.test", 587, error, "said so" if error else "")
    return {**plain, "records": list(records), "authenticated": ad, "signed": signed}


def judged(stage: str, *answers: TlsaAnswer, expected: bool) -> list[Finding]:
    tables = {"submission": {"host": "mail.contoso.test"}, "account": {"username": "p@contoso.test", "password": {"env": "X"}}}
    profile: Profile = load_mapping({**tables, "expect": {"dane": expected}}, plugins=plugins())
    facts = Certified(tlsa={f"r{number}": one for number, one in enumerate(answers)}, tlsa_right="3 1 1 aa")
    record = Record("id", "p", Target("h", 587, "starttls"), "2026-01-01T00:00:00Z", 0.0, (StageRecord(stage, "ok", facts=facts),))
    return list(judge(record, profile))


GOOD, BAD = row("3 1 1 aa"), row("3 1 1 bb", "another")
PKIX_GOOD, PKIX_BAD = row("1 1 1 aa"), row("1 1 1 bb", "another")
UNKNOWN = row("9 1 1 aa", "is not known")
NONE, FAILED = answer(error="no-record"), answer(error="failed")
UNSIGNED, UNVALIDATED = {"ad": False, "signed": False}, {"ad": False, "signed": True}
# Stage, the resolvers' answers; findings without and with expect.dane.
JUDGED: dict[str, tuple[str, tuple[TlsaAnswer, ...], list[str], list[str]]] = {
    "right": ("smtp", (answer(GOOD),), [], []),
    "one of two": ("smtp", (answer(BAD, GOOD),), [], []),
    "wrong": ("smtp", (answer(BAD),), ["warning dane.no-match"], ["critical dane.no-match"]),
    "none": ("smtp", (NONE,), [], ["critical dane.missing"]),
    "no answer": ("smtp", (FAILED,), [], ["critical dane.lookup-failed"]),
    "none, no answer": ("smtp", (FAILED, NONE), [], ["critical dane.missing"]),
    "right, no answer": ("smtp", (FAILED, answer(GOOD)), [], []),
    "unsigned": ("smtp", (answer(GOOD, **UNSIGNED),), ["warning dane.not-signed"], ["critical dane.not-signed"]),
    "signed, not validated": ("smtp", (answer(GOOD, **UNVALIDATED),), ["info dane.not-validated"], ["warning dane.not-validated"]),
    "validated by one": ("smtp", (answer(GOOD, **UNVALIDATED), answer(GOOD)), [], []),
    "wrong and unsigned": (
        "smtp",
        (answer(BAD, **UNSIGNED),),
        ["warning dane.no-match", "warning dane.not-signed"],
        ["critical dane.no-match", "critical dane.not-signed"],
    ),
    "two resolvers say the same": ("smtp", (answer(BAD), answer(BAD)), ["warning dane.no-match"], ["critical dane.no-match"]),
    "one resolver is out of date": ("smtp", (answer(BAD), answer(GOOD)), ["warning dane.no-match"], ["critical dane.no-match"]),
    "PKIX for SMTP": ("smtp", (answer(PKIX_GOOD),), ["info dane.unusable"], ["warning dane.unusable"]),
    "PKIX for SMTP, wrong": (
        "smtp",
        (answer(PKIX_BAD),),
        ["warning dane.no-match", "info dane.unusable"],
        ["critical dane.no-match", "warning dane.unusable"],
    ),
    "PKIX beside a wrong one": ("smtp", (answer(PKIX_GOOD, BAD),), ["warning dane.no-match"], ["critical dane.no-match"]),
    "PKIX beside a right one": ("smtp", (answer(PKIX_BAD, GOOD),), [], []),
    "PKIX for IMAP4": ("imap", (answer(PKIX_GOOD),), [], []),
    "PKIX for IMAP4, wrong": ("imap", (answer(PKIX_BAD),), ["warning dane.no-match"], ["critical dane.no-match"]),
    "unknown beside a right one": ("pop3", (answer(UNKNOWN, GOOD),), [], []),
    "a stale SHA-512 beside a right SHA-256": (
        "imap",
        (answer(GOOD, row("3 1 2 bb", "another")),),
        ["warning dane.no-match"],
        ["critical dane.no-match"],
    ),
    "SHA-512 of another selector": ("imap", (answer(GOOD, row("3 0 2 bb", "another")),), [], []),
    "never asked": ("smtp", (), [], []),
}


@pytest.mark.parametrize("name", sorted(JUDGED))
def test_judged(name: str) -> None:
    leg, answers, plain, strict = JUDGED[name]
    for expected, wanted in ((False, plain), (True, strict)):
        said = judged(f"{leg}.certificate", *answers, expected=expected)
        assert [f"{one.severity} {one.id}" for one in said] == wanted
        assert all(one.remedy and one.stage == f"{leg}.certificate" for one in said)


def test_each_finding_stands_in_the_table() -> None:
    assert set(FINDINGS) == {said.partition(" ")[2] for _, _, plain, strict in JUDGED.values() for said in (*plain, *strict)}


def test_which_records_do_not_match_and_why_is_the_evidence() -> None:
    whole = row(f"3 0 0 {'cd' * 900}", "the server's certificate is another")
    (said,) = judged("smtp.certificate", answer(BAD, whole), expected=False)
    assert said.evidence.startswith("3 1 1 bb: another; 3 0 0 cdcd") and len(said.evidence) < 300
    assert said.remedy[0] == "Publish: _587._tcp.mail.contoso.test. IN TLSA 3 1 1 aa"
