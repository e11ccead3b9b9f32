"""What was seen: plain frozen values, JSON both ways, no opinion (judge) and no I/O (observe).

A Record is complete: every stage that the plan expected is in it, and one that did not take place says why.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

StageStatus = Literal["ok", "failed", "skipped"]

SUBMISSION_STAGES = (
    "smtp.resolve",
    "smtp.connect",
    "smtp.greeting",
    "smtp.ehlo",
    "smtp.starttls",
    "smtp.certificate",
    "smtp.ehlo_tls",
    "smtp.auth",
    "smtp.submit",
)


def reader_stages(reader: str) -> tuple[str, ...]:
    """Names of a reader's stages in order, e.g. `imap.connect` … `imap.delete`."""
    return tuple(f"{reader}.{step}" for step in ("connect", "tls", "certificate", "login", "find", "verify", "delete"))


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a stage failed: the server, the network or the certificate was wrong.

    `id` is the finding it becomes (`connect.refused`), `text` one plain sentence with what was tried and what
    came back, `evidence` the peer's own words.
    """

    id: str
    text: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the transcript. `at` is seconds since the run began; direction `>` sent, `<` received, `*` a note."""

    at: float
    connection: str
    direction: Literal[">", "<", "*"]
    text: str


@dataclass(frozen=True, slots=True)
class StageRecord:
    """How one stage went. `at` and `seconds` are seconds on the monotonic clock, `at` since the run began."""

    name: str
    status: StageStatus
    at: float = 0.0
    seconds: float = 0.0
    reason: str | None = None
    trouble: Trouble | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the submission went. `address` and `node` are None until they are known."""

    host: str
    port: int
    security: str
    address: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Everything one run saw. `started` is RFC 3339 UTC; `error` is set only when the probe itself broke, or could not begin."""

    id: str
    profile: str
    target: Target
    started: str
    seconds: float
    stages: tuple[StageRecord, ...]
    transcript: tuple[Line, ...] = ()
    error: str | None = None
    interrupted: bool = False

    def stage(self, name: str) -> StageRecord | None:
        """The stage of that name, or None when the plan had no such stage."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def facts(self, name: str) -> Mapping[str, Any]:
        """The facts of that stage; empty when it is absent or was skipped."""
        stage = self.stage(name)
        return stage.facts if stage else {}


def record_to_json(record: Record) -> dict[str, Any]:
    """A Record as JSON-able plain data, the inverse of `record_from_json`."""
    return asdict(record)


def record_from_json(data: Mapping[str, Any]) -> Record:
    """Build a Record from `record_to_json`'s data.

    Raises KeyError or TypeError when keys are missing or unknown.
    """
    return Record(
        **{
            **data,
            "target": Target(**data["target"]),
            "stages": tuple(_stage_from_json(stage) for stage in data["stages"]),
            "transcript": tuple(Line(**line) for line in data.get("transcript", ())),
        }
    )


def _stage_from_json(data: Mapping[str, Any]) -> StageRecord:
    trouble = data.get("trouble")
    return StageRecord(**{**data, "trouble": Trouble(**trouble) if trouble else None})
