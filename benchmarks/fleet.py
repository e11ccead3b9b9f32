"""Whole loops in flight in one process: failures, event-loop lag, peak memory. Runs in a process of its own (`python -m`)."""

import asyncio
import json
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.peers import Bench, Row

USERS = 50


def rows(bench: "Bench", sizes: list[int]) -> list["Row"]:
    """The figures for each size."""
    users = [bench.mail.add_user(f"fleet{number}", bench.environ["BENCH_PASSWORD"]) for number in range(USERS)]
    profile = str(bench.profile("imap"))
    found: list[Row] = []
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.fleet", profile, str(size), *users]
        done = subprocess.run(command, env=bench.environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        figures = json.loads(done.stdout)
        found += [
            (f"{size} whole loops in flight: failures {figures['reasons']}", figures["failures"], 0, ""),
            (f"{size} whole loops in flight: event-loop lag p99", figures["lag_p99"] * 1000, 20, "ms"),
            (f"{size} whole loops in flight: peak RSS", figures["rss"], 150, "MiB"),
        ]
    return found


async def _measure(profile: str, size: int, users: list[str]) -> dict[str, object]:
    from probe import run
    from probe.observe.connection import Pace
    from probe.tasks.run import load_profile

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    await run(profile, raise_bugs=True)  # imports and TLS contexts are a process's, not a loop's
    lags: list[float] = []
    watcher = asyncio.ensure_future(_watch(lags))
    lags.clear()
    began, cpu = time.perf_counter(), time.process_time()
    # Loaded before, as the command line and a server do: reading files is no part of a loop.
    loaded = [load_profile(profile, {"user": user, "timeout": "120s"}) for user in users]
    pace = Pace()
    reports = await asyncio.gather(*(run(loaded[index % len(loaded)], pace=pace) for index in range(size)))
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    watcher.cancel()
    failed = [report for report in reports if report.verdict != "ok"]
    return {
        "failures": len(failed),
        "reasons": _reasons(failed),
        "lag_p99": sorted(lags)[int(len(lags) * 0.99)] if lags else 0.0,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "wall": wall,
        "cpu": cpu,
    }


def _reasons(failed: list[Any]) -> str:
    said = {f"{report.failed_stage}: {finding.summary[:120]}" for report in failed for finding in report.findings}
    return "; ".join(sorted(said)[:5])


async def _watch(lags: list[float]) -> None:
    """How much later than asked does the loop come back?"""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.005
        await asyncio.sleep(0.005)
        lags.append(loop.time() - due)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))))
