"""What comes back instead of the message, or around it, read over each protocol alone."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from probe import run
from probe.observe.job import Job
from probe.observe.legs import imap
from probe.sandbox import Sandbox
from probe.sandbox.mailbox import Mailbox, World


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


def report(raw: bytes) -> bytes:
    return (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.test\r\nTo: probe@sandbox.test\r\nSubject: Undelivered\r\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=D\r\n\r\n--D\r\n\r\nSorry.\r\n"
        b"--D\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n"
        b"Final-Recipient: rfc822; probe@sandbox.test\r\nAction: failed\r\nStatus: 5.2.2\r\n"
        b"Diagnostic-Code: smtp; 552 5.2.2 mailbox full\r\n--D\r\nContent-Type: message/rfc822\r\n\r\n" + raw + b"\r\n--D--\r\n"
    )


def enclosed(raw: bytes) -> bytes:
    fields = b"".join(line + b"\r\n" for line in raw.split(b"\r\n") if line.startswith((b"From: ", b"To: ")))
    return (
        fields
        + b"Subject: *****SPAM***** probe\r\nX-Spam-Flag: YES\r\nContent-Type: multipart/mixed; boundary=S\r\n\r\n--S\r\n\r\n"
        b"Spam detection software says so.\r\n--S\r\nContent-Type: message/rfc822\r\n\r\n" + raw + b"\r\n--S--\r\n"
    )


def delivered_as(change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = World.deliver
    monkeypatch.setattr(World, "deliver", lambda world, recipient, raw: deliver(world, recipient, change(raw)))


def profile(tmp_path: Path, sandbox: Sandbox) -> str:
    path = tmp_path / "desk.toml"
    path.write_text(sandbox.profile())
    return str(path)


@pytest.mark.parametrize("reader", ["imap", "pop3"])
async def test_a_report_gives_its_reason_and_stays(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    delivered_as(report, monkeypatch)
    options = ["limits.delivery_critical=1s", "limits.delivery_warning=500ms"]
    found = (await run(profile(tmp_path, sandbox), readback=reader, set=options)).findings
    bounced = next(each for each in found if each.id == "delivery.bounced")
    assert "552 5.2.2 mailbox full" in bounced.summary and bounced.severity == "critical"
    assert len(sandbox.mailboxes[sandbox.username].folders["INBOX"].messages) == 1


@pytest.mark.parametrize("reader", ["imap", "pop3"])
async def test_what_a_filter_enclosed_is_found_and_deleted(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    delivered_as(enclosed, monkeypatch)
    report = await run(profile(tmp_path, sandbox), readback=reader)
    assert report.verdict == "warning" and any("enclosed" in each.summary for each in report.findings), report.findings
    assert sandbox.mailboxes[sandbox.username].folders["INBOX"].messages == []


async def test_what_a_filter_enclosed_is_found_by_a_reader_that_logged_on_late(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UIDNEXT is noted when the message lies there already, so that it is looked for below; the marker is in its text only."""
    delivered_as(enclosed, monkeypatch)
    note_folders = imap._note_folders

    async def noted_late(job: Job, *rest: Any) -> None:
        await job.accepted.settled()
        await note_folders(job, *rest)

    monkeypatch.setattr(imap, "_note_folders", noted_late)
    for _ in range(60):
        sandbox.mailboxes.setdefault(sandbox.username, Mailbox()).folders["INBOX"].add(b"Subject: lunch?\r\n\r\n?\r\n")
    report = await run(profile(tmp_path, sandbox), readback="imap")
    assert report.verdict == "warning" and any("enclosed" in each.summary for each in report.findings), report.findings
    assert len(sandbox.mailboxes[sandbox.username].folders["INBOX"].messages) == 60
