"""What was seen: plain frozen values, JSON both ways, no opinion (judge) and no I/O (observe).

A Record is complete: every stage that the plan expected is in it, and one that did not take place says why.
"""

from collections.abc import Mapping
from dataclasses import asdict, field, fields
from functools import cache
from typing import Annotated, Any, Literal, cast

from probe.facts import F, Facts, from_json, to_json
from probe.plain import dataclass

# The reason of a stage that should have come, and for no known reason did not.
NOT_REACHED = "not reached"
# The reason of a sweep's or collection's `delete` where nothing was to be deleted that was found.
TO_STAY = "the messages are to stay"
# How the reason begins of a reader's stage that is skipped since the submission failed; a comparison knows it by that.
NOTHING_SENT = "no message was submitted"

StageStatus = Literal["ok", "failed", "skipped"]
# What a record is of: a run of its own, one node of several, one of several runs in a row, or the collection of earlier messages.
RunKind = Literal["run", "node", "repetition", "collection"]

# Seconds, and RFC 3339 UTC: the JSON Schema of a run says what each may hold.
Seconds = Annotated[float, "seconds"]
Instant = Annotated[str, "instant"]
# A stage, a finding, a connection: every output writes it as it is.
Name = Annotated[str, "name"]
# Of a field: runs that an earlier version saved do not have it; it has no key in the JSON of a run.
LATER, HIDDEN = {"json": "later"}, {"json": "hidden"}
# Of a field: it has a key only where an option asked for it.
ASKED = {"json": "asked"}

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

    at: Seconds
    connection: Name
    direction: Literal[">", "<", "*"]
    text: str


@cache
def _nothing(kind: Any) -> Any:
    """Facts with nothing seen. One for all: the judges ask a run's stages some hundred times."""
    return kind()


@dataclass(frozen=True, slots=True)
class StageRecord:
    """How one stage went. `at` and `seconds` are seconds on the monotonic clock, `at` since the run began."""

    name: Name
    status: StageStatus
    at: Seconds = 0.0
    seconds: Seconds = 0.0
    reason: str | None = None
    trouble: Trouble | None = field(default=None, metadata=HIDDEN)
    facts: Facts | None = field(default=None, metadata=HIDDEN)

    def seen(self, kind: type[F]) -> F:
        """Its facts, where they are of that kind; else such facts with nothing seen."""
        any_kind: Any = kind
        return self.facts if isinstance(self.facts, kind) else cast(F, _nothing(any_kind))


@dataclass(frozen=True, slots=True)
class Lasting:
    """Something that we log on with, and until when it holds: `whose` is the profile's key; `begins` is None where only the end is
    known."""

    whose: str
    ends: Instant
    begins: Instant | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where the submission went. `address` and `node` are None until they are known."""

    host: str
    port: int
    security: str
    address: str | None = field(default=None, metadata=LATER)
    node: str | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True)
class Record:
    """Everything one run saw. `started` is RFC 3339 UTC; `error` is set only when the probe itself broke, or could not begin;
    `paused`: for how many seconds the probe stood still (stopped, or the machine asleep) during the run, where it did."""

    id: str
    profile: str
    target: Target
    started: str
    seconds: float
    stages: tuple[StageRecord, ...]
    transcript: tuple[Line, ...] = ()
    error: str | None = None
    interrupted: bool = False
    kind: RunKind = "run"
    paused: Seconds | None = None
    # What was logged on with and ends some day, where that is known.
    lasting: tuple[Lasting, ...] = ()

    def stage(self, name: str) -> StageRecord | None:
        """The stage of that name, or None when the plan had no such stage."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def seen(self, name: str, kind: type[F]) -> F:
        """The facts of that stage; with nothing seen when it is absent or was skipped."""
        stage = self.stage(name)
        return stage.seen(kind) if stage else kind()


def record_to_json(record: Record) -> dict[str, object]:
    """A Record as JSON-able plain data, the inverse of `record_from_json`."""
    plain = _plain(record)
    if record.paused is None:
        del plain["paused"]  # as it was written before there was such a thing
    if record.lasting:
        plain["lasting"] = [asdict(one) for one in record.lasting]
    else:
        del plain["lasting"]  # likewise
    return {
        **plain,
        "target": asdict(record.target),
        "stages": [_stage_to_json(stage) for stage in record.stages],
        "transcript": [asdict(line) for line in record.transcript],
    }


def _plain(value: "Record | StageRecord") -> dict[str, Any]:
    return {item.name: getattr(value, item.name) for item in fields(value)}


def _stage_to_json(stage: StageRecord) -> dict[str, Any]:
    return {**_plain(stage), "trouble": asdict(stage.trouble) if stage.trouble else None, "facts": to_json(stage.facts)}


def record_from_json(data: Mapping[str, object]) -> Record:
    """Build a Record from `record_to_json`'s data.

    Raises KeyError or TypeError when keys are missing or unknown.
    """
    read: dict[str, Any] = dict(data)
    return Record(
        **{
            **read,
            "target": Target(**read["target"]),
            "stages": tuple(_stage_from_json(stage) for stage in read["stages"]),
            "transcript": tuple(Line(**line) for line in read.get("transcript", ())),
            "lasting": tuple(Lasting(**one) for one in read.get("lasting", ())),
        }
    )


def _stage_from_json(data: Mapping[str, Any]) -> StageRecord:
    trouble = data.get("trouble")
    facts = from_json(data["name"], data.get("facts", {}))
    return StageRecord(**{**data, "trouble": Trouble(**trouble) if trouble else None, "facts": facts})
