"""Our transcript beside the servers' logs: which of their sessions were ours, how far their clocks are off, what only they knew.

Pure over lines: what stands in the logs comes in as text, what is known goes out as values. A session is ours by what only we can
have caused (the marker, the queue id, the very endpoint) or by enough that fits together (EHLO name, user, address, time).
Memory is bounded: sessions without any sign of ours are forgotten, the oldest first.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from probe.runs.correlate_lines import Entry, parse, quarter_hours_aside

MOST_ENTRIES = 20_000
MOST_A_SESSION = 500
# Exchange's logs are in UTC; a syslog line may be in any zone.
WINDOW = timedelta(minutes=30)
ZONES = timedelta(hours=15)

_WEIGHTS = {"marker": 10, "queue id": 10, "endpoint": 8, "EHLO name": 3, "user": 3, "server endpoint": 1, "client address": 1}
_CERTAIN = frozenset({"marker", "queue id", "endpoint"})
# Many sessions are of the same two machines: a session with no more than that is the first to be forgotten.
_TELLING_SIGNS = frozenset(_WEIGHTS) - {"server endpoint", "client address"}
_ENOUGH = 5


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


def read_run(report: Mapping[str, Any]) -> Run:
    """One report of a saved run. Raises KeyError, TypeError, ValueError or AttributeError for what is none."""
    return Run(datetime.fromisoformat(report["started"]).astimezone(UTC), tuple(_ours(report)))


def correlate(run: Run, logs: Iterable[tuple[str, Iterable[str]]]) -> Correlation:
    """Find the run's sessions in the logs (name, lines)."""
    started, ours = run.started, run.legs
    sessions = _Sessions(ours)
    for name, lines in logs:
        for entry in parse(lines, name, started):
            if abs(entry.at - started) <= (WINDOW if entry.zoned else ZONES):
                sessions.add(entry)
    matched = tuple(_match(ours, sessions, started))
    clocks = tuple(_clocks(matched, {leg.leg: leg for leg in ours}, started))
    found = {item.leg for item in matched}
    return Correlation(
        matched=matched,
        missing=tuple(leg.leg for leg in ours if leg.leg not in found),
        clocks=clocks,
        timeline=tuple(_timeline(ours, matched, clocks, started)),
        knew=tuple(dict.fromkeys(_knew(matched))),
        forgotten=sessions.forgotten,
    )


# -- our side ----------------------------------------------------------------------------------------------------


def _ours(report: Mapping[str, Any]) -> Iterator[Ours]:
    """Each leg that reached a server."""
    stages = {str(stage["name"]): stage for stage in report["stages"]}
    submitted = stages.get("smtp.submit", {}).get("facts", {})
    for name, stage in stages.items():
        leg, _, step = name.partition(".")
        facts = stage["facts"]
        if step != "connect" or not facts.get("local"):
            continue
        logon = stages.get(f"{leg}.auth", stages.get(f"{leg}.login", {})).get("facts", {})
        lines = tuple(
            (float(line["at"]), str(line["direction"]), str(line["text"]))
            for line in report["transcript"]
            if line["connection"] == leg
        )
        yield Ours(
            leg=leg,
            local=str(facts["local"]),
            remote=str(facts.get("remote") or ""),
            begin=float(stage["at"]),
            ehlo=_ehlo(lines) if leg == "smtp" else "",
            user=str(logon.get("username") or ""),
            marker=str(submitted.get("marker") or ""),
            queue_id=str(submitted.get("queue_id") or "") if leg == "smtp" else "",
            lines=lines,
            stages={n.partition(".")[2]: (float(s["at"]), float(s["at"]) + float(s["seconds"])) for n, s in stages.items()
                    if n.startswith(f"{leg}.") and s["status"] != "skipped"},
        )  # fmt: skip


def _ehlo(lines: Sequence[tuple[float, str, str]]) -> str:
    return next((text[5:].strip() for _, direction, text in lines if direction == ">" and text.upper().startswith("EHLO ")), "")


# -- their side --------------------------------------------------------------------------------------------------


class _Sessions:
    """The sessions seen so far, the newest last."""

    def __init__(self, ours: Sequence[Ours]) -> None:
        self._ours = ours
        self._all: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._kept = 0
        self.forgotten = 0

    def __iter__(self) -> Iterator[Session]:
        return iter(self._all.values())

    def add(self, entry: Entry) -> None:
        key = (entry.source, entry.session)
        session = self._all.setdefault(key, Session(entry.session, entry.source))
        self._all.move_to_end(key)
        if len(session.entries) >= MOST_A_SESSION:
            session.cut += 1
        else:
            session.entries.append(entry)
            self._kept += 1
        for leg in self._ours:
            signs = set(_signs(entry, leg))
            if "other port" in signs:
                session.other_port = True
            if signs := signs & set(_WEIGHTS):
                session.signs.setdefault(leg.leg, set()).update(signs)
        while self._kept > MOST_ENTRIES and len(self._all) > 1:
            self._forget()

    def _forget(self) -> None:
        oldest = islice(self._all.items(), 50)
        worthless = next((key for key, session in oldest if not _tells(session)), None)
        gone = self._all.pop(worthless) if worthless else self._all.popitem(last=False)[1]
        self._kept -= len(gone.entries)
        self.forgotten += len(gone.entries)


def _tells(session: Session) -> bool:
    return any(signs & _TELLING_SIGNS for signs in session.signs.values())


def _signs(entry: Entry, ours: Ours) -> Iterator[str]:
    """What in this line speaks for (or against) its being of that leg."""
    if entry.protocol not in ("", ours.leg):
        return
    said = f"{entry.text} {entry.context} {entry.user}".casefold()
    if ours.leg == "smtp":
        if ours.marker and ours.marker.casefold() in said:
            yield "marker"
        if ours.queue_id and _has_word(said, ours.queue_id.casefold()):
            yield "queue id"
        if ours.ehlo and f"ehlo {ours.ehlo.casefold()}" in said:
            yield "EHLO name"
    if entry.protocol and ours.user and _has_word(said, ours.user.casefold()):
        yield "user"
    yield from _endpoints(entry, ours, said)


def _has_word(text: str, word: str) -> bool:
    return word in text and re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text) is not None


def _endpoints(entry: Entry, ours: Ours, said: str) -> Iterator[str]:
    address, _, port = ours.local.rpartition(":")
    bare = address.strip("[]")
    if entry.local and entry.local == ours.remote:
        yield "server endpoint"
    if entry.remote:
        theirs, _, their_port = entry.remote.rpartition(":")
        if theirs.strip("[]") == bare:
            yield "client address"
            yield "endpoint" if their_port == port else "other port"
        return
    if bare not in said:
        return
    # Postfix names the port only with smtpd_client_port_logging; Dovecot says rport only where log_login_elements has it.
    named = re.search(rf"\[{re.escape(bare)}\](?::(\d+))?|rip={re.escape(bare)}(?=,)(?:.*\brport=(\d+))?", said)
    if named is not None and entry.protocol == ours.leg:
        yield "client address"
        their_port = named[1] or named[2]
        if their_port:
            yield "endpoint" if their_port == port else "other port"


def _match(ours: Sequence[Ours], sessions: Iterable[Session], started: datetime) -> Iterator[Matched]:
    """For each leg the session that fits best, and every other that is certain: what the message did behind the first server."""
    listed = list(sessions)
    for leg in ours:
        scored = [(_score(session, leg, started), session) for session in listed if _may_be(session, leg.leg)]
        best = max(scored, key=lambda item: item[0], default=None)
        if best is None or best[0][0] < _ENOUGH:
            continue
        first = best[1]
        chosen = [first, *(session for _, session in scored if session is not first and _is_certain(session, leg.leg))]
        names = _names_given(chosen)
        chosen += [session for session in listed if session not in chosen and _named(session, names)]
        for session in chosen:
            yield Matched(leg.leg, session, tuple(sorted(session.signs.get(leg.leg, {"named by another session"}))))


def _score(session: Session, leg: Ours, started: datetime) -> tuple[float, float]:
    points = float(sum(_WEIGHTS[sign] for sign in session.signs.get(leg.leg, ())))
    first = session.entries[0]
    difference = first.at - started - timedelta(seconds=leg.begin)
    seconds = abs(difference.total_seconds()) if first.zoned else quarter_hours_aside(difference)
    points += 2 if seconds <= 2 else 1 if seconds <= 60 else 0
    # Of two that fit alike, the one whose time lies nearer.
    return points, -abs(difference.total_seconds())


def _may_be(session: Session, leg: str) -> bool:
    """Our address with another port is another connection of this machine, unless something says it is ours for certain."""
    return bool(session.signs.get(leg)) and (not session.other_port or _is_certain(session, leg))


def _is_certain(session: Session, leg: str) -> bool:
    return bool(session.signs.get(leg, set()) & _CERTAIN)


_QUEUED = re.compile(r"^smtpd: ([0-9A-Za-z]{6,20}): client=")


def _names_given(chosen: Sequence[Session]) -> set[str]:
    """Names by which other sessions go on with ours: Postfix's queue id, Exchange's session id (XPROXY SID=…)."""
    entries = [entry for session in chosen for entry in session.entries]
    queues = {f"postfix queue {found[1]}" for entry in entries if (found := _QUEUED.match(entry.text))}
    return queues | {session.key for session in chosen if re.fullmatch(r"[0-9A-F]{16}", session.key)}


def _named(session: Session, names: set[str]) -> bool:
    return session.key in names or any(
        f"SID={name}" in entry.text for name in names if len(name) == 16 for entry in session.entries
    )


# -- clocks and the common timeline ------------------------------------------------------------------------------


def _clocks(matched: Sequence[Matched], ours: Mapping[str, Ours], started: datetime) -> Iterator[Clock]:
    """Bounds instead of guesses: the server logs a command after we sent it, and its reply before we have it."""
    for source in dict.fromkeys(item.session.source for item in matched):
        least, most = float("-inf"), float("inf")
        for item in (item for item in matched if item.session.source == source):
            for entry in item.session.entries:
                cause, effect = _between(entry, ours[item.leg])
                at = (entry.at - started).total_seconds()
                if cause is not None:
                    most = min(most, at + entry.resolution - cause)
                if effect is not None:
                    least = max(least, at - effect)
        if least > float("-inf") and most < float("inf"):
            yield Clock(source, (least + most) / 2, abs(most - least) / 2, least <= most)


_STAGE_OF = (("Login: ", "login"), (": client=", "submit"))
_LAST_WORDS = ("disconnect from", "Disconnected: Logged out")


def _between(entry: Entry, ours: Ours) -> tuple[float | None, float | None]:
    """When on our clock this line was written at the earliest and at the latest."""
    text = entry.text.strip().casefold()
    if entry.event == "<" and text:
        at = next((at for at, way, said in ours.lines if way == ">" and said.strip().casefold() == text), None)
        return at, next((later for later, way, _ in ours.lines if way == "<" and at is not None and later >= at), None)
    if entry.event == ">" and text:
        at = next((at for at, way, said in ours.lines if way == "<" and said.strip().casefold() == text), None)
        earlier = [before for before, way, _ in ours.lines if way == ">" and at is not None and before <= at]
        return max(earlier, default=None), at
    if entry.text.startswith("smtpd: connect from"):
        return ours.begin, ours.stages.get("greeting", (0.0, None))[1]
    for words, stage in _STAGE_OF:
        if words in entry.text and entry.protocol and stage in ours.stages:
            return ours.stages[stage]
    if any(words in entry.text for words in _LAST_WORDS):
        return max((at for at, way, _ in ours.lines if way == ">"), default=None), None
    if not entry.protocol and "submit" in ours.stages:
        # What became of the message: behind the server that took it.
        return ours.stages["submit"][0], None
    return None, None


def _timeline(ours: Sequence[Ours], matched: Sequence[Matched], clocks: Sequence[Clock], started: datetime) -> Iterator[Moment]:
    ahead = {clock.source: clock.seconds for clock in clocks}
    moments = [Moment(at, "probe", leg.leg, way, text) for leg in ours for at, way, text in leg.lines]
    legs = {leg.leg: leg for leg in ours}
    sessions = {id(item.session): item for item in matched}
    for item in sessions.values():
        challenged, before = False, float("-inf")
        for entry in item.session.entries:
            earliest = (entry.at - started).total_seconds() - ahead.get(entry.source, 0.0)
            # Within the step of a coarse clock: not before what caused the line, nor before the line above it.
            cause = _between(entry, legs[item.leg])[0]
            before = at = min(max(earliest, before, earliest if cause is None else cause), earliest + entry.resolution)
            said = _without_secret(entry, challenged)
            challenged = entry.event == ">" and entry.text.startswith("334")
            text = "  ".join(part for part in (said, f"[{entry.context}]" if entry.context else "") if part)
            moments.append(Moment(round(at, 6), "server", entry.source, entry.event, text))
    yield from sorted(moments, key=lambda moment: moment.at)


_SECRET = re.compile(r"(?i)^((?:\S+ )?(?:AUTH(?:ENTICATE)? \S+|PASS|LOGIN (?:\"[^\"]*\"|\S+))) \S.*")


def _without_secret(entry: Entry, challenged: bool) -> str:
    """A log may hold what a client sent to log on: the answer to a challenge, a password behind its command."""
    if entry.event != "<":
        return entry.text
    return "[hidden]" if challenged else _SECRET.sub(r"\1 [hidden]", entry.text)


# -- what the server knew ----------------------------------------------------------------------------------------

# What is said where, and whether the whole line is worth showing or only the part that was found.
_TELLING = (
    ("proxy", re.compile(r"\bprox(?:y|ied|ying)\b", re.IGNORECASE), True),
    ("result", re.compile(r"\bR=(?!\"?(?:ok|\+OK)\b)(?:\"[^\"]*\"|[^;]+)", re.IGNORECASE), False),
    ("error", re.compile(r"\b(?:ErrMsg|Msg|Error|Excpt)=(?:\"[^\"]*\"|[^;]+)", re.IGNORECASE), False),
    ("delivery", re.compile(r"\brelay=.*\bstatus=|\bsaved mail to "), True),
    ("refusal", re.compile(r"\breject(?:ed)?: |auth(?:entication)? failed|password mismatch", re.IGNORECASE), True),
    ("trouble", re.compile(r"\bwarning: |\blost connection |\btimeout after "), True),
    ("logon", re.compile(r"\bsasl_username=|\bmethod=|SMTPSubmit\b|\bauthenticated$"), True),
    ("end", re.compile(r"\bdisconnect from |\bDisconnected"), True),
)


def _knew(matched: Sequence[Matched]) -> Iterator[tuple[str, str]]:
    for item in matched:
        first = item.session.entries[0]
        yield f"{item.leg}: session", f"{item.session.key} in {item.session.source}"
        if first.connector:
            yield f"{item.leg}: connector", first.connector
        for entry in item.session.entries:
            # What was said aloud we know: only the server's own remarks are news.
            for text in (entry.text if entry.event in ("*", "+", "-") else "", entry.context):
                for label, pattern, whole in _TELLING:
                    if text and (found := pattern.search(text)) is not None:
                        yield f"{item.leg}: {label}", text if whole else found[0]
