"""Run, collection, sweep and audit are prepared alike: one question a secret, one back-off, all that is missing named at once."""

import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from probe.profile import Profile, ProfileError
from probe.sandbox import Sandbox
from probe.state.place import files
from probe.tasks.audit import audit
from probe.tasks.collect import collect
from probe.tasks.plan import make_plan
from probe.tasks.prepare import prepare
from probe.tasks.run import load_profile, run
from probe.tasks.sweep import sweep

Task = Callable[[Profile], Awaitable[object]]


def profile(sandbox: Sandbox, password: dict[str, Any], reader: dict[str, Any] | None = None) -> Profile:
    side = {name: {"port": address.port, "connect": ["127.0.0.1"]} for name, address in sandbox.addresses.items()}
    account = {"account": {"username": sandbox.username, "password": reader}} if reader else {}
    data = {
        "submission": {"host": sandbox.fqdn, **side["submission"]},
        "account": {"username": sandbox.username, "password": password},
        "readback": {"imap": side["imaps"] | account},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
    }
    return load_profile(data, {})


def counted(folder: Path, password: str) -> dict[str, Any]:
    """A command that leaves a mark each time it is run."""
    code = f"open({str(folder / 'asked')!r}, 'a').write('x'); print({password!r})"
    return {"command": [sys.executable, "-c", code]}


async def running(one: Profile) -> object:
    return await run(one)


async def collecting(one: Profile) -> object:
    return await collect(await prepare(make_plan(one, light=True), one, files()), one)


async def sweeping(one: Profile) -> object:
    return await sweep(one, older_than=timedelta(0), dry_run=True)


async def auditing(one: Profile) -> object:
    return await audit(one, ("audit.foreign-sender", "audit.state-kept-over-tls"))


TASKS = [running, collecting, sweeping, auditing]


@pytest.mark.parametrize("task", TASKS)
async def test_a_secret_is_asked_for_once_and_logs_on(task: Task, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        await task(profile(sandbox, counted(tmp_path, sandbox.password)))
        assert (tmp_path / "asked").read_text() == "x"
        assert sandbox.logons and all(logon.ok for logon in sandbox.logons)


@pytest.mark.parametrize("task", TASKS)
async def test_a_refused_secret_is_left_alone(task: Task, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        one = profile(sandbox, counted(tmp_path, "wrong"))
        await run(one, light=True)
        before = len(sandbox.logons)
        assert before == 2
        await task(one)
        assert len(sandbox.logons) == before


@pytest.mark.parametrize("task", TASKS)
async def test_every_missing_secret_is_named_at_once(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GONE", raising=False)
    async with Sandbox() as sandbox:
        one = profile(sandbox, {"env": "GONE"}, {"file": str(tmp_path / "nowhere")})
        with pytest.raises(ProfileError) as caught:
            await task(one)
        assert {problem.key for problem in caught.value.problems} == {"account.password", "readback.imap.account.password"}
        assert not sandbox.logons
