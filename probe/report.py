"""What a record means: findings, the verdict and the exit status."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

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

    @property
    def exit_code(self) -> int:
        """0 ok, 1 warning, 2 critical, 3 unknown, 130 interrupted."""
        return EXIT_INTERRUPTED if self.interrupted else EXIT_CODES[self.verdict]


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


def to_json(reports: Iterable[Report], *, started: str, seconds: float) -> dict[str, Any]:
    """The one object of contract section 5 for any number of targets."""
    reports = tuple(reports)
    return {
        "schema": "submission-probe/run/1",
        "version": __version__,
        "started": started,
        "seconds": round(seconds, 6),
        "verdict": worst_verdict(report.verdict for report in reports),
        "exit_code": exit_code(reports),
        "reports": [report_to_json(report) for report in reports],
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
        "facts": dict(record.facts),
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
