"""`nagios`: one line for Nagios, Icinga, Naemon, Checkmk and whatever runs their plugins.

https://nagios-plugins.org/doc/guidelines.html and https://icinga.com/docs/icinga-2/latest/doc/05-service-monitoring/: state, text,
`|`, performance data. One line, ASCII, under 4 KB (NRPE and Nagios cut there, in the middle of a number). No `|` and no control
character comes from a server. Seconds carry thresholds where the profile has them; days have no unit of measure in the guidelines.
"""

from collections.abc import Iterator, Sequence

from probe.output import Context
from probe.output._safe import safe
from probe.output._words import distinct, in_a_row, least_certificate_days, outcome, plain_label, unexplained, where
from probe.report import Finding, Report, Threshold, worst_verdict
from probe.report.causes import by_severity
from probe.report.collection import tally

_MOST_OCTETS = 4000
_MOST_TEXT = 1500
_NONE = Threshold()


def write(reports: Sequence[Report], context: Context) -> str:
    """`SUBMISSION OK - text | perfdata`, the worst target's state and text first."""
    state = worst_verdict(report.alarms for report in reports)
    if any(report.interrupted for report in reports):
        # 130 is no plugin state: consumers show it as unknown.
        state = "unknown"
    line = f"SUBMISSION {state.upper()} - {plain(_text(reports), _MOST_TEXT)}"
    return _with_perfdata(line, list(_perfdata(reports))) + "\n"


def complaint(text: str, seconds: float | None = None) -> str:
    """The line for a mistake in the call or the profile, an error of ours, or a run that was ended after so many seconds."""
    line = f"SUBMISSION UNKNOWN - {plain('; '.join(text.splitlines()), _MOST_TEXT)}"
    return _with_perfdata(line, [] if seconds is None else [_metric("total", f"{seconds:.6f}s")]) + "\n"


def plain(text: str, most: int) -> str:
    """One line of printable ASCII without `|`, cut to a length."""
    ascii_only = safe(text).encode("ascii", "backslashreplace").decode("ascii").replace("|", "!")
    return ascii_only if len(ascii_only) <= most else f"{ascii_only[: most - 3]}..."


def _text(reports: Sequence[Report]) -> str:
    if not reports:
        return "no target was probed"
    if len(reports) == 1:
        return _one(reports[0])
    good = sum(report.verdict == "ok" for report in reports)
    bad = [f"{report.profile}: {report.verdict}, {_one(report)}" for report in _worst_first(reports) if report.verdict != "ok"]
    return "; ".join([f"{good} of {len(reports)} targets ok", *bad])


def _worst_first(reports: Sequence[Report]) -> list[Report]:
    order = ("critical", "unknown", "warning", "ok")
    return sorted(reports, key=lambda report: order.index(report.verdict))


def _one(report: Report) -> str:
    findings = [_brief(finding) for finding in by_severity(report.findings) if finding.severity != "info"]
    return "; ".join([f"{where(report)} {outcome(report)}", *filter(None, [in_a_row(report), unexplained(report)]), *findings])


def _brief(finding: Finding) -> str:
    return f"{finding.id}: {finding.summary}"


def _perfdata(reports: Sequence[Report]) -> Iterator[str]:
    """What matters most first, since the end is left out when there are many targets."""
    names = distinct(reports)
    prefixes = [f"{name}/" if len(reports) > 1 else "" for name in names]
    for prefix, report in zip(prefixes, reports, strict=True):
        if report.delivery_seconds is not None:
            line = report.thresholds.get("delivery_seconds", _NONE)
            drawn = report.ranges.get("delivery", (_number(line.warning), _number(line.critical)))
            yield _metric(f"{prefix}delivery", f"{report.delivery_seconds:.6f}s", *drawn)
        yield _metric(f"{prefix}total", f"{report.seconds:.6f}s", *report.ranges.get("total", ("", "")))
        yield from _of_collection(prefix, report)
        days = least_certificate_days(report)
        if days is not None:
            line = report.thresholds.get("certificate_days", _NONE)
            # `21:` alerts below 21 (guidelines, "Threshold and ranges").
            warning, critical = (f"{number}:" if number else "" for number in map(_number, (line.warning, line.critical)))
            drawn = report.ranges.get("certificate", (warning, critical))
            yield _metric(f"{prefix}certificate_days", f"{days:.2f}", *drawn, least="")
    for prefix, report in zip(prefixes, reports, strict=True):
        for stage in report.stages:
            if stage.status != "skipped":
                yield _metric(f"{prefix}{plain_label(stage.name)}", f"{stage.record.seconds:.6f}s")


def _of_collection(prefix: str, report: Report) -> Iterator[str]:
    if found := tally(report):
        for name in ("sent", "collected", "late", "lost"):
            yield _metric(f"{prefix}{name}", str(getattr(found, name)))
        yield _metric(f"{prefix}oldest_outstanding", f"{found.oldest_outstanding:.0f}s")


def _metric(label: str, value: str, warning: str = "", critical: str = "", least: str = "0") -> str:
    return f"{label}={value};{warning};{critical};{least}".rstrip(";")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def _with_perfdata(line: str, metrics: Sequence[str]) -> str:
    """Whole metrics only, as many as there is room for."""
    told = f"{line} |"
    for metric in metrics:
        if len(told) + 1 + len(metric) > _MOST_OCTETS:
            break
        told += f" {metric}"
    return told if metrics else line
