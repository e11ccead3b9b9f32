"""Which session was which leg: by what only we can have caused, or by enough that fits together."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from probe.runs.correlate.lines import quarter_hours_aside
from probe.runs.correlate.sessions import CERTAIN, ENOUGH, WEIGHTS
from probe.runs.correlate.values import Matched, Ours, Session


def matches(ours: Sequence[Ours], sessions: Iterable[Session], started: datetime) -> Iterator[Matched]:
    """For each leg the session that fits best, and every other that is certain: what the message did behind the first server."""
    listed = list(sessions)
    for leg in ours:
        scored = [(_score(session, leg, started), session) for session in listed if _may_be(session, leg.leg)]
        best = max(scored, key=lambda item: item[0], default=None)
        if best is None or best[0][0] < ENOUGH:
            continue
        first = best[1]
        chosen = [first, *(session for _, session in scored if session is not first and _is_certain(session, leg.leg))]
        names = _names_given(chosen)
        chosen += [session for session in listed if session not in chosen and _named(session, names)]
        for session in chosen:
            yield Matched(leg.leg, session, tuple(sorted(session.signs.get(leg.leg, {"named by another session"}))))


def _score(session: Session, leg: Ours, started: datetime) -> tuple[float, float]:
    points = float(sum(WEIGHTS[sign] for sign in session.signs.get(leg.leg, ())))
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
    return bool(session.signs.get(leg, set()) & CERTAIN)


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
