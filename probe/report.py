"""What a record means: findings, the verdict and the exit status."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from probe.facts import Connected, F
from probe.facts import to_json as facts_to_json
from probe.record import Line, StageRecord, Target
from probe.version import __version__

Severity = Literal["critical", "warning", "info"]
Verdict = Literal["ok", "warning", "critical", "unknown"]
Status = Literal["ok", "warning", "failed", "skipped"]

EXIT_CODES: dict[Verdict, int] = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
EXIT_INTERRUPTED = 130

# Several targets: the worst, where critical > unknown > warning > ok.
_RANK: tuple[Verdict, ...] = ("ok", "warning", "unknown", "critical")
_SEVERITY_RANK: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or worth knowing, with its likely cause and what to do about it."""

    id: str
    severity: Severity
    stage: str
    summary: str
    evidence: str = ""
    cause: str = ""
    remedy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """What `FINDINGS` of a check declares for each id: the words that do not depend on one run."""

    summary: str
    cause: str
    remedy: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage as reported: the record's stage plus the status that the findings give it."""

    record: StageRecord
    status: Status

    @property
    def name(self) -> str:
        return self.record.name


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where the profile draws the lines for one number; None where it draws none."""

    warning: float | None = None
    critical: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One run, judged. Seconds are floats, `started` is RFC 3339 UTC."""

    id: str
    profile: str
    target: Target
    started: str
    seconds: float
    verdict: Verdict
    failed_stage: str | None
    delivery_seconds: float | None
    stages: tuple[Stage, ...]
    findings: tuple[Finding, ...]
    transcript: tuple[Line, ...]
    error: str | None = None
    interrupted: bool = False
    # `delivery_seconds` (at most) and `certificate_days` (at least): graphs draw them, and a saved run keeps its own.
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    # By metric, the ranges (warning, critical) of a monitoring plugin's -w and -c, as they were given.
    ranges: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def seen(self, name: str, kind: type[F]) -> F:
        """The facts of that stage; with nothing seen when it is absent or was skipped."""
        stage = next((stage for stage in self.stages if stage.name == name), None)
        return stage.record.seen(kind) if stage else kind()

    @property
    def exit_code(self) -> int:
        """0 ok, 1 warning, 2 critical, 3 unknown, 130 interrupted."""
        return EXIT_INTERRUPTED if self.interrupted else EXIT_CODES[self.verdict]


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that differs between two runs; None where a side has no such fact. `expected`: it was announced."""

    target: str
    key: str
    before: str | None
    after: str | None
    severity: Severity
    expected: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs compared; the instants at which each began (RFC 3339 UTC)."""

    changes: tuple[Change, ...]
    before: str
    after: str

    @property
    def verdict(self) -> Verdict:
        """`ok` when nothing differs but what was expected or got better."""
        worst = worst_severity(change.severity for change in self.changes)
        return {"critical": "critical", "warning": "warning"}.get(str(worst), "ok")  # type: ignore[return-value]


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "schema": "submission-probe/comparison/1",
        "before": comparison.before,
        "after": comparison.after,
        "verdict": comparison.verdict,
        "changes": [asdict(change) for change in comparison.changes],
    }


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of several; `unknown` for none, since nothing was proven."""
    return max(verdicts, key=_RANK.index, default="unknown")


def worst_severity(severities: Iterable[Severity]) -> Severity | None:
    return max(severities, key=_SEVERITY_RANK.__getitem__, default=None)


def exit_code(reports: Iterable[Report], *, allow_warnings: bool = False) -> int:
    """The exit status of a command that made these reports (contract section 3)."""
    reports = tuple(reports)
    if any(report.interrupted for report in reports):
        return EXIT_INTERRUPTED
    code = EXIT_CODES[worst_verdict(report.verdict for report in reports)]
    return 0 if code == EXIT_CODES["warning"] and allow_warnings else code


def repeated(reports: Iterable[Report]) -> dict[str, list[Report]]:
    """Runs of one target in a row, by profile; empty where each target was probed once."""
    groups: dict[str, list[Report]] = {}
    for report in reports:
        first = next((stage for stage in report.stages if stage.name == "smtp.connect"), None)
        # Nodes are targets of their own, and a collection is no round trip.
        if first is not None and not first.record.seen(Connected).nodes:
            groups.setdefault(report.profile, []).append(report)
    # As many addresses as reports: nodes again, of a run saved before each was told of the others.
    return {name: group for name, group in groups.items() if len(group) > len({report.target.address for report in group})}


def statistics(reports: Iterable[Report]) -> dict[str, Any]:
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
    return {
        "count": len(reports),
        "failed": sum(report.verdict in ("critical", "unknown") for report in reports),
        "lost": max(0, meant - delivered),
        "seconds": {name: _spread(values) for name, values in samples.items()},
    }


def _spread(values: list[float]) -> dict[str, float]:
    from statistics import median, quantiles

    high = quantiles(values, n=20, method="inclusive")[18] if len(values) > 1 else values[0]
    spread = {"min": min(values), "median": median(values), "p95": high, "max": max(values)}
    return {name: round(value, 6) for name, value in spread.items()}


def to_json(
    reports: Iterable[Report],
    *,
    started: str,
    seconds: float,
    version: str = __version__,
    comparison: Comparison | None = None,
    attempts: int = 1,
) -> dict[str, Any]:
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


def report_to_json(report: Report) -> dict[str, Any]:
    """One report as plain JSON-able data; keys are stable."""
    target = report.target
    return {
        "id": report.id,
        "profile": report.profile,
        "target": {
            "host": target.host,
            "port": target.port,
            "security": target.security,
            "address": target.address,
            "node": target.node,
        },
        "started": report.started,
        "seconds": round(report.seconds, 6),
        "verdict": report.verdict,
        "failed_stage": report.failed_stage,
        "delivery_seconds": None if report.delivery_seconds is None else round(report.delivery_seconds, 6),
        "error": report.error,
        "interrupted": report.interrupted,
        "thresholds": {name: {"warning": line.warning, "critical": line.critical} for name, line in report.thresholds.items()},
        "stages": [_stage_to_json(stage) for stage in report.stages],
        "findings": [_finding_to_json(finding) for finding in report.findings],
        "transcript": [
            {"at": round(line.at, 6), "connection": line.connection, "direction": line.direction, "text": line.text}
            for line in report.transcript
        ],
    }


def _stage_to_json(stage: Stage) -> dict[str, Any]:
    record = stage.record
    return {
        "name": record.name,
        "status": stage.status,
        "at": round(record.at, 6),
        "seconds": round(record.seconds, 6),
        "reason": record.reason,
        "facts": facts_to_json(record.facts),
    }


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "severity": finding.severity,
        "stage": finding.stage,
        "summary": finding.summary,
        "evidence": finding.evidence,
        "cause": finding.cause,
        "remedy": list(finding.remedy),
    }
