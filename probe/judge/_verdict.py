"""A record and what the checks say of it → the report: each stage's status, the first that failed, the verdict.

Nothing outside of this file decides any of them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from probe.facts import Certified, Swept
from probe.judge import findings, kinds
from probe.judge._finding import finding
from probe.judge._ranges import Limits, severity
from probe.judge._seen import first_seen, slowest
from probe.profile import Profile
from probe.record import NOT_REACHED, Record, StageRecord
from probe.report import Finding, Report, Stage, Status, Threshold, Verdict, worst_severity, worst_verdict

_RANGES = "threshold.exceeded"
_PAUSED = "run.paused"
_DAY = 86400
# A mailbox that another run of ours holds, what was cut short by us, a machine without descriptors, a proxy: nothing of the server.
_OURS = (
    "lease.held", "run.cancelled", "probe.no-descriptors",
    "proxy.unreachable", "proxy.refused", "proxy.auth-refused", "proxy.failed",
)  # fmt: skip


def judge(record: Record, profile: Profile) -> Report:
    """Judge a record: findings, each stage's status, the verdict."""
    found = findings(record, profile) if record.paused is None else _void(record, profile, record.paused)
    stages = _stages(record.stages, found)
    # How long a delivery took is not known where nobody looked for a while.
    first = (first_seen(record.stages) or _collected(record.stages)) if record.paused is None else None
    return Report(
        id=record.id,
        profile=record.profile,
        target=record.target,
        started=record.started,
        seconds=record.seconds,
        verdict=_verdict(record, stages, found, profile.blame),
        failed_stage=_first_failed(stages),
        delivery_seconds=first[0] if first else None,
        stages=stages,
        findings=found,
        transcript=record.transcript,
        error=record.error,
        interrupted=record.interrupted,
        thresholds=_thresholds(record, profile),
        kind=record.kind,
    )


def _void(record: Record, profile: Profile, seconds: float) -> tuple[Finding, ...]:
    """The findings of a run during which the probe stood still: whatever went wrong in it may have done so for that alone."""
    told = tuple(one for one in findings(record, profile) if one.severity == "info")
    reached = [stage.name for stage in record.stages if stage.status != "skipped"]
    where = [stage.name for stage in record.stages if stage.status == "failed"] or reached[-1:] or [record.stages[0].name]
    text = f"the probe stood still for {seconds:.0f} s during the run (stopped, or its machine asleep): it proves nothing"
    return (*(finding(kinds(), _PAUSED, "warning", stage, text) for stage in where), *told)


def judge_ranges(report: Report, wanted: Mapping[str, Limits]) -> Report:
    """The report, judged by a monitoring plugin's ranges (-w, -c) too: a finding for each value on which one alerts."""
    records = tuple(stage.record for stage in report.stages)
    alerts = tuple(_alerts(report, records, wanted))
    found = (*report.findings, *alerts)
    stages = _stages(records, found)
    worse: list[Verdict] = ["critical" if alert.severity == "critical" else "warning" for alert in alerts]
    proves_nothing = report.interrupted or _PAUSED in {one.id for one in report.findings}
    return replace(
        report,
        findings=found,
        stages=stages,
        failed_stage=_first_failed(stages),
        verdict=report.verdict if proves_nothing else worst_verdict([report.verdict, *worse]),
        ranges={name: limit.texts for name, limit in wanted.items()},
    )


def _alerts(report: Report, records: tuple[StageRecord, ...], wanted: Mapping[str, Limits]) -> Iterator[Finding]:
    for name, limit in wanted.items():
        measured = _MEASURED[name](report, records)
        level = severity(limit, measured[0]) if measured else None
        if measured is None or level is None:
            continue
        value, stage = measured
        words = limit.texts[1 if level == "critical" else 0]
        text = f"{name} is {value:.2f}, on which the {level} range {words} alerts"
        yield finding(kinds(), _RANGES, level, stage, text, f"{value:.6f}")


def _delivery(report: Report, records: tuple[StageRecord, ...]) -> tuple[float, str] | None:
    return first_seen(records) or slowest(records)


def _collected(records: tuple[StageRecord, ...]) -> tuple[float, str] | None:
    """The slowest of the messages that a collection found."""
    swept = [record for record in records if isinstance(record.facts, Swept)]
    return slowest([replace(record, facts=replace(record.seen(Swept), ages={})) for record in swept])


def _total(report: Report, records: tuple[StageRecord, ...]) -> tuple[float, str] | None:
    """Seconds of the run, and the stage that took most of them."""
    slowest = max(records, key=lambda record: record.seconds, default=None)
    return (report.seconds, slowest.name) if slowest else None


def _certificate(report: Report, records: tuple[StageRecord, ...]) -> tuple[float, str] | None:
    """Days, and the stage whose certificate ends first."""
    ends = [(left, record.name) for record in records if (left := record.seen(Certified).days_left) is not None]
    return min(ends, key=lambda one: one[0], default=None)


_MEASURED = {"delivery": _delivery, "total": _total, "certificate": _certificate}


def _stages(records: tuple[StageRecord, ...], found: tuple[Finding, ...]) -> tuple[Stage, ...]:
    return tuple(Stage(record, _status(record, found)) for record in records)


def _status(stage: StageRecord, found: tuple[Finding, ...]) -> Status:
    """How the stage ended, and the worst finding that names it."""
    if stage.status == "skipped":
        return "skipped"
    worst = worst_severity(finding.severity for finding in found if finding.stage == stage.name)
    if worst == "critical" or (stage.status == "failed" and worst != "warning"):
        return "failed"
    return "warning" if worst == "warning" else "ok"


def _first_failed(stages: tuple[Stage, ...]) -> str | None:
    return next((stage.name for stage in stages if stage.status == "failed"), None)


def _verdict(record: Record, stages: tuple[Stage, ...], found: tuple[Finding, ...], blame: str) -> Verdict:
    if record.interrupted:
        # What ended early on somebody's request proves nothing, whatever was seen until then: that stands in the findings.
        return "unknown"
    failed = [stage for stage in stages if stage.status == "failed"]
    if record.paused is not None:
        return "unknown"
    if failed and blame != "all" and not any(stage.name.startswith("smtp.") == (blame == "send") for stage in failed):
        # The other leg's failure: it hides what this one would have shown, and proves nothing of it.
        return "unknown"
    if failed:
        ours = all(stage.record.trouble and stage.record.trouble.id in _OURS for stage in failed)
        return "unknown" if ours else "critical"
    if record.error is not None or any(stage.record.reason == NOT_REACHED for stage in stages):
        # A stage that neither took place nor says why proves nothing: never call that ok.
        return "unknown"
    return "warning" if any(finding.severity == "warning" for finding in found) else "ok"


def _thresholds(record: Record, profile: Profile) -> dict[str, Threshold]:
    limits, tls, lifetime = profile.limits, profile.tls, math.inf
    # Of the certificate that ends first, since the numbers beside these lines are its own.
    seen = [(left, stage) for stage in record.stages if (left := stage.seen(Certified).days_left) is not None]
    if seen:
        stage = min(seen, key=lambda item: item[0])[1]
        tls, lifetime = profile.tls_of(stage.name), stage.seen(Certified).lifetime or 0.0
    return {
        "delivery_seconds": Threshold(limits.delivery_warning, limits.delivery_critical),
        "certificate_days": Threshold(*(_days(margin.of(lifetime)) for margin in (tls.expires_warning, tls.expires_critical))),
    }


def _days(seconds: float) -> float | None:
    return seconds / _DAY if math.isfinite(seconds) else None
