"""A look that goes out before the final reply: it saves a round trip over a long line, and accepts nothing."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

import probe
from probe.observe import mailbox
from probe.observe.connection import Connection
from probe.observe.mailbox import look_ahead
from probe.report import Report
from probe.sandbox import Sandbox
from probe.sandbox.smtp import _Handler


@dataclass
class Line:
    """A long line to both servers: what is delivered `before` the look ahead, when that has its answer, and what it `saw`."""

    delivered: asyncio.Event
    looked: asyncio.Event
    saw: Any = None


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Line:
    line = Line(asyncio.Event(), asyncio.Event())
    monkeypatch.setattr(Connection, "round_trip", 1.0)
    monkeypatch.setattr(mailbox, "AHEAD_SECONDS", 0.0)

    async def look(job: Any, session: Any) -> None:
        await line.delivered.wait()
        await look_ahead(job, session)
        line.saw = session.ahead
        line.looked.set()

    monkeypatch.setattr("probe.observe.legs.imap.look_ahead", look)
    return line


async def run(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, **options: object) -> Report:
    monkeypatch.setenv("PW", sandbox.password)
    profile = {
        "submission": {"host": "127.0.0.1", "port": sandbox.addresses["submission"].port},
        "account": {"username": sandbox.username, "password": {"env": "PW"}},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        "readback": {"imap": {"port": sandbox.addresses["imaps"].port}},
        "limits": {"timeout": "10s"},
    }
    return await probe.run(profile, raise_bugs=True, **options)


def answering(monkeypatch: pytest.MonkeyPatch, line: Line, *, before: bool, reply: str | None = None) -> None:
    """The server delivers before the look ahead or after it, and then answers with its own words or `reply`."""
    deliver = _Handler.handle_DATA

    async def handle(self: Any, *arguments: Any) -> str:
        if not before:
            line.delivered.set()
            await line.looked.wait()
        said = await deliver(self, *arguments)
        line.delivered.set()
        await line.looked.wait()
        return reply or said

    monkeypatch.setattr(_Handler, "handle_DATA", handle)


def flights(report: Report) -> list[str]:
    lines = [line.text for line in report.transcript if line.connection == "imap" and line.direction == ">"]
    return [" ".join(text.split()[1:3]) for text in lines if "SELECT" in text or "UID" in text.split()]


@pytest.mark.parametrize("chunking", [True, False])
async def test_the_message_is_there_when_its_reply_comes(chunking: bool, far: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, far, before=True)
    async with Sandbox(chunking=chunking) as sandbox:
        report = await run(sandbox, monkeypatch)
        assert report.verdict == "ok", report.findings
        assert report.delivery_seconds == 0
        assert flights(report) == ['SELECT "INBOX"', 'SELECT "INBOX"', "UID FETCH", "UID STORE", "UID EXPUNGE"]
        assert sandbox.mailboxes[sandbox.username].folders["INBOX"].messages == []


async def test_what_came_later_is_found_as_ever(far: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, far, before=False)
    async with Sandbox() as sandbox:
        report = await run(sandbox, monkeypatch)
        assert report.verdict == "ok", report.findings
        assert flights(report).count("UID FETCH") >= 2


async def test_a_message_that_is_refused_in_the_end_is_not_accepted_though_it_was_seen(
    far: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, far, before=True, reply="554 5.7.1 refused")
    async with Sandbox() as sandbox:
        report = await run(sandbox, monkeypatch)
        assert report.failed_stage == "smtp.submit"
        assert {stage.name: stage.record.status for stage in report.stages}["imap.find"] == "skipped"
        # Only what was accepted and proven is deleted.
        assert len(sandbox.mailboxes[sandbox.username].folders["INBOX"].messages) == 1


async def test_a_near_server_is_not_asked_before(far: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "round_trip", 0.0)
    answering(monkeypatch, far, before=True)
    async with Sandbox() as sandbox:
        report = await run(sandbox, monkeypatch)
        assert report.verdict == "ok", report.findings
        assert not far.saw


async def test_without_pipelining_nobody_looks_before(far: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, far, before=True)
    async with Sandbox() as sandbox:
        report = await run(sandbox, monkeypatch, pipelining=False)
        assert report.verdict == "ok", report.findings
        assert not far.saw
