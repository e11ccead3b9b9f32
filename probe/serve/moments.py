"""When each profile runs, for workers that share a queue: the same moments on every worker, spread over the interval."""

import heapq
import math
import zlib
from collections.abc import Iterable

DAY_SECONDS = 86_400
# The steps of a clock: the seconds of one, and of the cycle that it counts through.
_STEPS = ((1, 60), (60, 3600), (3600, DAY_SECONDS))
# Of the interval: whoever comes later than this (the database was away, no worker was up) lets a moment pass. Otherwise all that
# was missed would begin at once, late, and in the way of those whose time it is.
MOST_LATE = 0.1
LEAST_LATE_SECONDS = 5.0


class WrongInterval(ValueError):
    """The interval is none that a calendar has: it must divide a minute, an hour or a day."""


def checked(interval: float) -> int:
    """The interval in whole seconds. Raises WrongInterval."""
    for step, cycle in _STEPS:
        if interval < cycle and interval % step == 0 and cycle % interval == 0:
            return int(interval)
    raise WrongInterval(f"{interval:g} s: expected what divides a minute, an hour or a day, such as 30s, 5m or 1h")


def first_after(name: str, interval: int, now: float) -> int:
    """The profile's first moment after `now`, Unix time: the days of Unix time begin at 0:00 UTC, and the interval divides them.

    Its place within the interval is made of its name, so that all workers know it without asking one another.
    """
    offset = zlib.crc32(name.encode()) % interval
    return offset + interval * (math.floor((now - offset) / interval) + 1)


class Moments:
    """The next moment of each of many profiles. What is due is found without looking at the others: 10 000 are looked at each
    second."""

    def __init__(self, names: Iterable[str], interval: float, now: float) -> None:
        """`interval` in seconds, `now` Unix time. Raises WrongInterval. Moments shortly before are due too: whoever was restarted
        misses none."""
        self._interval = checked(interval)
        self._most_late = max(LEAST_LATE_SECONDS, self._interval * MOST_LATE)
        self._next = [(first_after(name, self._interval, now - self._most_late), name) for name in names]
        heapq.heapify(self._next)

    def take(self, now: float) -> list[tuple[int, str]]:
        """The moments that have come since the last call, in their order, with their profiles: of each the last, and none that is
        too late."""
        found = []
        while self._next and self._next[0][0] <= now:
            moment, name = self._next[0]
            following = first_after(name, self._interval, now)
            heapq.heapreplace(self._next, (following, name))
            last = max(moment, following - self._interval)
            if now - last <= self._most_late:
                found.append((last, name))
        return sorted(found)

    def seconds_left(self, now: float) -> float:
        """Seconds until the next moment; infinite without any."""
        return max(0.0, self._next[0][0] - now) if self._next else math.inf
