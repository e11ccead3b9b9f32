"""`make bench` on a small scale: it runs to its end, says on what link, and leaves no device or namespace behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
DEVICES = Path("/sys/class/net")
# A link, made and held until somebody ends the process; where none can be made it ends by itself.
_HELD = """
import sys, time
from benchmarks.link import link
with link() as line:
    print(line.kind if line else "", flush=True)
    if line:
        line.delay(0.02)
        sys.stdin.read()
"""


def ours(pid: int) -> list[Path]:
    return sorted(DEVICES.glob(f"bench{pid}*"))


@pytest.fixture
def holder() -> Any:
    command = [sys.executable, "-c", _HELD]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        kind = process.stdout.readline().strip()
        if not kind:
            pytest.skip("this kernel lets nobody make namespaces: the bench measures through its proxy here")
        yield process
        process.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_link_is_gone_with_its_process(holder: Any, how: signal.Signals, mail: Any) -> None:
    assert ours(holder.pid)
    holder.send_signal(how)
    holder.wait(20)
    until = time.monotonic() + 20
    # The kernel removes a namespace some time after its last process.
    while ours(holder.pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not ours(holder.pid)


def test_the_bench_runs_to_its_end(tmp_path: Path, mail: Any) -> None:
    path = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.bench", "--quick", "--json", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        printed, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    found = json.loads(path.read_text())
    names = {row["name"] for row in found["rows"]}
    assert {"round trips, send + IMAP4 readback, clean-up confirmed", "peak RSS one-shot"} <= names
    assert found["link"] in printed and "floor" in found["one_shot"]
    assert {"probe, pop3", "plain, imap", "swaks, send", "check_email_delivery, imap"} <= set(found["round_trips"])
    assert all(row["name"] in printed for row in found["rows"])
    assert not ours(process.pid)


def test_a_round_trip_is_counted_by_the_slope() -> None:
    from benchmarks.measure import quartiles, slopes

    walls = {rtt: [0.3 + turns * rtt for turns in (9.0, 10.0, 11.0)] for rtt in (0.02, 0.04, 0.08)}
    assert [round(each, 6) for each in slopes(walls)] == [9, 10, 11]
    assert quartiles([9, 10, 11]) == (9.5, 10.5) and quartiles([4]) == (4, 4)


def test_memory_is_that_of_the_command_alone() -> None:
    """Not what the process had that started it."""
    from benchmarks.measure import cost_of

    kept = bytearray(os.urandom(1024)) * 64 * 1024
    cost = cost_of([sys.executable, "-S", "-E", "-c", "pass"], os.environ)
    assert cost.rss < len(kept) / 2**20
