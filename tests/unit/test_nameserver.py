"""Named resolvers, played by small DNS servers on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from probe.facts import from_json
from probe.observe.connection.nameserver import ask_each

Zone = dict[tuple[str, str], list[str]]


class Server(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[dns.message.Message], dns.message.Message]) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(self.answer(dns.message.from_wire(data)).to_wire(), address)  # type: ignore[attr-defined]


@asynccontextmanager
async def serving(zone: Zone, rcode: int = dns.rcode.NXDOMAIN) -> AsyncIterator[str]:
    def answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        question = query.question[0]
        key = (str(question.name), question.rdtype.name)
        if key in zone:
            response.answer.append(dns.rrset.from_text(question.name, 300, "IN", key[1], *zone[key]))
        elif not any(name == key[0] for name, _ in zone):
            response.set_rcode(rcode)
        return response

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Server(answer), local_addr=("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


async def test_two_resolvers_that_differ() -> None:
    name = "mail.contoso.test."
    async with (
        serving({(name, "A"): ["10.0.0.11"]}) as internal,
        serving({(name, "A"): ["203.0.113.5"], (name, "AAAA"): ["2001:db8::5"]}) as public,
    ):
        answers = await ask_each({"internal": internal, "public": public}, "mail.contoso.test", "any")
    assert answers["internal"]["addresses"] == ["10.0.0.11"] and answers["internal"]["ttl"] == 300
    assert answers["public"]["addresses"] == ["203.0.113.5", "2001:db8::5"]
    assert answers["internal"]["error"] is None


async def test_a_missing_record_and_a_broken_server_are_told_apart() -> None:
    async with serving({}) as missing, serving({}, rcode=dns.rcode.SERVFAIL) as broken:
        answers = await ask_each({"missing": missing, "broken": broken}, "mail.contoso.test", "ipv4")
    assert answers["missing"]["error"] == "no-record"
    assert answers["broken"]["error"] == "failed"


async def test_a_run_reports_the_resolver_that_does_not_know_the_name(monkeypatch) -> None:
    import probe
    from probe.sandbox import Sandbox

    async with Sandbox() as sandbox, serving({("localhost.", "A"): ["127.0.0.1"]}) as internal, serving({}) as public:
        monkeypatch.setenv("PW", sandbox.password)
        report = await probe.run(
            {
                "submission": {"host": "localhost", "port": sandbox.addresses["submission"].port, "family": "ipv4"},
                "account": {"username": sandbox.username, "password": {"env": "PW"}},
                "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
                "dns": {"resolvers": {"internal": internal, "public": public}},
            },
            raise_bugs=True,
        )
    (finding,) = report.findings
    assert (finding.id, finding.severity, finding.stage) == ("dns.resolver-no-record", "critical", "smtp.resolve")
    assert "public" in finding.summary
    assert report.failed_stage == "smtp.resolve" and report.verdict == "critical"
    assert {stage.name: stage.status for stage in report.stages}["smtp.submit"] == "ok"


async def test_a_cname_loop_and_a_silent_server_are_failures_not_hangs(monkeypatch) -> None:
    import probe.observe.connection.nameserver as nameserver

    monkeypatch.setattr(nameserver, "SECONDS", 0.3)
    loop_zone = {("mail.loop.test.", "CNAME"): ["other.loop.test."], ("other.loop.test.", "CNAME"): ["mail.loop.test."]}

    def looping(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        for (name, kind), values in loop_zone.items():
            response.answer.append(dns.rrset.from_text(name, 300, "IN", kind, *values))
        return response

    loop = asyncio.get_running_loop()
    looper, _ = await loop.create_datagram_endpoint(lambda: Server(looping), local_addr=("127.0.0.1", 0))
    silent, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    servers = {name: f"127.0.0.1:{end.get_extra_info('sockname')[1]}" for name, end in (("loop", looper), ("silent", silent))}
    try:
        answers = await ask_each(servers, "mail.loop.test", "ipv4")
    finally:
        looper.close()
        silent.close()
    assert {name: answer["error"] for name, answer in answers.items()} == {"loop": "failed", "silent": "failed"}
    assert "Timeout" in answers["silent"]["text"]


def _judged(answers, **dns):
    from probe.judge.dns import judge
    from probe.profile import load_mapping
    from probe.record import Record, StageRecord, Target
    from probe.tasks.plan import plugins

    profile = load_mapping(
        {
            "submission": {"host": "mail.contoso.test"},
            "account": {"username": "p@contoso.test", "password": {"env": "X"}},
            "dns": {"resolvers": {name: answer["server"] for name, answer in answers.items()}, **dns},
        },
        plugins=plugins(),
    )
    stage = StageRecord("smtp.resolve", "ok", facts=from_json("smtp.resolve", {"resolvers": answers}))
    record = Record("id", "p", Target("mail.contoso.test", 587, "starttls"), "2026-01-01T00:00:00Z", 0.0, (stage,))
    return [(finding.id, finding.severity) for finding in judge(record, profile)]


async def test_inside_and_outside_are_judged_by_what_the_profile_expects() -> None:
    name = "mail.contoso.test."
    async with (
        serving({(name, "A"): ["10.0.0.11"]}) as internal,
        serving({(name, "A"): ["203.0.113.5"]}) as public,
    ):
        answers = await ask_each({"internal": internal, "public": public}, "mail.contoso.test", "ipv4")
    assert _judged(answers) == [("dns.resolvers-differ", "warning")]
    assert _judged(answers, split=True) == [("dns.resolvers-differ", "info")]
    both = {"internal": ["10.0.0.11"], "public": ["203.0.113.5"]}
    assert _judged(answers, addresses=both) == []
    assert _judged(answers, addresses=both | {"public": ["203.0.113.6"]}) == [("dns.unexpected-answer", "warning")]


def _answer(*addresses: str, text: str = "", error: str | None = None) -> dict[str, object]:
    return {"server": "192.0.2.53", "addresses": list(addresses), "cnames": [], "ttl": 300, "error": error, "text": text}


def test_addresses_are_compared_not_their_spelling() -> None:
    answers = {"internal": _answer("2001:db8::1"), "public": _answer("2001:DB8:0::1")}
    assert _judged(answers) == []
    assert _judged(answers, addresses={"internal": ["2001:db8:0:0:0:0:0:1"]}) == []


def test_an_address_of_the_inside_in_the_public_zone() -> None:
    inside = ("10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "169.254.7.7", "0.0.0.0", "::", "fd00::1", "fe80::1")
    for address in inside:
        assert _judged({"public": _answer(address)}) == [("dns.private-address", "warning")], address
    assert _judged({"internal": _answer(*inside)}) == []
    assert _judged({"public": _answer("203.0.113.5", "172.32.0.1", "2001:db8::1")}) == []


async def test_a_server_that_fails_for_one_kind_of_address_only_is_said_to() -> None:
    def half(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if query.question[0].rdtype.name == "A":
            response.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", "203.0.113.5"))
        else:
            response.set_rcode(dns.rcode.SERVFAIL)
        return response

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Server(half), local_addr=("127.0.0.1", 0))
    try:
        server = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        answers = await ask_each({"public": server}, "mail.contoso.test", "any")
        by_name = await ask_each({"public": server.replace("127.0.0.1", "localhost")}, "mail.contoso.test", "ipv4")
    finally:
        transport.close()
    assert (answers["public"]["addresses"], answers["public"]["error"]) == (["203.0.113.5"], None)
    assert "AAAA" in answers["public"]["text"] and "SERVFAIL" in answers["public"]["text"]
    assert _judged(answers) == [("dns.resolver-failed", "warning")]
    assert by_name["public"]["addresses"] == ["203.0.113.5"]


async def test_the_readers_host_is_asked_for_too_and_this_machine_may_go_elsewhere(monkeypatch) -> None:
    import probe
    from probe.sandbox import Sandbox

    async with Sandbox() as sandbox, serving({("localhost.", "A"): ["192.0.2.1"]}) as internal:
        monkeypatch.setenv("PW", sandbox.password)
        report = await probe.run(
            {
                "submission": {"host": "localhost", "port": sandbox.addresses["submission"].port, "family": "ipv4"},
                "account": {"username": sandbox.username, "password": {"env": "PW"}},
                "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
                "dns": {"resolvers": {"internal": internal}},
                "readback": {"imap": {"host": "imap.contoso.test", "port": sandbox.addresses["imap"].port}},
            },
            light=True,
        )
    found = [
        (item.id, item.severity, item.summary)
        for item in report.findings
        if item.id.startswith("dns.") and item.stage == "smtp.resolve"
    ]
    assert [item[:2] for item in found] == [("dns.resolver-no-record", "critical"), ("dns.system-differs", "info")]
    assert found[0][2].startswith("imap.contoso.test: resolver internal")
