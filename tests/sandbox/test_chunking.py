"""BDAT (RFC 3030): the message goes with MAIL and RCPT, by DATA where the server cannot; one that is refused is not delivered."""

import asyncio
import smtplib

import pytest

import probe
from probe.facts import Submitted, Verified
from probe.report import Report
from probe.sandbox import Sandbox


async def run(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, recipient: str | None = None, **options: object) -> Report:
    monkeypatch.setenv("PW", sandbox.password)
    profile = {
        "submission": {"host": "127.0.0.1", "port": sandbox.addresses["submission"].port},
        "account": {"username": sandbox.username, "password": {"env": "PW"}},
        "message": {"recipient": recipient or sandbox.username},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        "readback": {"imap": {"port": sandbox.addresses["imaps"].port}},
        "limits": {"timeout": "10s"},
    }
    return await probe.run(profile, raise_bugs=True, **options)


def sent(report: Report) -> list[str]:
    """Verbs behind the logon."""
    lines = [line.text.split()[0] for line in report.transcript if line.connection == "smtp" and line.direction == ">"]
    return lines[lines.index("MAIL") :]


def replies(report: Report) -> list[str]:
    return [f"{one['command'].split()[0]} {one['reply'][-1][:3]}" for one in report.seen("smtp.submit", Submitted).replies]


@pytest.mark.parametrize("personality", ["postfix", "exchange-2016"])
async def test_in_one_flight(personality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox(personality=personality, chunking=True) as sandbox:
        report = await run(sandbox, monkeypatch)
        assert report.verdict == "ok", report.findings
        assert replies(report) == ["MAIL 250", "RCPT 250", "BDAT 250"]
        assert sandbox.mailboxes[sandbox.username].folders["INBOX"].messages == []


async def test_the_octets_arrive_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that begins with a dot is not stuffed in a chunk."""
    async with Sandbox(chunking=True) as sandbox:
        report = await run(sandbox, monkeypatch, delete=False)
        (message,) = sandbox.mailboxes[sandbox.username].folders["INBOX"].messages
        assert b"\r\n.a line that begins with a dot\r\n" in message.raw
        assert report.seen("imap.verify", Verified).text == "intact"


async def test_a_refused_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox(chunking=True) as sandbox:
        report = await run(sandbox, monkeypatch, "nobody@sandbox.test")
        assert report.failed_stage == "smtp.submit"
        assert replies(report) == ["MAIL 250", "RCPT 550", "BDAT 503"]
        assert {one.id for one in report.findings} == {"submit.recipient-refused"}
        # Whoever was refused is not looked for.
        assert {stage.name: stage.record.status for stage in report.stages}["imap.find"] == "skipped"


async def test_a_server_that_refuses_bdat_gets_data(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox(fault="chunking-refused") as sandbox:
        report = await run(sandbox, monkeypatch)
        assert report.verdict == "ok", report.findings
        assert sent(report) == ["MAIL", "RCPT", "BDAT", "[message", "RSET", "MAIL", "RCPT", "DATA", "[message", "QUIT"]
        assert [(one.id, one.severity) for one in report.findings] == [("submit.chunking-broken", "info")]
        assert [logon.protocol for logon in sandbox.logons].count("smtp") == 1


async def test_a_server_that_takes_the_message_for_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the connection; there is no second logon, and the finding says what to do."""
    async with Sandbox(fault="chunking-broken") as sandbox:
        report = await run(sandbox, monkeypatch)
        assert report.failed_stage == "smtp.submit"
        assert "submit.chunking-broken" in {one.id for one in report.findings}
        assert [logon.protocol for logon in sandbox.logons].count("smtp") == 1
        assert sandbox.mailboxes[sandbox.username].folders["INBOX"].messages == []
        again = await run(sandbox, monkeypatch, pipelining=False)
        assert again.verdict == "ok", again.findings


async def test_chunks_of_a_client_of_its_own() -> None:
    """The sandbox itself: several chunks, one without a recipient, RSET between, a count that is none."""
    async with Sandbox(chunking=True) as sandbox:
        said = await asyncio.to_thread(_speak, sandbox)
        assert said == ["250", "250", "250", "501", "250", "503", "250", "250", "250", "250"]
        (message,) = sandbox.mailboxes[sandbox.username].folders["INBOX"].messages
        assert message.raw.endswith(b"Subject: x\r\n\r\none two\r\n")


def _speak(sandbox: Sandbox) -> list[str]:
    import ssl

    context = ssl.create_default_context(cafile=str(sandbox.ca_file))
    context.check_hostname = False
    address = sandbox.addresses["submission"]
    with smtplib.SMTP(address.host, address.port) as smtp:
        smtp.starttls(context=context)
        smtp.login(sandbox.username, sandbox.password)
        assert smtp.has_extn("chunking")
        envelope = [f"MAIL FROM:<{sandbox.username}>", f"RCPT TO:<{sandbox.username}>"]
        steps = [*envelope, "BDAT 5\r\nlost\n", "BDAT many", "RSET", "BDAT 2 LAST\r\n\r\n", *envelope]
        chunks = ["BDAT 14\r\nSubject: x\r\n\r\n", "BDAT 9 LAST\r\none two\r\n"]
        assert smtp.sock is not None
        codes = []
        for step in [*steps, *chunks]:
            smtp.send(step if step.startswith("BDAT") and "\r\n" in step else f"{step}\r\n")
            codes.append(str(smtp.getreply()[0]))
    return codes
