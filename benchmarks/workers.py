"""`make bench-workers`: 10 000 profiles in a queue in PostgreSQL, three workers on this machine, one of them killed.

A run is stubbed: it takes 50 ms, leaves its trace in the outbox and removes it, and ends as a recorded run did. Everything else is
`probe worker` as users have it: the queue, the streaks, the stored runs, /metrics. Each start and end is noted in a file with the
instant; the moments are known beforehand (probe/serve/moments.py), so that what was late, lost or doubled can be counted.
"""

import argparse
import asyncio
import json
import os
import re
import runpy
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from probe.serve.moments import first_after
from tests.servers.postgresql import PostgreSQL

Row = tuple[str, float, float, str]

ROOT = Path(__file__).parent.parent
RUN_SECONDS = 0.05
RECORDED = ROOT / "tests" / "recorded" / "ok.json"
# A worker with 10 000 profiles reads them first.
UP_SECONDS = 900.0
_PROFILE = """extends = "generic"
[submission]
host = "mail.example.test"
[account]
username = "{name}@example.test"
password = {{ env = "BENCH_PASSWORD" }}
[readback.imap]
"""


@dataclass(frozen=True)
class Sizes:
    """What is measured: `interval`, `stalled` (a silent worker is dead) and `window` in seconds."""

    profiles: int
    interval: int
    window: int
    stalled: int
    workers: int = 3


@dataclass(frozen=True)
class Cost:
    """Of PostgreSQL so far: CPU seconds of all its processes, octets of its write-ahead log, octets of the stored runs."""

    cpu: float
    log: float
    stored: float


@dataclass(frozen=True)
class Noted:
    """A line of the file: that a run of `profile` began or ended at that Unix time in that process."""

    at: float
    what: str
    profile: str
    process: int


# -- a worker whose runs are stubs ---------------------------------------------------------------------------------


def as_worker(notes: str, arguments: Sequence[str]) -> int:
    """`probe worker` with these arguments, its runs stubbed and noted."""
    from probe.message import new_marker
    from probe.runs.saved import read
    from probe.serve import runner
    from probe.state.outbox import Entry, stamp

    (recorded,) = read(RECORDED.read_text(encoding="utf-8"), "ok").reports
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, profile: str) -> None:
        os.write(file, f"{time.time():.4f} {what} {profile} {os.getpid()}\n".encode())

    async def stub(plan: Any, profile: Any, session: Any) -> list[Any]:
        note("begin", plan.profile)
        now = datetime.now(UTC)
        user = plan.submission.credentials.username
        entry = Entry(new_marker(secrets.token_bytes(16)), plan.profile, stamp(now), user, plan.submission.host)
        session.place.put(entry)
        await asyncio.sleep(RUN_SECONDS)
        session.place.remove(entry.marker)
        note("end", plan.profile)
        return [replace(recorded, id=secrets.token_hex(8), profile=plan.profile, started=now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))]

    runner.observe_each = stub
    sys.argv = ["probe", "worker", *arguments]
    runpy.run_module("probe", run_name="__main__")
    return 0


@contextmanager
def working(folder: Path, environ: dict[str, str], sizes: Sizes, number: int) -> Iterator[subprocess.Popen[str]]:
    """One such worker; `await_up` says when it takes jobs."""
    options = ["--database-env", "DSN", "--vantage", "bench", "--listen", "127.0.0.1:0"]
    options += ["--interval", f"{sizes.interval}s", "--stalled-after", f"{sizes.stalled}s"]
    command = [sys.executable, "-m", "benchmarks.workers", "--as-worker", str(folder / "notes"), *options]
    with (folder / f"said{number}").open("w") as said, subprocess.Popen(command, env=environ, stderr=said, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def await_up(folder: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
    until = time.monotonic() + UP_SECONDS
    for number, process in enumerate(processes):
        while not re.search("http://", said := (folder / f"said{number}").read_text()):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"worker {number} did not start: {said[-2000:]}")
            time.sleep(0.2)


# -- figures -------------------------------------------------------------------------------------------------------


def cost(server: PostgreSQL) -> Cost:
    """Live processes, and by the first one those that have ended (proc(5): cutime, cstime)."""
    seconds = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == server.process.pid:
            seconds += sum(map(int, fields[11:15]))
        elif int(fields[1]) == server.process.pid:
            seconds += sum(map(int, fields[11:13]))
    question = "select pg_current_wal_lsn() - '0/0'::pg_lsn, pg_total_relation_size('submission_probe_run')"
    ((log, stored),) = server.ask(question)
    return Cost(seconds / os.sysconf("SC_CLK_TCK"), float(str(log)), float(str(stored)))


def usage(processes: Sequence[subprocess.Popen[str]]) -> tuple[float, float]:
    """CPU seconds of the living workers so far, all together; the largest resident set, MiB."""
    seconds, largest = 0.0, 0.0
    for process in processes:
        if process.poll() is not None:
            continue
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        largest = max(largest, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20)
    return seconds, largest


def noted(folder: Path) -> list[Noted]:
    lines = (line.split() for line in (folder / "notes").read_text(encoding="utf-8").splitlines())
    return [Noted(float(at), what, profile, int(process)) for at, what, profile, process in lines]


def judged(
    notes: Sequence[Noted], names: Sequence[str], sizes: Sizes, window: tuple[float, float], killed: int
) -> dict[str, float]:
    """Of all moments in the window: how late their runs began (seconds), what was lost, what ran twice.

    What the killed worker had begun and not ended runs again elsewhere, and its moment counts once; how late that is counts too.
    """
    begun: dict[tuple[str, int], list[Noted]] = defaultdict(list)
    ended: Counter[tuple[str, int]] = Counter()
    open_runs: dict[tuple[str, int], tuple[str, int]] = {}
    for one in sorted(notes, key=lambda one: one.at):
        if one.what == "begin":
            key = one.profile, first_after(one.profile, sizes.interval, one.at) - sizes.interval
            begun[key].append(one)
            open_runs[one.profile, one.process] = key
        else:
            ended[open_runs.pop((one.profile, one.process))] += 1
    wanted = [
        (name, moment)
        for name in names
        for moment in range(first_after(name, sizes.interval, window[0]), int(window[1]) + 1, sizes.interval)
    ]
    late = sorted(begun[key][-1].at - key[1] for key in wanted if begun[key])
    cut = [key for (_, process), key in open_runs.items() if process == killed]
    return {
        "wanted": len(wanted),
        "p50": late[len(late) // 2],
        "p99": late[int(len(late) * 0.99)],
        "last": late[-1],
        "lost": sum(not ended[key] for key in wanted),
        "doubled": sum(ended[key] > 1 or len(begun[key]) > 1 + (key in cut) for key in wanted),
        "cut": len(cut),
    }


def measure(sizes: Sizes) -> dict[str, float]:
    """All of it. The window begins when every worker has been up for a while, and each has taken what it found overdue."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="probe-workers-")))
        server = stack.enter_context(PostgreSQL())
        names = [f"p{number:06}" for number in range(sizes.profiles)]
        (folder / "profiles").mkdir()
        for name in names:
            (folder / "profiles" / f"{name}.toml").write_text(_PROFILE.format(name=name))
        environ = {
            **os.environ, "DSN": server.conninfo, "BENCH_PASSWORD": "x", "SUBMISSION_PROBE_STATE": str(folder / "state"),
            "SUBMISSION_PROBE_PROFILES": str(folder / "profiles"),
        }  # fmt: skip
        made = [sys.executable, "-m", "probe", "worker", "--init", "--database-env", "DSN"]
        subprocess.run(made, env=environ, check=True, capture_output=True)
        began = time.monotonic()
        workers = [stack.enter_context(working(folder, environ, sizes, number)) for number in range(sizes.workers)]
        await_up(folder, workers)
        up = time.monotonic() - began
        time.sleep(min(30.0, sizes.interval))
        return {"seconds until up": up, **_window(server, folder, workers, names, sizes)}


def _window(
    server: PostgreSQL, folder: Path, workers: list[subprocess.Popen[str]], names: list[str], sizes: Sizes
) -> dict[str, float]:
    """Measure for `window` seconds; the first worker is killed after a third of it."""
    before, begin, (cpu_before, _) = cost(server), time.time(), usage(workers[1:])
    time.sleep(sizes.window / 3)
    workers[0].kill()
    workers[0].wait()
    killed_at = time.time()
    time.sleep(sizes.window * 2 / 3)
    after, end, (cpu, rss) = cost(server), time.time(), usage(workers[1:])
    # Long enough for what the killed one had to be taken up, twice over.
    time.sleep(max(0.0, killed_at + 2 * sizes.stalled - time.time()) + 10)
    notes = noted(folder)
    ran = [one for one in notes if one.what == "end" and begin <= one.at <= end]
    living = sum(one.process != workers[0].pid for one in ran)
    return {
        **judged(notes, names, sizes, (begin, end - 10), workers[0].pid),
        "runs a second": len(ran) / (end - begin),
        "PostgreSQL's CPU, ms a run": (after.cpu - before.cpu) / len(ran) * 1000,
        "octets of its log a run": (after.log - before.log) / len(ran),
        "octets stored a run": (after.stored - before.stored) / len(ran),
        "a worker's CPU, ms a run": (cpu - cpu_before) / living * 1000,
        "a worker's RSS, MiB": rss,
    }


def rows(found: dict[str, float]) -> list[Row]:
    """(figure, measured, reach, unit)."""
    return [
        ("a run begins after its moment, p99", found["p99"], 5, "s"),
        ("runs lost, one worker killed", found["lost"], 0, ""),
        ("runs doubled, one worker killed", found["doubled"], 0, ""),
    ]


def table(found: dict[str, float], sizes: Sizes) -> str:
    """The goals, then all figures, then what they come to with ten times as many profiles."""
    lines = [
        f"{sizes.profiles} profiles every {sizes.interval} s, {sizes.workers} workers, one killed; runs of {RUN_SECONDS:g} s\n"
    ]
    for figure, measured, reach, unit in rows(found):
        lines.append(f"{figure:<48} {measured:>9.2f} {unit:<3} ≤ {reach:>4g}  {'met' if measured <= reach else 'MISSED'}")
    lines += ["", *(f"{figure:<48} {value:>9.2f}" for figure, value in found.items())]
    rate = sizes.profiles / sizes.interval * 10
    cores, log = rate * found["PostgreSQL's CPU, ms a run"] / 1000, rate * found["octets of its log a run"] / 2**20
    own, rss = rate * found["a worker's CPU, ms a run"] / 1000, found["a worker's RSS, MiB"] * 10
    stored = rate * found["octets stored a run"] * 86_400 / 1e9
    lines += [
        "",
        f"with ten times as many profiles: {rate:.0f} runs a second, PostgreSQL {cores:.1f} cores and {log:.1f} MiB/s of log,",
        f"{stored:.0f} GB of runs a day, workers {own:.1f} cores together (without the runs themselves), each up to {rss:.0f} MiB",
    ]
    return "\n".join(lines)


def main() -> int:
    if sys.argv[1:2] == ["--as-worker"]:
        return as_worker(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=10_000)
    parser.add_argument("--interval", type=int, default=300, help="seconds (300)")
    parser.add_argument("--window", type=int, default=600, help="seconds that are measured (600)")
    parser.add_argument("--stalled", type=int, default=60, help="seconds after which a silent worker is dead (60)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    sizes = Sizes(options.profiles, options.interval, options.window, options.stalled)
    found = measure(sizes)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found, sizes))
    return 0 if all(measured <= reach for _, measured, reach, _ in rows(found)) else 1


if __name__ == "__main__":
    sys.exit(main())
