"""The sandbox, seen by other people's clients: smtplib, imaplib, poplib, imapclient, and by hand."""

import asyncio
import imaplib
import poplib
import smtplib
import socket
import ssl
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient

from probe.sandbox import Sandbox

MESSAGE = b"From: a@x.test\r\nSubject: hello\r\nX-Mark: one\r\n\r\nfirst\r\n.dotted\r\nlast\r\n"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


def context(sandbox: Sandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(sandbox.ca_file))


def submit(sandbox: Sandbox, implicit: bool = False) -> None:
    address = sandbox.addresses["submissions" if implicit else "submission"]
    if implicit:
        client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", address.port, context=context(sandbox), timeout=10)
    else:
        client = smtplib.SMTP("localhost", address.port, timeout=10)
        client.starttls(context=context(sandbox))
    with client:
        client.login(sandbox.username, sandbox.password)
        client.sendmail(sandbox.username, [sandbox.username], MESSAGE)


def imap(sandbox: Sandbox, implicit: bool = True) -> imaplib.IMAP4:
    if implicit:
        port = sandbox.addresses["imaps"].port
        client: imaplib.IMAP4 = imaplib.IMAP4_SSL("localhost", port, ssl_context=context(sandbox), timeout=10)
    else:
        client = imaplib.IMAP4("localhost", sandbox.addresses["imap"].port, timeout=10)
        client.starttls(context(sandbox))
    client.login(sandbox.username, sandbox.password)
    return client


def pop(sandbox: Sandbox, implicit: bool = True) -> poplib.POP3:
    if implicit:
        client: poplib.POP3 = poplib.POP3_SSL("localhost", sandbox.addresses["pop3s"].port, context=context(sandbox), timeout=10)
    else:
        client = poplib.POP3("localhost", sandbox.addresses["pop3"].port, timeout=10)
        client.stls(context(sandbox))
    client.user(sandbox.username)
    client.pass_(sandbox.password)
    return client


@pytest.mark.parametrize("implicit", [False, True])
async def test_round_trip_with_the_standard_library(sandbox: Sandbox, implicit: bool) -> None:
    def trip() -> None:
        submit(sandbox, implicit)
        client = imap(sandbox, implicit)
        client.select("INBOX")
        assert client.uid("search", None, "HEADER", "X-Mark", "one")[1] == [b"1"]
        (_, raw), *_ = client.uid("fetch", "1", "(BODY.PEEK[])")[1]
        assert raw.endswith(MESSAGE)
        client.logout()
        maildrop = pop(sandbox, implicit)
        assert maildrop.stat()[0] == 1
        assert b".dotted" in maildrop.retr(1)[1]
        assert maildrop.top(1, 0)[1][-1] == b""
        maildrop.dele(1)
        maildrop.quit()
        assert sandbox.mailboxes[sandbox.username].folders["INBOX"].messages == []

    await in_thread(trip)
    assert {(logon.protocol, logon.ok, logon.tls) for logon in sandbox.logons} == {
        ("smtp", True, True),
        ("imap", True, True),
        ("pop3", True, True),
    }


async def test_imapclient_sees_the_same_mailbox(sandbox: Sandbox) -> None:
    def look() -> None:
        submit(sandbox)
        with IMAPClient("localhost", sandbox.addresses["imaps"].port, ssl_context=context(sandbox), timeout=10) as client:
            client.login(sandbox.username, sandbox.password)
            assert [name for _, _, name in client.list_folders()] == ["INBOX", "Junk"]
            selected = client.select_folder("INBOX")
            assert selected[b"UIDNEXT"] == 2 and selected[b"EXISTS"] == 1
            assert client.search(["SUBJECT", "hello", "UNSEEN"]) == [1]
            answer = client.fetch([1], ["UID", "FLAGS", "RFC822.SIZE", "BODY.PEEK[HEADER.FIELDS (SUBJECT X-MARK)]"])[1]
            assert answer[b"BODY[HEADER.FIELDS (SUBJECT X-MARK)]"] == b"Subject: hello\r\nX-Mark: one\r\n\r\n"
            assert client.append("Junk", MESSAGE, flags=[b"\\Seen"]).startswith(b"[APPENDUID")
            client.add_flags([1], [b"\\Deleted"])
            client.uid_expunge([1])
            assert client.search("ALL") == []
            assert client.folder_status("Junk", ["MESSAGES", "UIDNEXT"]) == {b"MESSAGES": 1, b"UIDNEXT": 2}

    await in_thread(look)


async def test_idle_tells_of_new_mail(sandbox: Sandbox) -> None:
    def idle() -> None:
        with IMAPClient("localhost", sandbox.addresses["imaps"].port, ssl_context=context(sandbox), timeout=10) as client:
            client.login(sandbox.username, sandbox.password)
            client.select_folder("INBOX")
            client.idle()
            submit(sandbox)
            assert (1, b"EXISTS") in client.idle_check(timeout=10)
            client.idle_done()

    await in_thread(idle)


async def talk(sandbox: Sandbox, service: str, sent: bytes, until: bytes) -> bytes:
    """Send octets in one piece to a plaintext port and read until a mark comes."""
    address = sandbox.addresses[service]
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.readuntil(until)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"A1",
        b"A1 FROB",
        b"A1 LOGIN a",
        b"A1 SELECT INBOX",
        b"* * *",
        b"A1 FETCH (((((((((((((",
        b'A1 LOGIN "',
        b"A1 UID",
        b"\xff\xfe",
        b"A1 UID LOGIN a b",
    ],
)
async def test_bad_imap_input_is_answered_bad_and_the_connection_lives(sandbox: Sandbox, line: bytes) -> None:
    answer = await talk(sandbox, "imap", line + b"\r\nZ9 NOOP\r\n", b"Z9 OK done\r\n")
    assert b" BAD " in answer or b" NO " in answer


async def test_bad_pop3_input_is_answered_and_the_connection_lives(sandbox: Sandbox) -> None:
    answer = await talk(sandbox, "pop3", b"FROB\r\nRETR 1\r\nPASS x\r\nUSER a\r\n_\r\nNOOP\r\nQUIT\r\n", b"+OK bye\r\n")
    assert answer.count(b"-ERR") == 5


async def test_no_logon_in_clear(sandbox: Sandbox) -> None:
    answer = await talk(sandbox, "imap", b"A1 LOGIN a b\r\nA2 AUTHENTICATE PLAIN AGEAYg==\r\nA3 LOGOUT\r\n", b"A3 OK bye\r\n")
    assert b"LOGINDISABLED" in answer and b"A1 NO [PRIVACYREQUIRED]" in answer and b"A2 NO" in answer
    assert sandbox.logons == []


@pytest.mark.parametrize(
    ("service", "sent", "go_ahead"),
    [
        ("imap", b"A1 STARTTLS\r\nA2 NOOP\r\n", b"A1 OK begin TLS\r\n"),
        ("pop3", b"STLS\r\nCAPA\r\n", b"+OK begin TLS\r\n"),
    ],
)
async def test_commands_behind_starttls_are_thrown_away(sandbox: Sandbox, service: str, sent: bytes, go_ahead: bytes) -> None:
    def inject() -> bytes:
        with socket.create_connection(("127.0.0.1", sandbox.addresses[service].port), timeout=10) as raw:
            raw.recv(1000)
            raw.sendall(sent)
            got = b""
            while go_ahead not in got:
                got += raw.recv(1000)
            with context(sandbox).wrap_socket(raw, server_hostname="localhost") as secured:
                secured.sendall(b"Z9 NOOP\r\n" if service == "imap" else b"NOOP\r\n")
                return secured.recv(1000)

    answer = await in_thread(inject)
    assert answer == (b"Z9 OK done\r\n" if service == "imap" else b"+OK\r\n")


async def test_pipelined_submission(sandbox: Sandbox) -> None:
    def pipelined() -> bytes:
        address = sandbox.addresses["submissions"]
        raw = socket.create_connection(("localhost", address.port), timeout=10)
        with context(sandbox).wrap_socket(raw, server_hostname="localhost") as secured:
            import base64

            blob = base64.b64encode(f"\0{sandbox.username}\0{sandbox.password}".encode()).decode()
            secured.sendall(f"EHLO x\r\nAUTH PLAIN {blob}\r\n".encode())
            got = b""
            while b"235 " not in got:
                got += secured.recv(4000)
            secured.sendall(f"MAIL FROM:<{sandbox.username}>\r\nRCPT TO:<{sandbox.username}>\r\nDATA\r\n".encode())
            while b"354 " not in got:
                got += secured.recv(4000)
            secured.sendall(MESSAGE + b".\r\nQUIT\r\n")
            while b"221 " not in got:
                got += secured.recv(4000)
            return got

    answer = await in_thread(pipelined)
    assert b"250 2.0.0 Ok: queued as " in answer
    assert len(sandbox.mailboxes[sandbox.username].folders["INBOX"].messages) == 1


async def test_pop3_maildrop_is_locked_and_a_snapshot(sandbox: Sandbox) -> None:
    def trip() -> None:
        submit(sandbox)
        first = pop(sandbox)
        with pytest.raises(poplib.error_proto, match="IN-USE"):
            pop(sandbox)
        submit(sandbox)
        assert first.stat()[0] == 1
        first.dele(1)
        first.quit()
        second = pop(sandbox)
        assert second.stat()[0] == 1
        second.quit()

    await in_thread(trip)


async def test_ports_are_free_and_clients_gone_at_the_end() -> None:
    async with Sandbox() as running:
        address = running.addresses["imap"]
        reader, writer = await asyncio.open_connection(address.host, address.port)
        await reader.readline()
        folder = running.ca_file.parent
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    assert not folder.exists()
    server = await asyncio.start_server(lambda *_: None, address.host, address.port)
    server.close()


async def test_the_printed_profile_is_one_that_run_takes_as_it_is(tmp_path: Any) -> None:
    import probe

    async with Sandbox(personality="exchange-2016") as running:
        path = tmp_path / "sandbox.toml"
        path.write_text(running.profile())
        report = await probe.run(str(path), raise_bugs=True)
    assert report.verdict == "ok", report.findings


async def test_the_profile_is_toml_whatever_the_folder_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows every temporary folder has backslashes, and `C:\\users` is no TOML in double quotes."""
    folder = tmp_path / 'C\\users "größer"'
    if sys.platform == "win32":
        folder = tmp_path / "größer"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    async with Sandbox() as running:
        told = tomllib.loads(running.profile())
        assert told["tls"]["ca_file"] == str(running.ca_file)
        assert Path(told["account"]["password"]["file"]).read_text(encoding="utf-8").strip() == running.password
