"""Our transcript beside the servers' logs: which of their sessions were ours, how far their clocks are off, what only they knew.

Pure over lines: what stands in the logs comes in as text, what is known goes out as values. A session is ours by what only we can
have caused (the marker, the queue id, the very endpoint) or by enough that fits together (EHLO name, user, address, time).
Memory is bounded: sessions without any sign of ours are forgotten, the oldest first.
"""

from collections.abc import Iterable

from probe.runs.correlate.known import known
from probe.runs.correlate.lines import parse
from probe.runs.correlate.match import matches
from probe.runs.correlate.our_side import read_run
from probe.runs.correlate.sessions import MOST_ENTRIES, WINDOW, ZONES, Sessions
from probe.runs.correlate.timeline import clocks_of, timeline
from probe.runs.correlate.values import Correlation, Run

__all__ = ["MOST_ENTRIES", "correlate", "read_run"]


def correlate(run: Run, logs: Iterable[tuple[str, Iterable[str]]]) -> Correlation:
    """Find the run's sessions in the logs (name, lines)."""
    started, ours = run.started, run.legs
    sessions = Sessions(ours)
    for name, lines in logs:
        for entry in parse(lines, name, started):
            if abs(entry.at - started) <= (WINDOW if entry.zoned else ZONES):
                sessions.add(entry)
    matched = tuple(matches(ours, sessions, started))
    clocks = tuple(clocks_of(matched, {leg.leg: leg for leg in ours}, started))
    found = {item.leg for item in matched}
    return Correlation(
        matched=matched,
        missing=tuple(leg.leg for leg in ours if leg.leg not in found),
        clocks=clocks,
        timeline=tuple(timeline(ours, matched, clocks, started)),
        knew=tuple(dict.fromkeys(known(matched))),
        forgotten=sessions.forgotten,
    )
