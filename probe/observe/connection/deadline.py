"""An absolute deadline that can still be brought forward, as an interrupt does, while somebody waits under it."""

import asyncio
from types import TracebackType


class Deadline:
    """An instant of the event loop's clock (seconds) that every wait of a run respects."""

    def __init__(self, when: float) -> None:
        self.when = when
        self._waiting: set[asyncio.Timeout] = set()

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, self.when - asyncio.get_running_loop().time())

    def shorten(self, when: float) -> None:
        """Bring the deadline forward for everybody, those who already wait included. Later instants are ignored."""
        if when >= self.when:
            return
        self.when = when
        for timeout in tuple(self._waiting):
            if (timeout.when() or when) >= when:
                timeout.reschedule(when)

    def until(self, when: float) -> "Limit":
        """The same deadline with an earlier limit of its own."""
        return Limit(self, when)

    def limit(self, until: float | None = None) -> "Waiting":
        """Raise TimeoutError in the block when the deadline, or the earlier instant `until`, has passed."""
        return Waiting(self._waiting, self.when if until is None else min(until, self.when))


class Limit:
    """A deadline seen from one connection: the earlier of the run's and its own."""

    def __init__(self, deadline: Deadline, when: float) -> None:
        self._deadline = deadline
        self._when = when

    def limit(self) -> "Waiting":
        """Raise TimeoutError in the block when the earlier of the two has passed."""
        return self._deadline.limit(self._when)


class Waiting:
    """One wait under a deadline, known to it while it lasts. A class, not a generator: every read passes here."""

    def __init__(self, others: set[asyncio.Timeout], when: float) -> None:
        self._others = others
        self._timeout = asyncio.timeout_at(when)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._others.add(self._timeout)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._others.discard(self._timeout)
        await self._timeout.__aexit__(kind, error, traceback)
