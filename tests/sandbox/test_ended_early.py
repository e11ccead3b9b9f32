"""Asked to end at each moment of a run: the line of a monitoring plugin goes out at once, every other output has its report."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from probe.cli._runs import Piece, Runs, side_by_side
from probe.observe import reach
from probe.sandbox import Sandbox
from probe.state import history
from probe.state.place import Files
from probe.tasks.plan import make_plan
from probe.tasks.prepare import Session
from probe.tasks.run import load_profile

ROOT = Path(__file__).parent.parent.parent
SIGNALS = [signal.SIGINT, signal.SIGTERM]
pytestmark = pytest.mark.not_on_windows("signals cannot be sent from outside: tests/sandbox/test_stopped.py raises them inside")


async def start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "probe", *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, cwd=ROOT, env={**os.environ, "SUBMISSION_PROBE_STATE": str(folder / "state")},
    )  # fmt: skip


def profile(folder: Path, sandbox: Sandbox, password: str = "") -> Path:
    path, text = folder / "desk.toml", sandbox.profile()
    if password:
        text = "\n".join(f"password = {password}" if line.startswith("password") else line for line in text.splitlines())
    path.write_text(text, encoding="utf-8")
    return path


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()


@pytest.mark.parametrize("sign", SIGNALS)
async def test_nagios_has_its_line_while_the_clean_up_goes_on(tmp_path: Path, sign: signal.Signals) -> None:
    """Icinga kills half a second after SIGTERM. The message never comes here, so that the clean-up looks for it to its own end."""
    async with Sandbox(fault="never-delivers") as sandbox:
        process = await start(tmp_path, "run", str(profile(tmp_path, sandbox)), "-o", "nagios")
        await sandbox._world.accepted.wait()
        process.send_signal(sign)
        line = await line_of(process)
        assert process.returncode is None
        process.kill()
        rest, _ = await process.communicate()
    assert line.startswith("SUBMISSION UNKNOWN - the run was interrupted after ") and line.endswith("\n") and rest == b""
    assert f"of {sandbox.fqdn}:{sandbox.addresses['submission'].port}" in line and " | total=" in line
    # What was not deleted any more is known to the next run.
    assert len(Files(tmp_path / "state").entries()) == 1


async def test_nagios_has_one_line_in_all_and_the_files_their_reports(tmp_path: Path) -> None:
    async with Sandbox(fault="never-delivers") as sandbox:
        report = tmp_path / "run.json"
        path = profile(tmp_path, sandbox)
        process = await start(tmp_path, "run", str(path), "-o", "nagios", "--report", f"json={report}")
        await sandbox._world.accepted.wait()
        process.terminate()
        out, err = await process.communicate()
    assert process.returncode == 130 and out.count(b"\n") == 1 and b"SUBMISSION UNKNOWN - " in out and b"Traceback" not in err
    (run,) = json.loads(report.read_text())["reports"]
    assert run["verdict"] == "unknown" and run["interrupted"]
    (row,) = history.rows(tmp_path / "state" / "history.sqlite")
    assert row.verdict == "unknown" and row.failed_stage is None


@pytest.mark.parametrize("format", ["nagios", "json", "text"])
@pytest.mark.parametrize("sign", SIGNALS)
async def test_while_a_secret_is_fetched(tmp_path: Path, sign: signal.Signals, format: str) -> None:
    """Before any run has begun: the command of the profile is under way, and says so."""
    pipe = tmp_path / "asked"
    os.mkfifo(pipe)
    async with Sandbox() as sandbox:
        command = f'{{ command = ["sh", "-c", "echo asked > {pipe}; exec sleep 60"] }}'
        process = await start(tmp_path, "run", str(profile(tmp_path, sandbox, command)), "-o", format)
        assert await asyncio.to_thread(pipe.read_text) == "asked\n"
        process.send_signal(sign)
        out, err = await process.communicate()
        assert not sandbox.logons
    text = out.decode()
    assert process.returncode == 130 and b"Traceback" not in err, err.decode()
    if format == "json":
        (report,) = json.loads(text)["reports"]
        assert (
            report["verdict"] == "unknown"
            and report["interrupted"]
            and report["error"] == "the run was interrupted before it began"
        )
    else:
        assert "UNKNOWN" in text and "the run was interrupted before it began" in text
    assert format != "nagios" or text == "SUBMISSION UNKNOWN - the run was interrupted before it began\n"


async def test_while_many_secrets_are_fetched(tmp_path: Path) -> None:
    """Beside one another, in threads: none is waited for."""
    pipe = tmp_path / "asked"
    os.mkfifo(pipe)
    async with Sandbox() as sandbox:
        paths = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            paths.append(
                str(profile(tmp_path / name, sandbox, f'{{ command = ["sh", "-c", "echo asked > {pipe}; exec sleep 60"] }}'))
            )
        process = await start(tmp_path, "run", *paths, "-o", "json")
        assert await asyncio.to_thread(pipe.read_text)
        process.terminate()
        out, _ = await process.communicate()
    assert [report["verdict"] for report in json.loads(out)["reports"]] == ["unknown", "unknown"] and process.returncode == 130


HELD = """
import signal, sys
from probe.cli import _show, entry
write = _show._out.write
def asked(*arguments, **options):
    signal.raise_signal(getattr(signal, sys.argv[1]))
    write(*arguments, **options)
_show._out.write = asked
sys.exit(entry(sys.argv[2:]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
async def test_while_the_result_is_written_it_is_written_whole(tmp_path: Path, name: str) -> None:
    """The run has ended: its verdict counts, and there is one line."""
    async with Sandbox() as sandbox:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HELD, name, "run", str(profile(tmp_path, sandbox)), "-o", "nagios", cwd=ROOT,
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "SUBMISSION_PROBE_STATE": str(tmp_path / "state")},
        )  # fmt: skip
        out, _ = await process.communicate()
    assert process.returncode == 0 and out.startswith(b"SUBMISSION OK - ") and out.count(b"\n") == 1


async def test_between_two_runs_in_a_row(tmp_path: Path) -> None:
    """What was done is reported as it was; the exit status says that it is not all."""
    async with Sandbox() as sandbox:
        path = profile(tmp_path, sandbox)
        process = await start(tmp_path, "run", str(path), "-o", "json", "--repeat", "3", "--interval", "60s")
        await sandbox._world.accepted.wait()
        while Files(tmp_path / "state").entries():  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0.01)
        process.terminate()
        out, _ = await process.communicate()
    assert process.returncode == 130 and len(json.loads(out)["reports"]) == 1


async def test_a_collection_ends_too(tmp_path: Path) -> None:
    async with Sandbox(fault="never-delivers") as sandbox:
        asked = asyncio.Event()
        held: list[asyncio.StreamWriter] = []

        def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append(writer)  # else it is closed as soon as nobody has it
            asked.set()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        path = profile(tmp_path, sandbox)
        silent = f"readback.imap.port={server.sockets[0].getsockname()[1]}"
        process = await start(tmp_path, "run", str(path), "--collect", "--set", silent, "-o", "json", "--timeout", "50s")
        await asked.wait()
        process.terminate()
        out, _ = await process.communicate()
        held.pop().close()
        server.close()
    (report,) = json.loads(out)["reports"]
    assert process.returncode == 130 and report["verdict"] == "unknown" and report["failed_stage"] is None


async def test_no_address_behind_a_name_is_waited_for(tmp_path: Path) -> None:
    """`--every-address` looks the name up before any run begins."""
    interrupt = asyncio.Event()
    interrupt.set()
    made = load_profile(
        {
            "submission": {"host": "mail.test", "every_address": "deliver"},
            "account": {"username": "a@mail.test", "password": {"env": "PROBE_TEST"}},
        },
        {},
    )

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach, "resolve", never)
        piece = Piece(make_plan(made, light=True), made)
        (report,) = await asyncio.wait_for(side_by_side([piece], Runs(), Session(interrupt=interrupt)), 30)
    assert report.interrupted and report.verdict == "unknown" and report.failed_stage is None
