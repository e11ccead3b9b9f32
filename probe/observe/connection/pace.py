"""Fairness among many runs in one event loop: few pieces of work a turn of the loop, so that no clock is late.

When hundreds of servers answer at once, asyncio runs every task that woke in one turn, and each of them parses, verifies, encrypts:
timers, and with them every measured second, wait until the last has finished. A Pace lets AT_ONCE of them go on in each turn.
"""

import asyncio
from collections import deque

AT_ONCE = 1


class Pace:
    """Share one among the runs of an event loop. Nothing is held: a turn is a place in the queue, not a lock."""

    def __init__(self) -> None:
        self._queue: deque[asyncio.Future[None]] = deque()
        self._gone = 0
        self._counting = False

    async def turn(self) -> None:
        """Return at once while few want to go on in this turn of the loop, else when it is our turn."""
        loop = asyncio.get_running_loop()
        if not self._counting:
            self._counting = True
            loop.call_soon(self._next_turn)
        if self._gone < AT_ONCE and not self._queue:
            self._gone += 1
            return
        place: asyncio.Future[None] = loop.create_future()
        self._queue.append(place)
        await place

    def _next_turn(self) -> None:
        self._gone = 0
        while self._queue and self._gone < AT_ONCE:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                self._gone += 1
        self._counting = self._gone > 0
        if self._counting:
            asyncio.get_running_loop().call_soon(self._next_turn)
