"""Runs of one target in a row (`--repeat`): how many, how many lost, how long."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from probe.report import FAILED, Report


def repeated(reports: Iterable[Report]) -> dict[str, list[Report]]:
    """Runs of one target in a row, by profile; empty where each target was probed once."""
    groups: dict[str, list[Report]] = {}
    for report in reports:
        if report.kind == "repetition":
            groups.setdefault(report.profile, []).append(report)
    return groups


class PastRun(TypedDict):
    """A past run as an output plots it. `started` is RFC 3339, `seconds` the delivery time, None where nothing was delivered."""

    started: str
    profile: str
    verdict: str
    seconds: float | None


class Statistics(TypedDict):
    """Of runs in a row. `seconds`: by stage name, `delivery` and `total`: min, median, p95 and max."""

    count: int
    failed: int
    lost: int
    seconds: dict[str, dict[str, float]]


def statistics(reports: Iterable[Report]) -> Statistics:
    """Of runs in a row: count, lost (not delivered, where they were to be), and seconds as min, median, p95 and max."""
    reports = tuple(reports)
    samples: dict[str, list[float]] = {}
    for report in reports:
        if report.delivery_seconds is not None:
            samples.setdefault("delivery", []).append(report.delivery_seconds)
        samples.setdefault("total", []).append(report.seconds)
        for stage in report.stages:
            if stage.status in ("ok", "warning"):
                samples.setdefault(stage.name, []).append(stage.record.seconds)
    delivered = sum(report.delivery_seconds is not None for report in reports)
    meant = sum(any(stage.name.endswith(".find") for stage in report.stages) for report in reports)
    return Statistics(
        count=len(reports),
        failed=sum(report.verdict in FAILED for report in reports),
        lost=max(0, meant - delivered),
        seconds={name: _spread(values) for name, values in samples.items()},
    )


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th, 95th and 99th percentile (linear between two values), in the unit of the values, of which there is one at least."""
    from statistics import quantiles

    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}


def stage_seconds(reports: Iterable[Mapping[str, object]]) -> dict[str, list[float]]:
    """How long each stage took that went well, in seconds, of saved reports (contract section 5); `delivery` and `total` first.

    Stages in the order in which they first come.
    """
    samples: dict[str, list[float]] = {"delivery": [], "total": []}
    for report in reports:
        for name, key in (("delivery", "delivery_seconds"), ("total", "seconds")):
            if isinstance(value := report.get(key), (int, float)):
                samples[name].append(value)
        stages = report.get("stages")
        for stage in stages if isinstance(stages, list) else ():
            if stage["status"] in ("ok", "warning"):
                samples.setdefault(stage["name"], []).append(stage["seconds"])
    return {name: values for name, values in samples.items() if values}


def _spread(values: list[float]) -> dict[str, float]:
    cuts = percentiles(values)
    spread = {"min": min(values), "median": cuts["p50"], "p95": cuts["p95"], "max": max(values)}
    return {name: round(value, 6) for name, value in spread.items()}
