"""What the HTML page shows, as values: where each bar begins, which EHLO lines differ, how a chain is linked. No markup here."""

from collections.abc import Iterator, Sequence

from probe.facts import Certified, Ehlo, Found, Verified
from probe.facts.parts import Link
from probe.output._came_back import Item, came_back, items
from probe.output._logs import Place, places
from probe.output._words import outcome, unexplained
from probe.output.text import detail
from probe.plain import dataclass
from probe.report import Report, Stage
from probe.report.causes import Cause, causes

# Bars are drawn on this many units, and none is too small to be seen.
UNITS = 1000.0
_LEAST = 3.0


@dataclass(frozen=True, slots=True)
class Block:
    """One cause; `sessions` are its stages with the places of their sessions in logs."""

    cause: Cause
    sessions: Sequence[tuple[str, Sequence[Place]]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the waterfall; `left` and `width` in units."""

    stage: Stage
    left: float
    width: float
    detail: str


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a reader waited for the message, and where the profile's lines stand when they are on the axis."""

    reader: str
    seconds: float
    folder: str
    seen: bool
    status: str
    width: float


@dataclass(frozen=True, slots=True)
class Waiting:
    waits: Sequence[Wait]
    most: float
    lines: Sequence[tuple[str, float, float]]


@dataclass(frozen=True, slots=True)
class EhloLine:
    text: str
    only_here: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain as sent, and the stages that showed it."""

    stages: Sequence[str]
    facts: Certified
    links: Sequence[Link]
    days: float | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Hop:
    """A Received header; `seconds` is negative when the clocks of two servers differ."""

    by: str
    at: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class View:
    """One report, ready for the template."""

    report: Report
    outcome: str
    why: str
    blocks: Sequence[Block]
    bars: Sequence[Bar]
    active_seconds: float
    waiting: Waiting | None
    before: Sequence[EhloLine]
    after: Sequence[EhloLine]
    chains: Sequence[Chain]
    hops: Sequence[Hop]
    came_back: Sequence[Item]
    folder: str


def view(report: Report) -> View:
    bars, active = waterfall(report.stages)
    before, after = ehlo(report)
    return View(
        report=report,
        outcome=outcome(report),
        why=unexplained(report),
        blocks=[Block(cause, list(_sessions(report, cause.stages))) for cause in causes(report.findings)],
        bars=bars,
        active_seconds=active,
        waiting=waiting(report),
        before=before,
        after=after,
        chains=chains(report),
        hops=hops(report),
        came_back=items(seen) if (seen := came_back(report)) is not None else (),
        folder=next((facts.folder for stage in report.stages if (facts := stage.record.seen(Verified)).folder), ""),
    )


def _sessions(report: Report, stages: Sequence[str]) -> Iterator[tuple[str, Sequence[Place]]]:
    """Where a message went is in the log of the server that accepted it."""
    delivery = any(stage.endswith(".find") for stage in stages)
    for stage in ["smtp.submit", *stages] if delivery else stages:
        yield stage, places(report, stage)


def waterfall(stages: Sequence[Stage]) -> tuple[list[Bar], float]:
    """The protocol stages on one axis. Time in which none of them was under way, above all the wait for delivery, is cut out
    of the axis: it would crush the rest to nothing, and has a panel of its own."""
    shown = [stage for stage in stages if not stage.name.endswith(".find") or stage.status == "skipped"]
    ran = [(stage.record.at, stage.record.at + stage.record.seconds) for stage in shown if stage.status != "skipped"]
    spans = merged(ran)
    total = sum(end - begin for begin, end in spans)
    scale = UNITS / total if total > 0 else 0.0

    def place(instant: float) -> float:
        return scale * sum(max(0.0, min(end, instant) - begin) for begin, end in spans)

    bars = []
    for stage in shown:
        width = 0.0 if stage.status == "skipped" else max(_LEAST, scale * stage.record.seconds)
        bars.append(Bar(stage, min(place(stage.record.at), UNITS - width), width, detail(stage)))
    return bars, total


def merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans of time without overlap, in order."""
    result: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result


def waiting(report: Report) -> Waiting | None:
    """The wait for delivery, from the final reply, on an axis that holds the profile's lines when they are near."""
    found = [stage for stage in report.stages if stage.name.endswith(".find") and stage.status != "skipped"]
    if not found:
        return None
    lines = report.thresholds.get("delivery_seconds")
    wanted = [(name, value) for name in ("warning", "critical") if lines and (value := getattr(lines, name)) is not None]
    longest = max(_waited(stage) for stage in found)
    near = [value for _, value in wanted if value <= 10 * longest]
    most = max([longest, *near]) * 1.08 or 1.0
    waits = [_wait(stage, most) for stage in found]
    return Waiting(waits, most, [(name, value, UNITS * value / most) for name, value in wanted if value in near])


def _waited(stage: Stage) -> float:
    seconds = stage.record.seen(Found).seconds
    return stage.record.seconds if seconds is None else seconds


def _wait(stage: Stage, most: float) -> Wait:
    found = stage.record.seen(Found)
    seconds, folder, seen = _waited(stage), found.folder or "", found.seconds is not None
    return Wait(stage.name.partition(".")[0], seconds, folder, seen, stage.status, max(_LEAST, UNITS * seconds / most))


def ehlo(report: Report) -> tuple[list[EhloLine], list[EhloLine]]:
    """EHLO before and after TLS, verbatim; a line is marked when the other reply has no such text."""
    before, after = (report.seen(name, Ehlo).lines for name in ("smtp.ehlo", "smtp.ehlo_tls"))
    return _marked(before, after), _marked(after, before)


def _marked(lines: Sequence[str], others: Sequence[str]) -> list[EhloLine]:
    known = {line[4:].strip().upper() for line in others}
    return [EhloLine(line, bool(others) and line[4:].strip().upper() not in known) for line in lines]


def chains(report: Report) -> list[Chain]:
    """Each different chain once, with all the stages that showed it."""
    shown: dict[str, list[Stage]] = {}
    for stage in report.stages:
        seen = stage.record.seen(Certified)
        if seen.chain:
            shown.setdefault(repr(_look(seen)), []).append(stage)
    return [_chain(stages) for stages in shown.values()]


def _look(seen: Certified) -> tuple[object, ...]:
    sent = [link.get("sha256") for link in seen.chain]
    return sent, seen.trusted, seen.openssl_text, seen.name_checked, seen.name_matches, seen.accepted_by, seen.trust_store


def _chain(stages: Sequence[Stage]) -> Chain:
    seen = stages[0].record.seen(Certified)
    complete = bool(seen.chain[-1].get("self_signed"))
    return Chain([stage.name for stage in stages], seen, seen.chain, seen.days_left, complete)


def hops(report: Report) -> list[Hop]:
    """The Received headers that the first reader saw, oldest first."""
    for stage in report.stages:
        if seen := stage.record.seen(Verified).hops:
            return [Hop(hop.get("by") or "", hop.get("at") or "", hop.get("seconds")) for hop in seen]
    return []


def matrix(reports: Sequence[Report]) -> tuple[list[str], list[tuple[Report, list[Stage | None]]]]:
    """Every stage that any report has, in order, and each report's stages by it."""
    names: list[str] = []
    for report in reports:
        names += [stage.name for stage in report.stages if stage.name not in names]
    return names, [(report, list(_row(report, names))) for report in reports]


def _row(report: Report, names: Sequence[str]) -> Iterator[Stage | None]:
    known = {stage.name: stage for stage in report.stages}
    return (known.get(name) for name in names)
