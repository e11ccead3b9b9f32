"""`probe audit --clients` at real servers: who can, who cannot and why, and what the profile expects."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from probe.clients import clients
from probe.observe.audit._clients import MOST_FAILURES
from probe.output._clients import page, text
from probe.profile import load_mapping
from probe.report.clients import ClientsTable, Used, clients_to_json
from probe.tasks.audit import audit, exit_code
from probe.tasks.clients import clients_table
from probe.tasks.plan import plugins
from tests.servers.mail import free_port

ASKED = ("outlook-windows-7", "thunderbird-91", "java-8", "dotnet-server-2019", "scanner-2015")


def profile(mail: Any, *expected: str, security: str = "starttls") -> Any:
    port = "submission" if security == "starttls" else "submissions"
    readers = {name: {"port": mail.ports[name], "security": "starttls", "connect": ["127.0.0.1"]} for name in ("imap", "pop3")}
    data = {
        "name": "contoso",
        "submission": {"host": mail.fqdn, "port": mail.ports[port], "security": security, "connect": ["127.0.0.1"]},
        "message": {"sender": "a@example.test", "recipient": "a@example.test"},
        "tls": {"ca_file": str(mail.ca_file)},
        "readback": readers,
        "expect": {"clients": list(expected)},
    }
    return load_mapping(data, plugins=plugins())


async def made(loaded: Any, *names: str) -> ClientsTable:
    return await clients_table(loaded, [clients()[name] for name in names or ASKED])


def row(table: ClientsTable, client: str, service: str = "smtp") -> Used:
    return next(one for one in table.rows if (one.client, one.service) == (client, service))


async def test_each_program_at_each_port(mail_servers: Callable[..., Any]) -> None:
    mail = mail_servers(auth_mechanisms="plain login", extra_postfix={"smtpd_tls_protocols": ">=TLSv1.2"})
    table = await made(profile(mail))
    assert row(table, "thunderbird-91").version == "TLSv1.3" and row(table, "thunderbird-91").mechanism == "PLAIN"
    assert row(table, "java-8").version == "TLSv1.2" and row(table, "java-8", "imap").outcome == "yes"
    assert row(table, "outlook-windows-7").outcome == "no" and "alert" in row(table, "outlook-windows-7").why
    # The certificate is ECDSA: RSA key exchange has nothing to work with.
    assert row(table, "scanner-2015").outcome == "no"
    assert row(table, "dotnet-server-2019").mechanism == "LOGIN" and row(table, "dotnet-server-2019", "pop3").outcome == "unused"
    assert table.verdict == "ok" and not any(one.chain for one in table.rows)
    lines = list(text(table))
    assert lines[0] == "OK  contoso: 7 of 11 can connect and log on, each at each port it uses"
    assert any(line.startswith("  NO  outlook-windows-7") for line in lines)
    narrow = list(text(table, 60))
    assert max(map(len, narrow)) <= 60 or all(len(line.split()[-1]) > 20 for line in narrow if len(line) > 60)
    assert json.loads(json.dumps(clients_to_json(table)))["services"][0]["rows"][1]["cipher"] == "TLS_AES_128_GCM_SHA256"
    shown = page(table, "1")
    assert "<script" not in shown and "default-src" in shown and "outlook-windows-7" in shown


async def test_an_expected_program_that_cannot_fails_the_audit(mail_servers: Callable[..., Any]) -> None:
    mail = mail_servers(auth_mechanisms="plain", extra_postfix={"smtpd_tls_protocols": ">=TLSv1.3"})
    loaded = profile(mail, "java-8", "thunderbird-91")
    table = await made(loaded)
    assert table.verdict == "critical" and "expected, but cannot: java-8" in next(iter(text(table)))
    # PLAIN alone: Windows' SmtpClient has no mechanism left, whatever TLS it would speak.
    assert "no mechanism in common: the server has PLAIN" in row(await made(loaded, "dotnet-server-2022"), "dotnet-server-2022").why
    (done,) = await audit(loaded, ("audit.clients",))
    assert done.facts.outcome == "fail" and "java-8 (smtp): TLS handshake" in done.facts.evidence and exit_code([done]) == 2
    assert done.facts.more["java-8"] == {"smtp": "no", "imap": "yes", "pop3": "yes"}


async def test_a_chain_that_is_not_trusted_is_said_so(mail_servers: Callable[..., Any], tmp_path: Any) -> None:
    from tests.servers.pki import Authority

    mail = mail_servers()
    other = Authority(tmp_path, "Another Root")
    loaded = profile(mail)
    trusting = loaded.replace(tls=loaded.tls.replace(ca_file=other.ca_file))
    found = row(await made(trusting, "thunderbird-91"), "thunderbird-91")
    assert found.outcome == "no" and found.version == "TLSv1.3" and "certificate: unable to get" in found.why


async def test_a_server_that_closes_is_left_alone() -> None:
    met: list[int] = []

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(1)
        writer.close()

    port = free_port()
    async with await asyncio.start_server(close, "127.0.0.1", port):
        data = {
            "submission": {"host": "localhost", "port": port, "connect": ["127.0.0.1"]},
            "message": {"sender": "a@example.test", "recipient": "a@example.test"},
        }
        table = await made(load_mapping(data, plugins=plugins()), *clients())
    assert {one.outcome for one in table.rows} == {"undecided"} and table.verdict == "unknown"
    # One more asked for the mechanisms.
    assert len(met) == MOST_FAILURES + 1


def test_the_command_prints_json(mail_servers: Callable[..., Any], tmp_path: Any) -> None:
    mail = mail_servers(extra_postfix={"smtpd_tls_protocols": ">=TLSv1.2"})
    file = tmp_path / "contoso.toml"
    file.write_text(
        f'[submission]\nhost = "{mail.fqdn}"\nport = {mail.ports["submission"]}\nconnect = ["127.0.0.1"]\n'
        f'[message]\nsender = "a@example.test"\nrecipient = "a@example.test"\n[tls]\nca_file = "{mail.ca_file}"\n'
        '[expect]\nclients = ["outlook-windows-7"]\n',
        encoding="utf-8",
    )
    arguments = ["audit", str(file), "--clients", "--client", "outlook-windows-7", "-o", "json"]
    done = subprocess.run([sys.executable, "-m", "probe", *arguments], capture_output=True, check=False)
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["services"][0]["rows"][0]["client"] == "outlook-windows-7"
