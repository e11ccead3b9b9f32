"""What correlating knows: our side of a run, the sessions of a server's log, what of them was ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from probe.runs.correlate.lines import Entry


@dataclass(frozen=True, slots=True)
class Ours:
    """One connection of the run, with everything a server may have logged of it. Instants are seconds since the run began."""

    leg: str
    local: str
    remote: str
    begin: float
    ehlo: str
    user: str
    marker: str
    queue_id: str
    lines: tuple[tuple[float, str, str], ...]
    stages: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Run:
    """What a saved run says of itself: when it began, and each leg that reached a server."""

    started: datetime
    legs: tuple[Ours, ...]


@dataclass(slots=True)
class Session:
    """One session of a server's log and the signs that it was ours, leg by leg."""

    key: str
    source: str
    entries: list[Entry] = field(default_factory=list)
    signs: dict[str, set[str]] = field(default_factory=dict)
    other_port: bool = False
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Matched:
    """A session that was ours: of which leg, and why we think so."""

    leg: str
    session: Session
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a log's clock is ahead of ours, give or take. `steady` is False when no one difference fits every line."""

    source: str
    seconds: float
    uncertainty: float
    steady: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the common timeline, in seconds on our clock since the run began."""

    at: float
    side: str
    where: str
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Correlation:
    """Both sides of one run."""

    matched: tuple[Matched, ...]
    missing: tuple[str, ...]
    clocks: tuple[Clock, ...]
    timeline: tuple[Moment, ...]
    knew: tuple[tuple[str, str], ...]
    forgotten: int
