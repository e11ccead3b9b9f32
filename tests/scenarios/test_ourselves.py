"""Bad days of our own machine: closed and full stdout, few descriptors, two runs on one mailbox, devices as reports."""

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from probe.sandbox import Sandbox
from probe.state.lease import lease

resource = pytest.importorskip("resource", reason="not_on_windows: limits of a process")

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


class Desk:
    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder, self.state = folder, folder / "state"
        self.profile = folder / "desk.toml"
        self.profile.write_text(sandbox.profile())
        self.mailbox = f"{sandbox.fqdn} {sandbox.username}"
        self.environ = {**os.environ, "PROBE_SANDBOX_PASSWORD": sandbox.password, "SUBMISSION_PROBE_STATE": str(self.state)}

    async def run(self, *arguments: str, **options: object) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "probe", "run", str(self.profile), *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = await asyncio.create_subprocess_exec(*command, env=self.environ, cwd=ROOT, **pipes)
        out, err = await process.communicate()
        return process.returncode or 0, (out or b"").decode(), err.decode()


async def test_closed_stdout_takes_nothing_from_the_exit_status(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, sandbox)
    code, _, errors = await desk.run(stdout=None, preexec_fn=lambda: os.close(1))
    assert code == 0 and "Traceback" not in errors


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full")
async def test_full_stdout_takes_nothing_from_the_exit_status(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, sandbox)
    with Path("/dev/full").open("wb") as full:
        code, _, errors = await desk.run(stdout=full)
    assert code == 0 and "the verdict stands" in errors and "Traceback" not in errors


async def test_a_report_to_a_device_leaves_the_device(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, sandbox)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.ensure_future(asyncio.to_thread(pipe.read_text))
    code, _, _ = await desk.run("--report", f"json={pipe}")
    assert code == 0 and json.loads(await reading)["exit_code"] == 0
    assert pipe.is_fifo()


@pytest.mark.parametrize("limit", [10, 12, 14, 16])
async def test_few_descriptors_are_said_plainly(tmp_path: Path, sandbox: Sandbox, limit: int) -> None:
    desk = Desk(tmp_path, sandbox)
    code, out, _ = await desk.run("-o", "json", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    report = json.loads(out)["reports"][0] if out else {"findings": []}
    found = {finding["id"] for finding in report["findings"]}
    assert code == 0 or (code in (2, 3) and "run.cancelled" not in found)
    assert code != 2 or "probe.no-descriptors" in found, found


async def test_two_runs_on_one_maildrop_take_turns(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, sandbox)
    both = await asyncio.gather(desk.run(), desk.run(str(desk.profile)))
    assert [code for code, _, _ in both] == [0, 0], both


async def test_a_maildrop_that_stays_taken_is_unknown_and_says_who_has_it(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, sandbox)
    until = asyncio.get_running_loop().time() + 5
    async with lease(desk.state, desk.mailbox, "process 4711 on monitor, profile hourly", until):
        code, out, _ = await desk.run("-o", "json", "--timeout", "2s")
        report = json.loads(out)["reports"][0]
        assert (code, report["verdict"], report["failed_stage"]) == (3, "unknown", "pop3.login")
        assert "process 4711 on monitor" in out
    assert (await desk.run())[0] == 0


async def test_a_lease_is_named_by_no_user(tmp_path: Path) -> None:
    async with lease(tmp_path, "mail.x.test secret-user", "me", 0):
        names = [path.name for path in (tmp_path / "leases").iterdir()]
    assert names == [hashlib.sha256(b"mail.x.test secret-user").hexdigest()[:32]]
    with contextlib.suppress(FileNotFoundError):
        assert "secret-user" not in (tmp_path / "leases" / names[0]).read_text()


def test_an_internal_error_is_unknown(tmp_path: Path) -> None:
    code = "import probe.cli.run as r, probe.cli, sys\nr.load_all = lambda *a, **k: 1 / 0\n"
    code += "sys.exit(probe.cli.entry(['run', 'generic']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 3 and "internal error: ZeroDivisionError" in done.stderr
