"""Reports as plain JSON-able data (contract section 5): each field of the dataclasses is a key, named nowhere else."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from probe.facts import to_json as facts_to_json
from probe.record import ASKED, HIDDEN
from probe.report import Report, Stage, Threshold, exit_code, worst_verdict
from probe.report.comparison import Comparison, comparison_to_json
from probe.report.statistics import repeated, statistics
from probe.version import __version__


def to_json(
    reports: Iterable[Report],
    *,
    started: str,
    seconds: float,
    version: str = __version__,
    comparison: Comparison | None = None,
    attempts: int = 1,
) -> dict[str, object]:
    """The one object of contract section 5 for any number of targets; what --repeat, --against and --wait-until-ok add.

    `version` is that of the program that ran it.
    """
    reports = tuple(reports)
    more: dict[str, Any] = {}
    if groups := repeated(reports):
        more["statistics"] = {profile: statistics(group) for profile, group in groups.items()}
    if comparison is not None:
        more["comparison"] = comparison_to_json(comparison)
    if attempts > 1:
        more["attempts"] = attempts
    return {
        "schema": "submission-probe/run/1",
        "version": version,
        "started": started,
        "seconds": round(seconds, 6),
        "verdict": worst_verdict(report.verdict for report in reports),
        "exit_code": exit_code(reports),
        "reports": [report_to_json(report) for report in reports],
        **more,
    }


def report_to_json(report: Report) -> dict[str, object]:
    """One report; keys are stable."""
    made: dict[str, Any] = _plain(report)
    return made


# Most values are one of these, and nothing is to be done with them.
_AS_THEY_ARE = frozenset((str, int, bool, type(None)))


def _plain(value: Any) -> Any:
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Stage):
        # A stage is its record with the status that the findings give it.
        return {**_plain(value.record), "status": value.status, "facts": facts_to_json(value.record.facts)}
    if isinstance(value, Threshold):
        # As the profile has it: not rounded.
        return {"warning": value.warning, "critical": value.critical}
    if is_dataclass(value):
        always, where_asked = _keys(value.__class__)
        made = {name: _plain(getattr(value, name)) for name in always}
        for name, default in where_asked:
            if (said := getattr(value, name)) != default:
                made[name] = _plain(said)
        return made
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


@cache
def _keys(kind: Any) -> tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]:
    """The keys of a dataclass: those that there always are; and, with their defaults, those that are there where they were asked
    for."""
    found = [item for item in fields(kind) if item.metadata != HIDDEN]
    asked = tuple((item.name, item.default) for item in found if item.metadata == ASKED)
    return tuple(item.name for item in found if item.metadata != ASKED), asked
