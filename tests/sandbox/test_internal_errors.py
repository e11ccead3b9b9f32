"""An error of our own, wherever it strikes, never leaves the message behind where any reader can still remove it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import probe
from probe.observe import maildrop
from probe.observe.legs import imap, pop3
from probe.observe.protocol import smtp
from probe.sandbox import Sandbox
from probe.state.place import Files


def profile(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, *readers: str) -> dict[str, Any]:
    monkeypatch.setenv("PW", sandbox.password)
    side = {name: {"port": address.port, "connect": ["127.0.0.1"]} for name, address in sandbox.addresses.items()}
    return {
        "submission": {"host": sandbox.fqdn, **side["submission"]},
        "account": {"username": sandbox.username, "password": {"env": "PW"}},
        "readback": {name: side[f"{name}s"] for name in readers},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
    }


def broken(*_: object, **__: object) -> Any:
    raise AttributeError("module 'os' has no attribute 'pwrite'")


async def broken_later(*_: object, **__: object) -> Any:
    await asyncio.sleep(0)
    broken()


def left(sandbox: Sandbox) -> int:
    mailbox = sandbox.mailboxes.get(sandbox.username)
    return sum(len(folder.messages) for folder in mailbox.folders.values()) if mailbox else 0


@pytest.mark.parametrize(
    ("module", "name", "error", "readers", "deleted_by"),
    [
        (pop3, "_login", broken_later, ("imap", "pop3"), "imap.delete"),
        (maildrop, "both_ends", broken, ("imap", "pop3"), "imap.delete"),
        (imap, "find_message", broken_later, ("imap", "pop3"), "pop3.delete"),
        (imap, "_verify", broken_later, ("imap",), None),
        (imap, "_delete", broken_later, ("imap",), None),
        (smtp, "queue_id", broken, ("imap", "pop3"), "imap.delete"),
        (smtp, "queue_id", broken, ("pop3",), "pop3.delete"),
        (pop3.Pop3Talk, "goodbye", broken_later, ("imap", "pop3"), "imap.delete"),
    ],
)
async def test_the_message_is_deleted_all_the_same(
    module: Any, name: str, error: Any, readers: tuple[str, ...], deleted_by: str | None,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    place = Files(tmp_path)
    async with Sandbox() as sandbox:
        monkeypatch.setattr(module, name, error)
        report = await probe.run(profile(sandbox, monkeypatch, *readers), place=place)
        assert report.verdict == "unknown" and report.error is not None
        assert "internal error: AttributeError" in report.error
        stages = {stage.name: stage.status for stage in report.stages}
        assert deleted_by is None or stages[deleted_by] == "ok"
        assert left(sandbox) == 0
        assert place.entries() == []
        logons = [logon.protocol for logon in sandbox.logons]
        assert logons.count("pop3") <= 1 and logons.count("imap") <= 2


async def test_a_message_that_nothing_can_delete_stays_known_to_a_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = Files(tmp_path)
    async with Sandbox() as sandbox:
        monkeypatch.setattr(pop3, "_find", broken_later)
        report = await probe.run(profile(sandbox, monkeypatch, "pop3"), place=place)
        assert report.verdict == "unknown"
        assert left(sandbox) == len(place.entries()) == 1


async def test_a_message_that_is_to_stay_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        monkeypatch.setattr(imap, "_verify", broken_later)
        await probe.run(profile(sandbox, monkeypatch, "imap"), delete=False, place=Files(tmp_path))
        assert left(sandbox) == 1


async def test_another_runs_message_is_left_to_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The last look is for this run's marker, though the key proves every message of this installation to be ours."""
    place = Files(tmp_path)
    async with Sandbox() as sandbox:
        await probe.run(profile(sandbox, monkeypatch, "imap"), delete=False, place=place)
        monkeypatch.setattr(imap, "_verify", broken_later)
        await probe.run(profile(sandbox, monkeypatch, "imap"), place=place)
        assert left(sandbox) == 1


async def test_no_second_logon_after_one_that_was_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox(fault="imap-disabled", personality="exchange-2016", tarpit=0) as sandbox:
        monkeypatch.setattr(pop3, "_find", broken_later)
        report = await probe.run(profile(sandbox, monkeypatch, "imap", "pop3"), place=Files(tmp_path))
        assert report.error is not None
        assert [logon.protocol for logon in sandbox.logons].count("imap") == 1


async def test_a_callers_test_still_sees_the_error_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        monkeypatch.setattr(pop3, "_login", broken_later)
        with pytest.raises(AttributeError):
            await probe.run(profile(sandbox, monkeypatch, "imap", "pop3"), raise_bugs=True, place=Files(tmp_path))
        assert left(sandbox) == 0
