"""Run commands and measure them: wall seconds, CPU seconds of the whole process with its children, peak resident set."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """One command's cost; `rss` in MiB."""

    wall: float
    cpu: float
    rss: float


def cost_of(command: Sequence[str], environ: Mapping[str, str]) -> Cost:
    """Run a command to its end. Raises RuntimeError, with what it printed, when it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{command[0]} … ended {process.returncode}: {output.decode(errors='replace')[-1500:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def interleaved(tools: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Each tool once a round, so that what else the machine does falls on all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, tool in tools.items():
            costs[name].append(tool())
    return costs


def median(costs: Sequence[Cost], what: str) -> float:
    return statistics.median(getattr(cost, what) for cost in costs)


def slope(points: Mapping[float, float]) -> float:
    """Least squares: seconds of wall a second of round-trip time, which is round trips."""
    return statistics.linear_regression(list(points), list(points.values())).slope
