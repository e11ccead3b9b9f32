"""Nothing is lost: a killed run's message is found and deleted by a sweep, and what is missing is said."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from probe import run
from probe.message import Letter, read
from probe.observe import hunt
from probe.sandbox import Sandbox, imap
from probe.state import outbox
from probe.tasks import sweep
from probe.tasks.run import load_profile

ROOT = Path(__file__).parent.parent.parent
NEIGHBOUR = b"From: friend@x.test\r\nSubject: lunch?\r\n\r\nsubmission-probe-aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        running._world.mailbox(running.username).folders["INBOX"].add(NEIGHBOUR)
        yield running


class Desk:
    """A user's machine: a profile for the sandbox, a state directory, and the command line."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.sandbox, self.state = sandbox, folder / "state"
        self.profile = folder / "desk.toml"
        self.profile.write_text(sandbox.profile())
        self.environ = {**os.environ, "PROBE_SANDBOX_PASSWORD": sandbox.password, "SUBMISSION_PROBE_STATE": str(self.state)}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "probe", *arguments]
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*command, env=self.environ, cwd=ROOT, stdout=pipe, stderr=pipe)

    async def run(self, *arguments: str) -> tuple[int, str]:
        process = await self.start(*arguments)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode() + err.decode()

    async def sweep(self, *options: str) -> tuple[int, dict[str, Any]]:
        code, text = await self.run("sweep", str(self.profile), "-o", "json", *options)
        return code, json.loads(text)

    def inbox(self) -> list[bytes]:
        return [message.raw for message in self.sandbox.mailboxes[self.sandbox.username].folders["INBOX"].messages]


async def test_a_run_that_ends_well_leaves_no_trace(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, sandbox)
    code, text = await desk.run("run", str(desk.profile))
    assert code == 0, text
    assert outbox.entries(desk.state) == [] and desk.inbox() == [NEIGHBOUR]
    assert os.name == "nt" or (desk.state / "key").stat().st_mode & 0o777 == 0o600


async def test_what_was_left_is_swept_and_nothing_else(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, sandbox)
    code, text = await desk.run("run", str(desk.profile), "--no-delete")
    assert code == 0, text
    code, young = await desk.sweep()
    assert code == 0 and len(young["too_young"]) == 1 and len(desk.inbox()) == 2
    code, dry = await desk.sweep("--older-than", "0", "--dry-run")
    assert code == 1 and len(dry["kept"]) == 1 and len(desk.inbox()) == 2
    code, swept = await desk.sweep("--older-than", "0")
    assert code == 0 and swept["deleted"] == dry["kept"]
    assert desk.inbox() == [NEIGHBOUR]


async def test_another_installation_is_not_touched(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = Desk(tmp_path / "one", sandbox), Desk(tmp_path / "two", sandbox)
    assert (await one.run("run", str(one.profile), "--no-delete"))[0] == 0
    code, swept = await two.sweep("--older-than", "0")
    assert code == 0 and swept["deleted"] == [] and swept["foreign"] == 1
    assert len(one.inbox()) == 2


async def test_a_run_killed_after_the_message_left_is_accounted_for(tmp_path: Path) -> None:
    async with Sandbox(fault="late") as sandbox:
        sandbox._world.mailbox(sandbox.username).folders["INBOX"].add(NEIGHBOUR)
        desk = Desk(tmp_path, sandbox)
        process = await desk.start("run", str(desk.profile))
        async with asyncio.timeout(30):
            # The entry is written before the message leaves, so it is there when the sandbox has taken the message.
            await sandbox._world.accepted.wait()
        process.kill()
        await process.communicate()
        (entry,) = outbox.entries(desk.state)
        await asyncio.gather(*sandbox._world.tasks)
        assert len(desk.inbox()) == 2
        code, swept = await desk.sweep("--older-than", "0")
        assert code == 0 and swept["deleted"] == [entry.marker] and swept["missing"] == []
        assert desk.inbox() == [NEIGHBOUR] and outbox.entries(desk.state) == []


async def test_a_message_that_never_came_is_said_to_be_missing(tmp_path: Path) -> None:
    async with Sandbox(fault="never-delivers") as sandbox:
        desk = Desk(tmp_path, sandbox)
        code, _ = await desk.run("run", str(desk.profile), "--timeout", "6s")
        assert code == 2
        (entry,) = outbox.entries(desk.state)
        code, swept = await desk.sweep("--older-than", "0")
        assert code == 1 and [item["marker"] for item in swept["missing"]] == [entry.marker]
        assert (await desk.sweep("--older-than", "0"))[0] == 0


@pytest.mark.not_on_windows("signals cannot be sent from outside: tests/sandbox/test_stopped.py raises them inside")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_cleans_up_and_says_so(tmp_path: Path, sign: signal.Signals) -> None:
    async with Sandbox(fault="late") as sandbox:
        desk = Desk(tmp_path, sandbox)
        process = await desk.start("run", str(desk.profile), "-o", "json")
        async with asyncio.timeout(30):
            await sandbox._world.accepted.wait()
        process.send_signal(sign)
        out, _ = await process.communicate()
        assert process.returncode == 130
        (report,) = json.loads(out)["reports"]
        assert report["interrupted"] is True


async def test_a_sweep_that_cannot_log_on_fails_plainly(tmp_path: Path) -> None:
    async with Sandbox(fault="wrong-password") as sandbox:
        desk = Desk(tmp_path, sandbox)
        code, text = await desk.run("sweep", str(desk.profile))
        assert code == 2 and "refused" in text and sandbox.password not in text


@pytest.mark.not_under_wine("symbolic links are accepted and not made")
def test_damaged_and_foreign_entries_are_left_alone(tmp_path: Path) -> None:
    place = outbox.folder(tmp_path)
    place.mkdir(parents=True)
    (place / "submission-probe-garbage.json").write_text("{")
    (place / "submission-probe-list.json").write_text("[]")
    (place / "submission-probe-other.json").write_text('{"marker": "x"}')
    (place / "submission-probe-link.json").symlink_to("/etc/passwd")
    assert outbox.entries(tmp_path) == [] and len(list(place.iterdir())) == 4
    outbox.remove(tmp_path, "../../etc/passwd")


def _foreign(ours: bytes) -> list[bytes]:
    """Mail from anybody: markers by the thousand, a nesting bomb, and our own message as people and mailers quote it."""
    head, _, text = ours.partition(b"\r\n\r\n")
    fields = [line for line in head.split(b"\r\n") if line.startswith(b"X-Submission-Probe: ")]
    marked = fields[0] + b"\r\nFrom: somebody@y.test\r\nTo: probe@sandbox.test\r\n"
    markers = b"".join(b"submission-probe-%026d\r\n".replace(b"0", b"a").replace(b"1", b"b") % number for number in range(1450))
    return [
        marked + b"Content-Type: message/rfc822\r\n\r\n" * 1960,
        *(marked + b"Subject: decoy %d\r\n\r\n" % number + markers for number in range(20)),
        marked.replace(fields[0], b"X-Submission-Probe: submission-probe-" + b"c" * 26) + b"Subject: forged\r\n\r\n",
        b"From: bob@y.test\r\nTo: probe@sandbox.test\r\nSubject: FW: Submission probe\r\n"
        + head
        + b"\r\n\r\nWhat is this?\r\n"
        + text,
        b"From: MAILER-DAEMON@y.test\r\nSubject: failure notice\r\n" + head + b"\r\n\r\nSorry: 550 no such user\r\n" + text,
    ]


async def test_mail_from_anybody_neither_stops_a_sweep_nor_is_deleted(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, sandbox)
    code, text = await desk.run("run", str(desk.profile), "--no-delete")
    assert code == 0, text
    foreign = _foreign(desk.inbox()[-1])
    inbox = sandbox.mailboxes[sandbox.username].folders["INBOX"]
    for raw in foreign:
        inbox.add(raw)
    code, swept = await desk.sweep("--older-than", "0")
    assert code == 0 and len(swept["deleted"]) == 1, swept
    assert desk.inbox() == [NEIGHBOUR, *foreign]
    code, text = await desk.run("run", str(desk.profile))
    assert code == 0, text
    assert desk.inbox() == [NEIGHBOUR, *foreign]


@pytest.fixture
def here(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose sweeps run in this process."""
    desk = Desk(tmp_path, sandbox)
    monkeypatch.setenv("PROBE_SANDBOX_PASSWORD", sandbox.password)
    monkeypatch.setenv("SUBMISSION_PROBE_STATE", str(desk.state))
    return desk


async def _swept(desk: Desk) -> sweep.Swept:
    return await sweep.sweep(load_profile(str(desk.profile), {}), older_than=timedelta(0), dry_run=False)


@pytest.mark.parametrize("reply", ["BAD Command Argument Error. 11", "OK SEARCH completed"])
async def test_a_search_that_is_refused_or_finds_nothing_hides_no_leftover(
    here: Desk, monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    async def answer(server: imap.Imap, tag: str, _words: object, _uid: bool) -> None:
        await server._say(f"{tag} {reply}")

    code, text = await here.run("run", str(here.profile), "--no-delete")
    assert code == 0, text
    monkeypatch.setitem(imap._COMMANDS, "SEARCH", answer)
    swept = await _swept(here)
    assert len(swept.leftovers.deleted) == 1 and here.inbox() == [NEIGHBOUR]


async def test_a_leftover_without_our_fields_is_swept(here: Desk) -> None:
    code, text = await here.run("run", str(here.profile), "--no-delete")
    assert code == 0, text
    inbox = here.sandbox.mailboxes[here.sandbox.username].folders["INBOX"]
    head, _, body = inbox.messages.pop().raw.partition(b"\r\n\r\n")
    inbox.add(re.sub(rb"(?m)^X-[^\r]*\r\n(?:[ \t][^\r]*\r\n)*", b"", head + b"\r\n") + b"\r\n" + body)
    swept = await _swept(here)
    assert len(swept.leftovers.deleted) == 1 and here.inbox() == [NEIGHBOUR]


async def test_an_error_of_our_own_over_one_mail_stops_no_sweep(here: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = await here.run("run", str(here.profile), "--no-delete")
    assert code == 0, text
    odd = b"X-Submission-Probe: submission-probe-" + b"c" * 26 + b"\r\nSubject: odd\r\n\r\n"
    here.sandbox.mailboxes[here.sandbox.username].folders["INBOX"].add(odd)

    def stumble(raw: bytes) -> Letter:
        if raw == odd:
            raise RecursionError
        return read(raw)

    monkeypatch.setattr(hunt, "read", stumble)
    swept = await _swept(here)
    assert swept.leftovers.stumbled == 1 and len(swept.leftovers.deleted) == 1
    assert here.inbox() == [NEIGHBOUR, odd]


async def test_an_old_message_that_comes_again_is_deleted_and_is_no_late_delivery(here: Desk) -> None:
    code, text = await here.run("run", str(here.profile), "--no-delete")
    assert code == 0, text
    # It was seen, so that nothing in the outbox expects it.
    assert outbox.entries(here.state) == []
    swept = await _swept(here)
    assert len(swept.leftovers.deleted) == 1 and swept.leftovers.delays == {}


async def test_a_server_that_refuses_parts_of_messages_is_read_and_swept(here: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse_parts(server: imap.Imap, tag: str, words: list[Any], uid: bool) -> None:
        if "<0" in str(words):
            await server._say(f'{tag} BAD Protocol Error: "Unsupported partial fetch".')
        else:
            await imap.Imap._fetch(server, tag, words, uid)

    monkeypatch.setitem(imap._COMMANDS, "FETCH", refuse_parts)
    report = await run(str(here.profile), delete=False)
    assert report.verdict == "ok", report.findings
    swept = await _swept(here)
    assert len(swept.leftovers.deleted) == 1 and here.inbox() == [NEIGHBOUR]
