"""When each profile runs: every so often, each at moments of its own."""

import asyncio
import random
import sys
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterable

from probe.serve.board import Board
from probe.serve.runner import Runner
from probe.serve.targets import Target

# After a start, runs begin one by one: no server is asked for fifty logons in one second.
BETWEEN_STARTS_SECONDS = 1.0
# A run may wait for its mailbox and its turn: one that has not ended an interval and this much after its time-out is missing.
LATE_SECONDS = 10.0
# Of the interval, either way: several machines with one schedule do not stay in step.
JITTER = 0.1
# After the moment at which a refused secret may be tried again.
AGAIN_SECONDS = 1.0
# Without a schedule: looking for what a run left, this long after its time-out at the earliest, and then again.
COLLECT_AFTER_SECONDS = 6.0
COLLECT_SECONDS = 300.0


class Schedule:
    """A task for each profile. `interval` in seconds; None runs nothing by itself, and only accounts for messages of earlier
    runs, where `collects` (who shares a queue with other machines does so within its jobs). `sleep` waits so many seconds."""

    def __init__(
        self, runner: Runner, board: Board, interval: float | None, *, collects: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._runner, self._board, self._interval, self._collects = runner, board, interval, collects
        self._sleep = sleep
        self._watches: dict[str, tuple[Target, asyncio.Task[None]]] = {}

    def set(self, targets: Iterable[Target], at_once: Collection[str] = ()) -> None:
        """Watch these from now on. A run that is under way goes on; a profile that did not change keeps its time, but for those
        that run `at_once`."""
        wanted = {target.name: target for target in targets}
        for name, (target, task) in list(self._watches.items()):
            if name not in wanted or wanted[name].profile != target.profile or name in at_once:
                task.cancel()
                del self._watches[name]
        fresh = [target for name, target in wanted.items() if name not in self._watches]
        for index, target in enumerate(fresh if self._interval is not None or self._collects else ()):
            self._watches[target.name] = (target, asyncio.create_task(self._watch(target, index)))

    def stop(self) -> None:
        """Begin no more runs."""
        for _, task in self._watches.values():
            task.cancel()
        self._watches.clear()

    async def _watch(self, target: Target, index: int) -> None:
        if self._interval is None:
            await self._watch_leftovers(target)
        else:
            delay = min(self._interval, BETWEEN_STARTS_SECONDS) * index * random.uniform(0.5, 1.0)  # noqa: S311  spreads load
            await self._watch_runs(target, self._interval, delay)

    async def _once(self, target: Target) -> None:
        """A bug of ours in one run must not end the watch: a profile that nobody probes any more looks like health."""
        try:
            await self._runner.collect(target)
            if self._interval is not None:
                # A collection may have taken as long as a run.
                self._expect(target, self._interval)
                await self._runner.run(target)
            else:
                self._runner.note_collected(target)
        except Exception as bug:
            say_bug(target.name, bug)

    def _expect(self, target: Target, interval: float, delay: float = 0.0) -> None:
        self._board.expect(target.name, delay, interval * (1 + JITTER) + target.plan.timeout + LATE_SECONDS)

    async def _watch_leftovers(self, target: Target) -> None:
        """Others say when to run; what their runs left is looked for once it belongs to no run any more, then now and then."""
        while True:
            await self._sleep(target.plan.timeout + COLLECT_AFTER_SECONDS)
            while self._runner.leftovers([target])[target.name] or self._runner.is_lost_due(target):
                await self._once(target)
                await self._sleep(COLLECT_SECONDS)

    async def _watch_runs(self, target: Target, interval: float, delay: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._expect(target, interval, delay)
            await self._sleep(delay)
            begun = loop.time()
            await self._once(target)
            pause = interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  spreads load
            delay = max(0.0, pause - (loop.time() - begun))
            # One logon says after a minute whether a refusal was meant; not after an interval of red.
            if (soon := self._runner.next_try(target)) is not None:
                delay = min(delay, soon + AGAIN_SECONDS)


def say_bug(name: str, bug: Exception) -> None:
    """One line about a run that an error of ours ended."""
    said = "".join(traceback.format_exception_only(bug)).strip()
    print(f"probe: {name}: internal error: {said}; it runs again next time", file=sys.stderr, flush=True)
