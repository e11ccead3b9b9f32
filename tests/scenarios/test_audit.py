"""Each negative check has a server that passes it and one that fails it: real Postfix and Dovecot, well and badly set up."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from probe.observe.audit import checks, port_25
from probe.tasks.audit import Audited, audit, exit_code, option_of
from probe.tasks.run import load_profile

PASSWORD = "audit-Horse7battery"


def profile(mail: Any, **submission: Any) -> Any:
    os.environ["AUDIT_PASSWORD"] = PASSWORD
    # Dovecot takes loopback for secure unless the client is on another address of it than the server.
    host = getattr(mail, "foreign_host", "127.0.0.1")
    readers = {name: {"port": mail.ports[name], "security": "starttls", "connect": [host]} for name in ("imap", "pop3")}
    data = {
        "submission": {"host": mail.fqdn, "port": mail.ports["submission"], "connect": ["127.0.0.1"], **submission},
        "account": {"username": mail.add_user("auditor", PASSWORD), "password": {"env": "AUDIT_PASSWORD"}},
        "tls": {"ca_file": str(mail.ca_file)},
        "readback": readers,
        "expect": {"clients": ["thunderbird-91", "java-11"]},
    }
    return load_profile(data, {})


def outcomes(done: list[Audited]) -> dict[str, str]:
    return {item.id: item.facts.outcome for item in done}


async def test_a_well_kept_server_passes_everything(mail_servers: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    good = mail_servers(
        auth_mechanisms="plain login",
        extra_postfix={
            # Nobody owns anything: every sender but one's own would do as well, and this needs no map.
            "smtpd_sender_login_maps": "static:nobody@example.test",
            "smtpd_sender_restrictions": "reject_sender_login_mismatch",
            "smtpd_tls_protocols": ">=TLSv1.2",
        },
    )
    monkeypatch.setattr(port_25, "PAIR", {good.ports["submission"]: good.ports["smtp25"]})
    done = await audit(profile(good))
    found = outcomes(done)
    assert set(found) == {name for name, module in checks().items() if not option_of(module)}
    assert {name: found[name] for name in found if found[name] != "pass"} == {}, [(i.id, i.facts) for i in done]
    assert exit_code(done) == 0
    assert good.messages("auditor") == []


async def test_a_badly_kept_server_fails_what_it_should(mail_servers: Callable[..., Any]) -> None:
    bad = mail_servers(
        extra_postfix={
            "mynetworks": "127.0.0.0/8",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "smtpd_recipient_restrictions": "permit_mynetworks, reject",
            "smtpd_tls_auth_only": "no",
            "smtpd_tls_protocols": ">=TLSv1",
            "tls_medium_cipherlist": "ALL:@SECLEVEL=0",
            "smtpd_tls_mandatory_protocols": ">=TLSv1",
        },
        extra_dovecot="ssl = yes\ndisable_plaintext_auth = no\npassdb {\n  driver = static\n  args = nopassword=y\n}\n",
    )
    done = await audit(profile(bad))
    failed = {item.id for item in done if item.facts.outcome == "fail"}
    assert failed >= {
        "audit.cleartext-mechanisms",
        "audit.auth-before-tls",
        "audit.mail-without-auth",
        "audit.open-relay",
        "audit.foreign-sender",
        "audit.wrong-password",
        "audit.old-tls",
        "audit.logindisabled-missing",
    }, [(item.id, item.facts) for item in done]
    assert exit_code(done) == 2
    assert all(finding.remedy and finding.cause for item in done for finding in item.findings)
    assert PASSWORD not in str([(item.facts, item.findings) for item in done])


async def test_two_nodes_with_two_certificates_are_told_apart(mail_servers: Callable[..., Any], authority: Any) -> None:
    other = mail_servers(certificate=authority.leaf("mail.example.test", file_stem="second-node"))
    first = mail_servers()
    both = [f"127.0.0.1:{server.ports['submission']}" for server in (first, other)]
    done = await audit(profile(first, connect=both), ("audit.faces-differ",))
    assert outcomes(done) == {"audit.faces-differ": "fail"}


# -- servers that no current package is broken enough to be ------------------------------------------------------

Answer = Callable[[bytes], list[bytes]]


@asynccontextmanager
async def careless(kind: str, greeting: bytes, go_ahead: bytes, answers: dict[bytes, bytes], tmp_path: Path) -> AsyncIterator[Any]:
    """A server that keeps what it read before TLS, and its state: what CVE-2011-0411 is about."""
    from probe.sandbox.authority import make_context

    context, ca_file, _ = make_context(tmp_path, "mail.example.test", None)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = b""
        writer.write(greeting)
        while data := await reader.read(4096):
            buffer += data
            while b"\r\n" in buffer:
                line, _, buffer = buffer.partition(b"\r\n")
                words = line.upper().split()
                verb = words[1] if kind == "imap" and len(words) > 1 else words[0] if words else b""
                tag = line.split()[0] if kind == "imap" and words else b""
                if verb in (b"STARTTLS", b"STLS"):
                    writer.write(go_ahead.replace(b"TAG", tag))
                    await writer.start_tls(context)
                else:
                    writer.write(answers.get(verb, answers[b"*"]).replace(b"TAG", tag))
        writer.close()

    server = await asyncio.start_server(lambda r, w: asyncio.ensure_future(serve(r, w)) and None, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], ca_file
    finally:
        server.close()


SMTP = {b"EHLO": b"250-mail.example.test\r\n250 STARTTLS\r\n", b"*": b"250 fine\r\n"}
IMAP = {b"*": b"TAG OK fine\r\n"}
POP3 = {b"*": b"+OK fine\r\n"}


@pytest.mark.parametrize(
    ("kind", "check", "greeting", "go_ahead", "answers"),
    [
        ("smtp", "audit.starttls-injection-smtp", b"220 ready\r\n", b"220 go\r\n", SMTP),
        ("smtp", "audit.state-kept-over-tls", b"220 ready\r\n", b"220 go\r\n", SMTP),
        ("smtp", "audit.second-starttls", b"220 ready\r\n", b"220 go\r\n", SMTP),
        ("imap", "audit.starttls-injection-imap", b"* OK [CAPABILITY IMAP4rev1 STARTTLS] x\r\n", b"TAG OK go\r\n", IMAP),
        ("pop3", "audit.stls-injection-pop3", b"+OK x\r\n", b"+OK go\r\n", POP3),
    ],
)
async def test_a_careless_server_is_found_out(
    kind: str, check: str, greeting: bytes, go_ahead: bytes, answers: dict[bytes, bytes], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PW", "x" * 12)
    async with careless(kind, greeting, go_ahead, answers, tmp_path) as (port, ca_file):
        here = {"host": "mail.example.test", "port": port, "connect": ["127.0.0.1"], "security": "starttls"}
        data = {
            "submission": here,
            "account": {"username": "a@example.test", "password": {"env": "PW"}},
            "tls": {"ca_file": str(ca_file), "expires_warning": "0s", "expires_critical": "0s"},
            "readback": {kind: here} if kind != "smtp" else {},
        }
        done = await audit(load_profile(data, {}), (check,))
    assert outcomes(done) == {check: "fail"}, done[0].facts


async def test_a_server_that_is_not_there_decides_nothing(monkeypatch: Any) -> None:
    monkeypatch.setenv("PW", "x" * 12)
    data = {
        "submission": {"host": "localhost", "port": 1},
        "account": {"username": "a@example.test", "password": {"env": "PW"}},
    }
    done = await audit(load_profile(data, {}), ("audit.open-relay", "audit.old-tls"))
    assert set(outcomes(done).values()) == {"undecided"} and exit_code(done) == 3


async def test_port_25_that_answers_as_another_connector(mail_servers: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    client, frontend = mail_servers(), mail_servers(extra_postfix={"smtpd_discard_ehlo_keywords": "dsn, auth"})
    monkeypatch.setattr(port_25, "PAIR", {client.ports["submission"]: frontend.ports["smtp25"]})
    (item,) = await audit(profile(client), only=["audit.port-25-differs"])
    assert item.facts.outcome == "fail" and "DSN" in item.facts.evidence and "AUTH" in item.facts.evidence
    monkeypatch.setattr(port_25, "PAIR", {client.ports["submission"]: 1})
    (item,) = await audit(profile(client), only=["audit.port-25-differs"])
    assert item.facts.outcome == "pass" and "does not answer" in item.facts.evidence
    (item,) = await audit(profile(frontend), only=["audit.port-25-differs"])
    assert item.facts.outcome == "not-applicable"
