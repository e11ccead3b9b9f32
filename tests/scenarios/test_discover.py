"""What users are given, asked of a real DNS server and an HTTPS server on loopback, and tried at the sandbox."""

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.rcode
import pytest

from probe.facts import Published
from probe.observe.discover import srv
from probe.observe.discover.web import Login, Way
from probe.report import Report
from probe.sandbox import Sandbox
from probe.tasks import discover
from tests.servers import discovery
from tests.servers.discovery import (
    ADDRESS,
    AUTOCONFIG,
    LOGIN,
    POX,
    SOAP,
    TOKEN,
    WELL_KNOWN,
    Request,
    Site,
    World,
    Writer,
    command,
    healthy,
    page,
    redirect,
    world,
)
from tests.servers.mail import free_port


@pytest.fixture(scope="module")
def certificate(authority: Any) -> Any:
    return authority.leaf("contoso.test", "*.contoso.test", "elsewhere.test", file_stem="discover")


def found(report: Report) -> dict[str, str]:
    return {finding.id: finding.severity for finding in report.findings}


def summary(report: Report, name: str) -> str:
    return next(finding.summary for finding in report.findings if finding.id == name)


def answers(report: Report) -> Iterator[dict[str, Any]]:
    for stage in report.stages:
        yield from stage.record.seen(Published).answers


def answer(report: Report, place: tuple[str, str]) -> dict[str, Any]:
    return next(one for one in answers(report) if one["place"].startswith(f"https://{place[0]}{place[1]}"))


# -- what is told, and is true ----------------------------------------------------------------------------------


async def test_all_sources_agree_and_tell_the_truth(authority: Any, certificate: Any, tmp_path: Path) -> None:
    async with healthy(authority, certificate, tmp_path) as (domain, sandbox):
        report = await domain.ask(verify=True, login=LOGIN)
    assert report.findings == () and report.verdict == "ok"
    assert {one["source"] for one in answers(report) if one["outcome"] == "found"} == {
        "srv", "autoconfig", "autodiscover-pox", "autodiscover-soap",
    }  # fmt: skip
    tried = report.stages[-1].record.facts.servers
    assert {(one["protocol"], one["security"]) for one in tried} == {
        ("smtp", "starttls"), ("smtp", "tls"), ("imap", "tls"), ("pop3", "tls"),
    }  # fmt: skip
    assert all(one["certificate"]["trusted"] and one["certificate"]["name_matches"] and not one["trouble"] for one in tried)
    assert sandbox.logons == []
    assert "correct-Horse9" not in repr(report) and TOKEN.split()[1] not in repr(report)


async def test_the_command_line_says_the_same(authority: Any, certificate: Any, tmp_path: Path) -> None:
    async with healthy(authority, certificate, tmp_path) as (domain, _):
        arguments = ["--resolver", domain.resolver, "--connect-https", domain.site.address, "--ca-file", str(domain.ca_file)]
        status, out, err = await command("discover", ADDRESS, "--verify", "-o", "json", *arguments)
        assert (status, err) == (0, "")
        (told,) = json.loads(out)["reports"]
        # Autodiscover was not given credentials: that is worth knowing, and no warning.
        assert {finding["id"] for finding in told["findings"]} == {"discover.credentials-wanted"}
        assert [stage["name"] for stage in told["stages"]] == list(discover.STAGES)
        status, out, err = await command("discover", ADDRESS, *arguments)
    assert status == 0 and out.startswith(f"OK  {ADDRESS}") and "not tried: not asked for (--verify)" in out
    assert not any("authorization" in request.headers for request in domain.site.requests)


# -- what is told, and is wrong ---------------------------------------------------------------------------------


async def test_nothing_found_is_a_warning(authority: Any, certificate: Any) -> None:
    async with world(authority, certificate, {}) as domain:
        report = await domain.ask(verify=True)
    assert found(report) == {"discover.nothing-found": "warning"} and report.exit_code == 1
    assert report.findings[0].remedy


async def test_each_lie_has_its_finding(authority: Any, certificate: Any, tmp_path: Path) -> None:
    closed = free_port()
    async with Sandbox() as sandbox:
        at, host = sandbox.addresses, sandbox.fqdn
        told = (
            ("smtp", host, at["submissions"].port, "STARTTLS"),
            ("imap", host, at["imap"].port, "SSL"),
            ("imap", "other.contoso.test", at["imaps"].port, "SSL"),
            ("pop3", host, closed, "SSL"),
            ("pop3", "gone.contoso.test", 995, "SSL"),
        )
        zone = {(f"{host}.", "A"): ["127.0.0.1"], ("other.contoso.test.", "A"): ["127.0.0.1"]}
        both = tmp_path / "both.pem"
        both.write_bytes(authority.ca_file.read_bytes() + sandbox.ca_file.read_bytes())
        async with world(authority, certificate, {WELL_KNOWN: page(discovery.autoconfig(*told))}, zone, both) as domain:
            report = await domain.ask(verify=True)
    said = sorted((finding.id, finding.summary) for finding in report.findings)
    assert [name for name, _ in said] == [
        "discover.encryption-wrong", "discover.encryption-wrong", "discover.name-not-in-certificate",
        "discover.name-not-resolved", "discover.port-closed",
    ]  # fmt: skip
    assert "the port speaks STARTTLS" in said[0][1] and "IMAP4" in said[0][1]
    assert "the port speaks TLS from the start" in said[1][1] and "SMTP" in said[1][1]
    assert "the certificate is for mail.sandbox.test" in said[2][1]
    assert "refused" in said[4][1] and str(closed) in said[4][1]
    assert report.exit_code == 2 and all(finding.severity == "critical" for finding in report.findings)


async def test_an_untrusted_certificate_at_a_told_server(authority: Any, certificate: Any) -> None:
    async with Sandbox(fault="untrusted") as sandbox:
        told = discovery.autoconfig(("smtp", sandbox.fqdn, sandbox.addresses["submission"].port, "STARTTLS"))
        zone = {(f"{sandbox.fqdn}.", "A"): ["127.0.0.1"]}
        async with world(authority, certificate, {AUTOCONFIG: page(told)}, zone) as domain:
            report = await domain.ask(verify=True)
    assert found(report) == {"discover.certificate-not-accepted": "critical"}


async def test_a_missing_smtp_entry_points_at_advertise_client_settings(authority: Any, certificate: Any) -> None:
    body = discovery.soap(
        ExternalImap4Connections=("mail.contoso.test", 993, "SSL"), InternalImap4Connections=("mbx01.contoso.local", 993, "SSL")
    )
    async with world(authority, certificate, {SOAP: discovery.behind_password(TOKEN, page(body))}) as domain:
        report = await domain.ask(login=LOGIN)
    assert found(report) == {"discover.no-smtp": "warning", "discover.internal-name": "info"}
    (finding,) = [one for one in report.findings if one.id == "discover.no-smtp"]
    assert any("-AdvertiseClientSettings $true" in step for step in finding.remedy)
    assert any("iisreset /noforce" in step for step in finding.remedy)
    (request,) = [one for one in domain.site.requests if one.headers.get("authorization") and one.path == SOAP[1]]
    assert b"ExternalSmtpConnections" in request.body and request.headers["soapaction"].endswith('GetUserSettings"')


async def test_an_answer_that_tells_no_server_at_all_is_a_missing_smtp_entry_too(authority: Any, certificate: Any) -> None:
    async with world(authority, certificate, {SOAP: page(discovery.soap())}) as domain:
        report = await domain.ask()
    assert found(report) == {"discover.no-smtp": "warning"} and "no server at all" in report.findings[0].summary


async def test_sources_that_disagree_and_names_that_leak(authority: Any, certificate: Any) -> None:
    told = (
        ("smtp", "10.1.2.3", 587, "STARTTLS"),
        ("imap", "mbx01.contoso.local", 143, "plain"),
        ("pop3", "pop.contoso.test", 995, "SSL"),
    )
    zone = {
        ("_submission._tcp.contoso.test.", "SRV"): ["0 1 587 mail.contoso.test."],
        ("_pop3s._tcp.contoso.test.", "SRV"): ["0 0 0 ."],
        ("_pop3._tcp.contoso.test.", "SRV"): ["0 0 0 ."],
    }
    async with world(authority, certificate, {AUTOCONFIG: page(discovery.autoconfig(*told))}, zone) as domain:
        report = await domain.ask()
    disagreements = [finding.summary for finding in report.findings if finding.id == "discover.sources-disagree"]
    assert len(disagreements) == 2 and "mail.contoso.test:587 starttls" in disagreements[0] and "10.1.2.3:587" in disagreements[0]
    assert "POP3" in disagreements[1] and "that there is none" in disagreements[1]
    leaked = {finding.evidence for finding in report.findings if finding.id == "discover.internal-name"}
    assert leaked == {"10.1.2.3", "mbx01.contoso.local"}
    assert found(report)["discover.plaintext-told"] == "warning" and report.exit_code == 1


async def test_a_dns_server_that_fails_is_said_and_not_taken_for_no_record(authority: Any, certificate: Any) -> None:
    async with discovery.names({}, dns.rcode.SERVFAIL) as resolver, discovery.https(certificate, {}) as site:
        report = await World(resolver, site, authority.ca_file).ask()
    assert found(report)["discover.source-failed"] == "warning" and report.exit_code == 1
    assert found(report)["discover.could-not-look"] == "warning" and "discover.nothing-found" not in found(report)


async def test_one_resolver_that_fails_is_one_problem_in_plain_words(authority: Any, certificate: Any) -> None:
    async with discovery.names({}, dns.rcode.SERVFAIL) as resolver, discovery.https(certificate, {}) as site:
        report = await World(resolver, site, authority.ca_file).ask()
        way = ["--resolver", resolver, "--connect-https", site.address, "--ca-file", str(authority.ca_file)]
        status, _, err = await discovery.command("init", "anna@contoso.test", "--discover", "--yes", *way)
    failed = [finding for finding in report.findings if finding.id == "discover.source-failed"]
    (of_dns,) = [finding for finding in failed if finding.stage == "discover.srv"]
    assert of_dns.summary.startswith("6 of 15 sources could not be looked up in DNS: look up _submission._tcp.contoso.test: ")
    assert "certificate" not in of_dns.cause and "resolver" in of_dns.cause
    assert status == 3 and "could not look, since DNS could not be asked" in err and "nothing is published" not in err


async def test_web_servers_whose_names_cannot_be_looked_up_are_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def for_now(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("socket.getaddrinfo", for_now)
    async with discovery.names({}, dns.rcode.SERVFAIL) as resolver:
        report = await discover.discover(discover.question(ADDRESS, Way(resolver=resolver)))
    (one,) = [finding for finding in report.findings if finding.id == "discover.source-failed"]
    assert one.summary.startswith("15 of 15 sources could not be looked up in DNS") and "curl" not in " ".join(one.remedy)


async def test_a_resolver_that_is_not_there_is_named() -> None:
    """Nobody listens: the datagram comes back, or nothing does."""
    (text,) = {answer.text.partition(": ")[2] for answer in await srv.ask("contoso.test", "127.0.0.1:9")}
    assert text == "no answer from 127.0.0.1:9 in 5 s"


async def test_a_machine_without_a_resolver_could_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """dnspython on Windows reads the registry, elsewhere /etc/resolv.conf; neither may be there."""

    def none_is_there(self: Any, *_: Any) -> None:
        raise FileNotFoundError(2, "The system cannot find the file specified")

    monkeypatch.setattr("dns.resolver.BaseResolver.read_resolv_conf", none_is_there)
    monkeypatch.setattr("dns.resolver.BaseResolver.read_registry", none_is_there)
    answers = await srv.ask("contoso.test", None)
    assert {answer.outcome for answer in answers} == {"failed"} and "cannot find the file" in answers[0].text


# -- documents of strangers -------------------------------------------------------------------------------------


def _hundred_megabytes(request: Request, writer: Writer) -> Any:
    async def send() -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n<clientConfig>")
        for _ in range(1600):
            writer.write(b"<a></a>" * 9362)
            await writer.drain()

    return send()


def _never_ending(request: Request, writer: Writer) -> Any:
    async def send() -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"3\r\n<a>\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    return send()


def _endless_headers(request: Request, writer: Writer) -> Any:
    async def send() -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: " + b"y" * 8000 + b"\r\n")
            await writer.drain()

    return send()


def _silent(request: Request, writer: Writer) -> Any:
    return asyncio.Event().wait()


_BOMB = b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY c "&a;&a;&a;&a;&a;&a;">]><clientConfig>&c;</clientConfig>'
_OUTSIDE = b'<!DOCTYPE b SYSTEM "file:///etc/passwd"><clientConfig/>'
_LATIN = '<?xml version="1.0" encoding="utf-8"?><clientConfig>\xe4</clientConfig>'.encode("latin-1")
_HOSTILE = {
    "redirect loop": (redirect(f"https://{AUTOCONFIG[0]}{AUTOCONFIG[1]}?again"), "a redirect loop"),
    "redirect to plain HTTP": (redirect("http://contoso.test/config.xml"), "redirects to plain HTTP"),
    "redirect to a file": (redirect("file:///etc/passwd"), "redirects to what is no HTTPS URL"),
    "redirect with a user name": (redirect("https://anna:x@contoso.test/"), "redirects to what is no HTTPS URL"),
    "redirect to nowhere": (redirect(""), "a redirect loop"),
    "100 MB": (_hundred_megabytes, "more than 512 KiB came"),
    "never-ending": (_never_ending, "had not ended after"),
    "endless headers": (_endless_headers, "not understood as HTTP"),
    "XML bomb": (page(_BOMB), "declares a DTD or entities"),
    "external entity": (page(_OUTSIDE), "declares a DTD or entities"),
    "not XML": (page(b"%PDF-1.7 \x00\x1b[2J"), "the document is not XML"),
    "wrong encoding": (page(_LATIN), "is not XML"),
    "unknown encoding": (page(b'<?xml version="1.0" encoding="klingon"?><clientConfig/>'), "is not XML"),
    "another document": (page(b"<rss/>"), "its root is 'rss', not 'clientConfig'"),
    "compressed": (page(b"\x1f\x8b" + b"\0" * 50, Content_Encoding="gzip"), "sent compressed (gzip)"),
    "not HTTP": (lambda request, writer: writer.write(b"220 mail ESMTP\r\n"), "not understood as HTTP"),
}


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_answer_is_refused_and_bounded(name: str, authority: Any, certificate: Any) -> None:
    handler, words = _HOSTILE[name]
    async with world(authority, certificate, {AUTOCONFIG: handler}) as domain:
        report = await domain.ask(seconds=1.0 if name == "never-ending" else 5.0)
    told = answer(report, AUTOCONFIG)
    assert told["outcome"] == "refused" and words in told["text"], told
    assert "\n" not in told["text"] and told["text"].isprintable() and len(told["text"]) < 500
    assert found(report)["discover.document-refused"] == "warning" and report.exit_code == 1
    assert report.seconds < 8


async def test_a_chain_of_redirects_has_an_end(authority: Any, certificate: Any) -> None:
    pages = {AUTOCONFIG: redirect("https://contoso.test/0")}
    pages |= {("contoso.test", f"/{number}"): redirect(f"/{number + 1}") for number in range(20)}
    async with world(authority, certificate, pages) as domain:
        report = await domain.ask()
    assert "more than 5 redirects" in answer(report, AUTOCONFIG)["text"]
    assert sum(request.path[1:].isdigit() for request in domain.site.requests) == 5


async def test_a_silent_web_server_costs_its_limit_and_no_more(authority: Any, certificate: Any) -> None:
    async with world(authority, certificate, {AUTOCONFIG: _silent}) as domain:
        report = await domain.ask(seconds=0.5)
    assert answer(report, AUTOCONFIG)["outcome"] == "unreachable" and report.seconds < 4


async def test_the_wrong_certificate_is_never_talked_to(authority: Any) -> None:
    wrong = authority.leaf("www.contoso.example", file_stem="discover-wrong")
    told = discovery.autoconfig(("smtp", "mail.contoso.test", 587, "STARTTLS"))
    async with world(authority, wrong, {AUTOCONFIG: page(told)}) as domain:
        report = await domain.ask(login=LOGIN)
    assert answer(report, AUTOCONFIG)["outcome"] == "failed" and domain.site.requests == []
    said = summary(report, "discover.source-failed")
    assert "autoconfig.contoso.test" in said and "match" in said


async def test_an_unknown_issuer_is_never_talked_to(authority: Any, certificate: Any) -> None:
    async with Sandbox() as other, world(authority, certificate, {AUTOCONFIG: page(b"")}, ca=other.ca_file) as domain:
        report = await domain.ask(login=LOGIN)
    assert found(report)["discover.source-failed"] == "warning" and domain.site.requests == []


async def test_a_web_page_for_any_path_is_no_document_and_no_fault(authority: Any, certificate: Any) -> None:
    html = page(b"<!DOCTYPE html><html><body>Welcome</body></html>")
    async with world(authority, certificate, {AUTOCONFIG: html, WELL_KNOWN: html, POX: html, SOAP: html}) as domain:
        report = await domain.ask()
    assert found(report) == {"discover.nothing-found": "warning"}


async def test_a_document_of_a_thousand_servers_makes_no_port_scanner_of_us(authority: Any, certificate: Any) -> None:
    many = discovery.autoconfig(*(("imap", f"h{number}.contoso.test", 993, "SSL") for number in range(1000)))
    bad = [("imap", host, port, "SSL") for host, port in (("a b", 993), ("x.test", 99999), ("-oProxy", 1), ("x\x7f", 1))]
    async with world(authority, certificate, {AUTOCONFIG: page(many), WELL_KNOWN: page(discovery.autoconfig(*bad))}) as domain:
        report = await domain.ask(verify=True)
    assert len(answer(report, AUTOCONFIG)["told"]) == 20 and answer(report, WELL_KNOWN)["told"] == []
    assert len(report.stages[-1].record.facts.servers) == 12 and report.stages[-1].record.facts.left_out == 8


# -- credentials ------------------------------------------------------------------------------------------------


def _sent(site: Site) -> list[Request]:
    return [request for request in site.requests if "authorization" in request.headers]


async def test_no_password_to_a_redirected_host_without_consent(authority: Any, certificate: Any) -> None:
    guarded = discovery.behind_password(TOKEN, page(discovery.pox(("SMTP", "mail.contoso.test", 587, "TLS"))))
    pages = {POX: redirect("https://elsewhere.test/pox"), ("elsewhere.test", "/pox"): guarded}
    async with world(authority, certificate, pages) as domain:
        report = await domain.ask(login=LOGIN)
        assert _sent(domain.site) == []
        told = answer(report, POX)
        assert told["outcome"] == "credentials" and "--consent elsewhere.test" in told["text"] and not told["username_sent"]
        assert told["hops"] == ["https://elsewhere.test/pox"]
        consented = await domain.ask(login=Login(ADDRESS, "correct-Horse9", frozenset({"elsewhere.test"})))
    assert answer(consented, POX)["outcome"] == "found" and {request.host for request in _sent(domain.site)} == {"elsewhere.test"}


async def test_a_refused_password_is_sent_once(authority: Any, certificate: Any) -> None:
    closed = discovery.behind_password("Basic never", page(b""))
    pages = dict.fromkeys((POX, SOAP, ("contoso.test", POX[1]), ("contoso.test", SOAP[1])), closed)
    async with world(authority, certificate, pages) as domain:
        report = await domain.ask(login=LOGIN)
    assert len(_sent(domain.site)) == 1
    assert found(report) == {"discover.credentials-refused": "warning", "discover.credentials-wanted": "info"}


async def test_a_refused_password_is_left_alone_by_the_next_discovery(authority: Any, certificate: Any) -> None:
    from probe.cli.discover import _remember, _unless_refused

    closed = discovery.behind_password("Basic never", page(b""))
    pages = dict.fromkeys((POX, SOAP, ("contoso.test", POX[1]), ("contoso.test", SOAP[1])), closed)
    assert _unless_refused(ADDRESS, LOGIN, False) == LOGIN
    async with world(authority, certificate, pages) as domain:
        _remember(ADDRESS, LOGIN, await domain.ask(login=LOGIN))
    assert _unless_refused(ADDRESS, LOGIN, False) is None and _unless_refused(ADDRESS, LOGIN, True) == LOGIN
    open_now = discovery.behind_password(TOKEN, page(discovery.pox(("SMTP", "mail.contoso.test", 587, "TLS"))))
    async with world(authority, certificate, {POX: open_now}) as domain:
        _remember(ADDRESS, LOGIN, await domain.ask(login=LOGIN))
    assert _unless_refused(ADDRESS, LOGIN, False) == LOGIN


async def test_only_basic_authentication_gets_the_password(authority: Any, certificate: Any) -> None:
    pages = {POX: discovery.behind_password(TOKEN, page(b""), challenge="Negotiate, NTLM")}
    async with world(authority, certificate, pages) as domain:
        report = await domain.ask(login=LOGIN)
    assert _sent(domain.site) == [] and "Negotiate, NTLM" in answer(report, POX)["text"]


async def test_an_echoed_password_does_not_reach_the_report(authority: Any, certificate: Any) -> None:
    echo = f"<Autodiscover><Response><RedirectAddr>{LOGIN.password}@contoso.test</RedirectAddr></Response></Autodiscover>".encode()
    async with world(authority, certificate, {POX: discovery.behind_password(TOKEN, page(echo))}) as domain:
        report = await domain.ask(login=LOGIN)
    assert answer(report, POX)["outcome"] == "redirected" and LOGIN.password not in repr(report)


# -- a resolver of the trade ------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("unbound", path="/usr/sbin:/usr/bin"), reason="needs unbound (apt-get install unbound)")
async def test_unbound_answers_as_our_own_server_does(authority: Any, certificate: Any, tmp_path: Path) -> None:
    port = free_port()
    records = {
        "_submission 0 1 587": "mail.contoso.test.",
        "_imaps 5 1 993": "b.contoso.test.",
        "_imaps 1 1 993": "a.contoso.test.",
        "_pop3s 0 0 0": ".",
    }
    lines = [(*key.split()[:4], target) for key, target in records.items()]
    local = "\n".join(
        f"  local-data: '{name}._tcp.contoso.test. 300 IN SRV {priority} {weight} {number} {target}'"
        for name, priority, weight, number, target in lines
    )
    (tmp_path / "unbound.conf").write_text(
        f"server:\n  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  chroot: ''\n  username: ''\n  pidfile: ''\n"
        f"  use-syslog: no\n  directory: '{tmp_path}'\n  local-zone: 'test.' static\n{local}\n"
        "remote-control:\n  control-enable: no\n"
    )
    unbound = shutil.which("unbound", path="/usr/sbin:/usr/bin")
    assert unbound
    process = await asyncio.create_subprocess_exec(
        unbound, "-d", "-v", "-c", str(tmp_path / "unbound.conf"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(20):
            while b"start of service" not in await process.stderr.readline():
                assert process.returncode is None
        async with discovery.https(certificate, {}) as site:
            report = await World(f"127.0.0.1:{port}", site, authority.ca_file).ask()
    finally:
        process.terminate()
        await process.communicate()
    told = {one["place"].partition(".")[0]: one for one in answers(report) if one["source"] == "srv"}
    assert [server["host"] for server in told["_imaps"]["told"]] == ["a.contoso.test", "b.contoso.test"]
    assert told["_pop3s"]["declined"] == ["pop3"] and told["_pop3"]["outcome"] == "absent"
    assert found(report) == {} and report.exit_code == 0
