"""Run commands and measure them: wall seconds, CPU seconds of the whole process with its children, peak resident set."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SPAWN = Path(__file__).with_name("spawn.py")


@dataclass(frozen=True)
class Cost:
    """One command's cost; `rss` in MiB."""

    wall: float
    cpu: float
    rss: float


def cost_of(command: Sequence[str], environ: Mapping[str, str]) -> Cost:
    """Run a command to its end. Raises RuntimeError, with what it printed, when it fails."""
    ours, theirs = os.pipe()
    try:
        wrapped = [sys.executable, "-S", "-E", str(SPAWN), str(theirs), *command]
        done = subprocess.run(
            wrapped, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(theirs,), check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} … ended {done.returncode}: {done.stdout.decode(errors='replace')[-1500:]}")
        return Cost(**json.loads(os.read(ours, 1000)))
    finally:
        os.close(ours)
        os.close(theirs)


def interleaved(tools: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Each tool once a round, so that what else the machine does falls on all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, tool in tools.items():
            costs[name].append(tool())
    return costs


def median(costs: Sequence[Cost], what: str) -> float:
    return statistics.median(values(costs, what))


def values(costs: Sequence[Cost], what: str) -> list[float]:
    return [getattr(cost, what) for cost in costs]


def quartiles(figures: Sequence[float]) -> tuple[float, float]:
    """The first and the third; where there is one figure only, that."""
    if len(figures) < 2:
        return figures[0], figures[0]
    first, _, third = statistics.quantiles(figures, n=4, method="inclusive")
    return first, third


def slope(points: Mapping[float, float]) -> float:
    """Least squares: seconds of wall a second of round-trip time, which is round trips."""
    return statistics.linear_regression(list(points), list(points.values())).slope


def slopes(walls: Mapping[float, Sequence[float]]) -> list[float]:
    """The slope of each round, from its wall seconds by RTT."""
    return [slope(dict(zip(walls, each, strict=True))) for each in zip(*walls.values(), strict=True)]
