"""The personality of Exchange 2016: what it says and does that others do not, over plain standard-library clients."""

import asyncio
import base64
import email
import imaplib
import poplib
import re
import smtplib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from probe.sandbox import FAULTS, Sandbox

HEADER = b"From: a@sandbox.test\r\nTo: probe@sandbox.test\r\nMessage-ID: <one@sandbox.test>\r\nSubject: %s\r\n"
MESSAGE = HEADER + b"\r\nHello\r\n.dot\r\n"


async def ask(client: Callable[..., Any], **options: Any) -> Any:
    async with Sandbox(personality="exchange-2016", tarpit=0, **options) as sandbox:
        return await asyncio.to_thread(client, sandbox)


def trusting(sandbox: Sandbox) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(sandbox.ca_file))


def smtp(sandbox: Sandbox) -> smtplib.SMTP:
    address = sandbox.addresses["submission"]
    client = smtplib.SMTP("localhost", address.port, "client.test", timeout=10)
    client.ehlo()
    return client


def imap(sandbox: Sandbox) -> imaplib.IMAP4_SSL:
    return imaplib.IMAP4_SSL("localhost", sandbox.addresses["imaps"].port, ssl_context=trusting(sandbox), timeout=10)


async def test_what_ehlo_says_before_and_after_tls() -> None:
    def client(sandbox: Sandbox) -> tuple[list[str], list[str], bytes]:
        with smtp(sandbox) as one:
            before = one.ehlo_resp.decode().splitlines()
            said = one.docmd("STARTTLS")[1]
            one.sock = trusting(sandbox).wrap_socket(one.sock, server_hostname="localhost")
            one.file = None
            one.ehlo()
            return before, one.ehlo_resp.decode().splitlines(), said

    before, after, said = await ask(client)
    rest = ["8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"]
    first = ["mail.sandbox.test Hello [127.0.0.1]", "SIZE 37748736", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES"]
    assert before == [*first, "STARTTLS", "AUTH GSSAPI NTLM", *rest]
    assert after == [*first, "AUTH GSSAPI NTLM LOGIN", *rest]
    assert said == b"2.0.0 SMTP server ready"


async def test_greetings_plain_and_the_error_limit() -> None:
    def client(sandbox: Sandbox) -> None:
        one = smtplib.SMTP(timeout=10)
        one._host = "localhost"  # smtplib sets it only when the constructor connects
        code, text = one.connect("localhost", sandbox.addresses["submission"].port)
        assert code == 220 and re.match(rb"mail\.sandbox\.test Microsoft ESMTP MAIL Service ready at ", text)
        one.starttls(context=trusting(sandbox))
        one.ehlo()
        assert one.docmd("AUTH", "PLAIN AGEAYg==") == (504, b"5.7.4 Unrecognized authentication type")
        assert [one.docmd("NONSENSE")[0] for _ in range(5)] == [500] * 4 + [421]

    await ask(client)


async def test_a_refused_logon_and_one_without() -> None:
    def client(sandbox: Sandbox) -> None:
        with smtp(sandbox) as one:
            one.starttls(context=trusting(sandbox))
            one.ehlo()
            assert one.docmd("MAIL", "FROM:<a@sandbox.test>")[1] == b"5.7.57 SMTP; Client was not authenticated to send mail"
            with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
                one.login(sandbox.username, "wrong")
            assert caught.value.smtp_code == 535 and caught.value.smtp_error == b"5.7.3 Authentication unsuccessful"

    await ask(client)


async def test_imap4_has_its_own_ways() -> None:
    def client(sandbox: Sandbox) -> None:
        one = imap(sandbox)
        node = re.search(rb"\[(.+)\]$", one.welcome)
        assert node and base64.b64decode(node[1]).decode("utf-16-le") == "EX01"
        one.login(sandbox.username, sandbox.password)
        one.select()
        status, said = one.uid("SEARCH", "CHARSET", "UTF-8", "SUBJECT", "x")
        assert status == "NO" and b"BADCHARSET" in said[0]
        one.append("INBOX", None, None, MESSAGE % b"x")
        size = one.fetch("1", "(RFC822.SIZE)")[1][0]
        assert int(re.search(rb"SIZE (\d+)", size)[1]) != len(MESSAGE % b"x")
        one.logout()

    await ask(client)


async def test_pop3_shows_the_newest_first_and_the_mime_is_made_anew() -> None:
    def client(sandbox: Sandbox) -> None:
        with smtp(sandbox) as one:
            one.starttls(context=trusting(sandbox))
            one.login(sandbox.username, sandbox.password)
            for subject in (b"first", b"second"):
                one.sendmail(sandbox.username, sandbox.username, MESSAGE % subject)
        reader = poplib.POP3_SSL("localhost", sandbox.addresses["pop3s"].port, context=trusting(sandbox), timeout=10)
        assert re.search(rb"Microsoft Exchange POP3 service is ready. \[.+\]", reader.getwelcome())
        reader.user(sandbox.username)
        reader.pass_(sandbox.password)
        newest = email.message_from_bytes(b"\r\n".join(reader.retr(1)[1]))
        assert newest["Subject"] == "second" and newest["Message-ID"] == "<one@sandbox.test>"
        assert newest["Content-Transfer-Encoding"] == "base64"
        assert newest.get_payload(decode=True) == b"Hello\r\n.dot\r\n"
        reader.quit()

    await ask(client)


async def test_the_administrator_is_refused_by_readers_only() -> None:
    def client(sandbox: Sandbox) -> None:
        with smtp(sandbox) as one:
            one.starttls(context=trusting(sandbox))
            assert one.login(sandbox.username, sandbox.password)[0] == 235
        with pytest.raises(imaplib.IMAP4.error, match="LOGIN failed"):
            imap(sandbox).login(sandbox.username, sandbox.password)

    await ask(client, fault="administrator")


def test_every_fault_says_what_it_is() -> None:
    assert all(len(sentence) > 10 for sentence in FAULTS.values())
