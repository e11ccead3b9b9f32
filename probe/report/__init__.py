"""What a record means: findings, the verdict and the exit status."""

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Literal

from probe.facts import F, Swept
from probe.plain import dataclass
from probe.record import ASKED, HIDDEN, LATER, Instant, Line, Name, RunKind, Seconds, StageRecord, Target

Severity = Literal["critical", "warning", "info"]
Verdict = Literal["ok", "warning", "critical", "unknown"]
Status = Literal["ok", "warning", "failed", "skipped"]

EXIT_CODES: dict[Verdict, int] = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
EXIT_INTERRUPTED = 130

# What counts as a failure of a run: an unknown one proves nothing.
FAILED: tuple[Verdict, ...] = ("critical", "unknown")
# Several targets: the worst, where critical > unknown > warning > ok.
_RANK: tuple[Verdict, ...] = ("ok", "warning", "unknown", "critical")
SEVERITY_RANK: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or worth knowing, with its likely cause and what to do about it."""

    id: Name
    severity: Severity
    stage: Name
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

    warning: Seconds | None = None
    critical: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One run, judged: each field is a key of the JSON (as_json.py), by its name."""

    id: str
    profile: str
    target: Target
    started: Instant
    seconds: Seconds
    verdict: Verdict
    failed_stage: Name | None
    delivery_seconds: Seconds | None
    stages: tuple[Stage, ...]
    findings: tuple[Finding, ...]
    transcript: tuple[Line, ...]
    error: str | None = field(default=None, metadata=LATER)
    interrupted: bool = field(default=False, metadata=LATER)
    # `delivery_seconds` (at most) and `certificate_days` (at least): graphs draw them, and a saved run keeps its own.
    thresholds: Mapping[str, Threshold] = field(default_factory=dict, metadata=LATER)
    # By metric, the ranges (warning, critical) of a monitoring plugin's -w and -c, as they were given.
    ranges: Mapping[str, tuple[str, str]] = field(default_factory=dict, metadata=HIDDEN)
    kind: RunKind = field(default="run", metadata=LATER)
    # Of `--notify-after`, where it is asked for: how many runs in a row were not well, this one included; from how many on there is
    # an alarm; and with which verdict this run alarms. None: with its own.
    failures_in_a_row: int = field(default=0, metadata=ASKED)
    notify_after: int = field(default=0, metadata=ASKED)
    alarm: Verdict | None = field(default=None, metadata=ASKED)

    def seen(self, name: str, kind: type[F]) -> F:
        """The facts of that stage; with nothing seen when it is absent or was skipped."""
        stage = next((stage for stage in self.stages if stage.name == name), None)
        return stage.record.seen(kind) if stage else kind()

    @property
    def collected(self) -> Swept:
        """What a collection of earlier messages found, over all readers; nothing of any other run."""
        found = (stage.record.seen(Swept) for stage in self.stages)
        return next((facts for facts in found if facts.sent is not None), Swept())

    @property
    def alarms(self) -> Verdict:
        """The verdict that counts for whoever is to be alarmed."""
        return self.alarm or self.verdict

    @property
    def exit_code(self) -> int:
        """0 ok, 1 warning, 2 critical, 3 unknown, 130 interrupted."""
        return EXIT_INTERRUPTED if self.interrupted else EXIT_CODES[self.alarms]


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of several; `unknown` for none, since nothing was proven."""
    return max(verdicts, key=_RANK.index, default="unknown")


def worst_severity(severities: Iterable[Severity]) -> Severity | None:
    return max(severities, key=SEVERITY_RANK.__getitem__, default=None)


def exit_code(reports: Iterable[Report], *, allow_warnings: bool = False) -> int:
    """The exit status of a command that made these reports (contract section 3)."""
    reports = tuple(reports)
    if any(report.interrupted for report in reports):
        return EXIT_INTERRUPTED
    code = EXIT_CODES[worst_verdict(report.alarms for report in reports)]
    return 0 if code == EXIT_CODES["warning"] and allow_warnings else code
