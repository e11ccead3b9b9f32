"""Standing still: a process that was stopped (SIGSTOP, a debugger) or whose machine slept saw nothing of that time.

Its deadlines pass meanwhile, servers hang up, and mail seems late: what it finds then says nothing of the server.
"""

import asyncio
import time

BEAT_SECONDS = 0.5
# Longer than a busy machine keeps a process waiting, and shorter than the time-outs that would blame a server.
PAUSE_SECONDS = 5.0


def clock() -> float:
    """Seconds, those included in which the machine slept: Linux' monotonic clock stands still then (clock_gettime(2))."""
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Pulse:
    """An async context manager that notices when nothing of this process ran for a while."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def __aenter__(self) -> "Pulse":
        self._last = clock()
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._beating.cancel()
        self._look()

    def _look(self) -> None:
        now = clock()
        self._longest, self._last = max(self._longest, now - self._last), now

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._look()

    @property
    def paused(self) -> float | None:
        """The longest pause, in seconds; None where there was none."""
        return self._longest if self._longest >= PAUSE_SECONDS else None
