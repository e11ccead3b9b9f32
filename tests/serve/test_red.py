"""What must not stay green: a secret that is gone, a profile that is none any more, runs that have stopped."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from probe.sandbox import Sandbox
from probe.serve import board
from probe.serve.app import make_app
from probe.serve.service import Service, Settings
from probe.serve.targets import Target
from tests.serve.serving import Serving, values
from tests.serve.test_serve import profile, submissions


async def textfile(folder: Path, *profiles: str, more: tuple[str, ...] = ()) -> tuple[int, dict[str, dict[tuple[str, ...], float]]]:
    """The exit status of `probe run`, and what its file for node_exporter says then."""
    command = [sys.executable, "-m", "probe", "run", *profiles, "--report", f"prometheus={folder}/probe.prom", *more]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60)
    return done.returncode, values((folder / "probe.prom").read_text(encoding="utf-8"))


async def test_the_textfile_goes_red_with_a_secret_or_a_profile(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        path = Path(profile(tmp_path, sandbox))
        code, told = await textfile(tmp_path, str(path))
        assert code == 0 and told["submission_probe_success"] == {("office",): 1}
        first = told["submission_probe_last_run_timestamp_seconds"][("office",)]
        sandbox.password_file.rename(tmp_path / "away")
        code, told = await textfile(tmp_path, str(path))
        assert code == 3 and told["submission_probe_success"] == {("office",): 0}
        assert told["submission_probe_verdict"][("office", "unknown")] == 1
        assert told["submission_probe_last_run_timestamp_seconds"][("office",)] > first
        (tmp_path / "away").rename(sandbox.password_file)
        assert (await textfile(tmp_path, str(path)))[0] == 0
        path.write_text(path.read_text(encoding="utf-8") + "[nonsense]\n", encoding="utf-8")
        code, told = await textfile(tmp_path, str(path), more=("--dry-run",))
        assert code == 3 and told["submission_probe_success"] == {("office",): 1}
        code, told = await textfile(tmp_path, str(path))
        assert code == 3 and told["submission_probe_success"] == {("office",): 0}
        path.unlink()
        assert (await textfile(tmp_path, str(path)))[1]["submission_probe_verdict"][("office", "unknown")] == 1


async def test_a_reload_reads_secrets_again(tmp_path: Path) -> None:
    """Gone: red at once, with no run. Back: a run at once, although the interval is long."""
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "1h") as serving:
        await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")
        assert (await serving.metrics())["submission_probe_secrets_available"] == {("office",): 1}
        sandbox.password_file.rename(tmp_path / "away")
        assert (await serving.client.post("/-/reload")).status_code == 200
        await serving.until_metric("submission_probe_runs_total", 1, "office", "unknown")
        told = await serving.metrics()
        assert told["submission_probe_success"] == {("office",): 0} and submissions(sandbox) == 1
        assert told["submission_probe_secrets_available"] == {("office",): 0}
        page = (await serving.get("/")).text
        assert '<article class="unknown"' in page and "account.password" in page
        (tmp_path / "away").rename(sandbox.password_file)
        serving.process.send_signal(signal.SIGHUP)
        await serving.until_metric("submission_probe_runs_total", 2, "office", "ok")
        told = await serving.metrics()
        assert told["submission_probe_success"] == told["submission_probe_secrets_available"] == {("office",): 1}


@pytest.mark.parametrize("reload", [True, False])
async def test_a_profile_that_loads_no_more_shows(tmp_path: Path, reload: bool) -> None:
    async with Sandbox() as sandbox:
        path = Path(profile(tmp_path, sandbox))
        async with Serving(tmp_path, str(path), "--interval", "1s") as serving:
            await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")
            assert (await serving.metrics())["submission_probe_profile_valid"] == {("office",): 1}
            whole = path.read_text(encoding="utf-8")
            path.write_text(whole + "[nonsense]\n", encoding="utf-8")
            if reload:
                assert (await serving.client.post("/-/reload")).status_code == 500
                assert (await serving.metrics())["submission_probe_profile_valid"] == {("office",): 0}
            async with asyncio.timeout(30):
                while (await serving.metrics())["submission_probe_profile_valid"] != {("office",): 0}:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            page = (await serving.get("/")).text
            assert '<article class="unknown"' in page and "nonsense" in page
            path.write_text(whole, encoding="utf-8")
            assert (await serving.client.post("/-/reload")).status_code == 200
            assert (await serving.metrics())["submission_probe_profile_valid"] == {("office",): 1}
            assert '<article class="ok"' in (await serving.get("/")).text


async def test_runs_that_have_stopped_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that never ends, by an error of ours: after an interval and its own time, everything says so."""
    async with Sandbox() as sandbox:
        service = Service(Settings((profile(tmp_path, sandbox),), interval=300.0))
        begun, never, real = asyncio.Event(), asyncio.Event(), service.runner.run

        async def run(target: Target) -> None:
            begun.set()
            await never.wait()

        service.runner.run = run  # type: ignore[assignment, method-assign]
        await real(service.targets["office"])
        await asyncio.wait_for(begun.wait(), 20)
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(make_app(service)), base_url="http://127.0.0.1")
        told = values((await client.get("/metrics")).text)
        assert told["submission_probe_stale"] == {("office",): 0} and (await client.get("/healthz")).status_code == 200
        monkeypatch.setattr(board, "time", SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + 400))
        told = values((await client.get("/metrics")).text)
        assert told["submission_probe_stale"] == {("office",): 1}
        page = (await client.get("/")).text
        assert '<article class="unknown"' in page and "stands still" in page
        assert (await client.get("/healthz")).status_code == 503
        never.set()
        await service.finish()


async def test_without_a_schedule_nothing_is_stale(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        assert "submission_probe_stale" not in await serving.metrics()
