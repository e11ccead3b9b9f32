"""Nothing reads the message back: that it stays is said, and the command that is named takes it away."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from probe import run
from probe.profile.options import overlays
from probe.sandbox import Sandbox
from probe.tasks.run import load_profile
from probe.tasks.sweep import sweep


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


def profile(tmp_path: Path, sandbox: Sandbox) -> str:
    path = tmp_path / "desk.toml"
    path.write_text(sandbox.profile())
    return str(path)


def messages(sandbox: Sandbox) -> int:
    return len(sandbox.mailboxes[sandbox.username].folders["INBOX"].messages)


async def test_that_it_stays_is_said_and_a_sweep_takes_it_away(tmp_path: Path, sandbox: Sandbox) -> None:
    path = profile(tmp_path, sandbox)
    report = await run(path, readback="none")
    (left,) = [finding for finding in report.findings if finding.id == "cleanup.left-behind"]
    assert (report.verdict, left.severity, left.stage) == ("ok", "info", "smtp.submit")
    shown = "PROFILE" if "\\" in str(path) else path  # a backslash means something to sh
    assert f"stays in the mailbox of {sandbox.username}" in left.summary and f"probe sweep {shown} " in left.remedy[0]
    assert messages(sandbox) == 1
    swept = await sweep(load_profile(path, {}), older_than=timedelta(0), dry_run=False)
    assert len(swept.leftovers.deleted) == 1 and messages(sandbox) == 0


async def test_a_profile_without_a_reader_is_swept_by_the_setting_that_is_named(tmp_path: Path, sandbox: Sandbox) -> None:
    path = Path(profile(tmp_path, sandbox))
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?ms)^\[readback\..*?(?=^\[(?!readback)|\Z)", "", text), encoding="utf-8")
    report = await run(str(path), readback="none")
    (left,) = [finding for finding in report.findings if finding.id == "cleanup.left-behind"]
    (setting,) = re.findall(r"--set (\S+)", " ".join(left.remedy))
    assert overlays({"set": [setting]})[0].path == ("readback", "imap", "security")
    where = [f"readback.imap.port={sandbox.addresses['imaps'].port}", 'readback.imap.connect=["127.0.0.1"]']
    await sweep(load_profile(str(path), {"set": [setting, *where]}), older_than=timedelta(0), dry_run=False)
    assert messages(sandbox) == 0


async def test_a_profile_without_a_reader_is_somebodys_choice(tmp_path: Path, sandbox: Sandbox) -> None:
    path = Path(profile(tmp_path, sandbox))
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?ms)^\[readback\..*?(?=^\[(?!readback)|\Z)", "", text), encoding="utf-8")
    assert (await run(str(path))).findings == ()


@pytest.mark.parametrize("readback", ["imap", "pop3", "both"])
async def test_nothing_is_said_where_a_reader_deletes_it(tmp_path: Path, sandbox: Sandbox, readback: str) -> None:
    report = await run(profile(tmp_path, sandbox), readback=readback)
    assert "cleanup.left-behind" not in {finding.id for finding in report.findings} and messages(sandbox) == 0


async def test_nothing_is_said_where_nothing_was_sent(tmp_path: Path, sandbox: Sandbox) -> None:
    report = await run(profile(tmp_path, sandbox), readback="none", light=True)
    assert "cleanup.left-behind" not in {finding.id for finding in report.findings}
