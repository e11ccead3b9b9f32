"""Runs on demand: one at a time for a mailbox, shared by all who ask for the same profile, bounded by the time of who asks."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from probe.profile import ProfileError
from probe.report import Report
from probe.report.collection import came_late, tally
from probe.serve.targets import Target
from probe.state import outbox
from probe.state.place import Place, files
from probe.tasks.backoff import again_in
from probe.tasks.collect import READERS, collect
from probe.tasks.credentials import asks_somebody
from probe.tasks.each_address import observe_each
from probe.tasks.notify import counted
from probe.tasks.plan import make_plan
from probe.tasks.prepare import Session, prepare, time_of_day
from probe.tasks.run import unproven
from probe.tasks.whose import longest, mine

# Less than this is no time for a run: whoever asks for it hears so, and no message leaves.
LEAST_SECONDS = 1.0
# How often messages that were given up are looked for: they may come after all, and nobody else would delete them.
LOST_AGAIN = timedelta(hours=1)
# A target whose last run took longer, or half of its time where that is less, is slow: dead, most likely.
SLOW_SECONDS = 10.0

Note = Callable[[Target, Sequence[Report]], None]
NoteCollected = Callable[[Target, int, int], None]


class Busy(Exception):
    """The time of who asked was over before there was a result; the run, if one is under way, goes on."""


@dataclass(slots=True)
class _Flight:
    """A run that is waited for. `until`: when the last of those who wait for it goes away (the loop's clock; inf: never)."""

    target: Target
    until: float
    task: asyncio.Future[tuple[Report, ...]] = field(init=False)


class Runner:
    """Carries out runs and gives each result to `note`, once, whoever asked.

    `note_collected` hears of earlier messages: how many came late (found and deleted now), how many are given up as lost.
    """

    def __init__(
        self, note: Note, note_collected: NoteCollected, *, concurrency: int, place: Place | None = None, notify_after: int = 1,
        vantage: str = "", utc_now: Callable[[], datetime] = time_of_day,
    ) -> None:  # fmt: skip
        self._note, self._note_collected = note, note_collected
        self._turns = asyncio.Semaphore(concurrency)
        # At most half of the turns: however many targets are dead, the living have the others.
        self._slow_turns = asyncio.Semaphore(max(1, concurrency // 2))
        self._slow: set[str] = set()
        self._again_in: dict[str, float] = {}
        self._mailboxes: dict[str, asyncio.Lock] = {}
        self._flights: dict[str, _Flight] = {}
        self._under_way: set[asyncio.Future[tuple[Report, ...]]] = set()
        self._collecting: set[asyncio.Future[None]] = set()
        self._interrupt = asyncio.Event()
        self._notify_after, self._vantage = notify_after, vantage
        self._place = place or files()
        self._utc_now = utc_now
        self._session = Session(self._place, interrupt=self._interrupt, utc_now=utc_now)
        # By profile: what a collection found, until the run after it is over, and when the last one was.
        self._collected: dict[str, tuple[Target, Report]] = {}
        self._looked: dict[str, datetime] = {}

    async def run(self, target: Target, seconds: float | None = None) -> tuple[Report, ...]:
        """The run's reports (one, or one per node). `seconds`: how long whoever asks can wait. Raises Busy."""
        until = math.inf if seconds is None else asyncio.get_running_loop().time() + seconds
        try:
            # Who goes away, or cannot wait, does not end a run that others share and whose message is on its way.
            return await asyncio.wait_for(asyncio.shield(self._flight(target, until).task), seconds)
        except TimeoutError:
            raise Busy(
                f"{target.name}: no result within {seconds:g} s; the run goes on, and limits.timeout gives it"
                f" {target.plan.timeout:g} s: ask with a longer scrape_timeout"
            ) from None

    def _flight(self, target: Target, until: float) -> _Flight:
        """The run of this very profile that is under way or waits for its turn, else a new one."""
        flight = self._flights.get(target.name)
        if flight is None or flight.task.done() or flight.target.profile != target.profile:
            flight = self._flights[target.name] = _Flight(target, until)
            flight.task = asyncio.ensure_future(self._fly(flight))
            self._under_way.add(flight.task)
            flight.task.add_done_callback(partial(self._landed, flight))
        # One that a hasty scrape began has all the time of those who wait for it.
        flight.until = max(flight.until, until)
        return flight

    def _landed(self, flight: _Flight, task: asyncio.Future[tuple[Report, ...]]) -> None:
        self._under_way.discard(task)
        if self._flights.get(flight.target.name) is flight:
            del self._flights[flight.target.name]
        if not task.cancelled():
            task.exception()  # heard, also where everybody has gone away

    async def _fly(self, flight: _Flight) -> tuple[Report, ...]:
        target = flight.target
        async with self._held(target):
            if flight.until - asyncio.get_running_loop().time() < LEAST_SECONDS:
                raise Busy(f"{target.name}: another run had the mailbox until the time was over")
            reports = tuple(await self._observe(target))
        self._time(target, reports)
        if late := sum(map(came_late, reports)):
            self._note_collected(target, late, 0)
        # What we ended ourselves says nothing of the server; its message keeps its trace, and is accounted for later.
        if not any(report.interrupted for report in reports):
            # Where they cannot be counted, each failure alarms.
            reports = (*reports, *self._take_collected(target))
            counts, _ = counted(reports, lambda _: f"{self._vantage} {target.plan.probed}".strip(), self._notify_after, self._place)
            reports = tuple(counts)
            self._note(target, reports)
        return reports

    def _time(self, target: Target, reports: Sequence[Report]) -> None:
        """Whether the target's next run goes among the slow ones."""
        limit = min(SLOW_SECONDS, target.plan.timeout / 2)
        (self._slow.add if any(report.seconds > limit for report in reports) else self._slow.discard)(target.name)

    @asynccontextmanager
    async def _held(self, target: Target) -> AsyncIterator[None]:
        """The target's mailboxes, and a turn. All take mailboxes in one order (they are sorted), so nobody waits in a circle.

        A slow target waits for its turn among the slow before it takes a mailbox from a living one.
        """
        async with AsyncExitStack() as held:
            if target.name in self._slow:
                await held.enter_async_context(self._slow_turns)
            for mailbox in target.mailboxes:
                await held.enter_async_context(self._mailboxes.setdefault(mailbox, asyncio.Lock()))
            await held.enter_async_context(self._turns)
            yield

    async def _observe(self, target: Target) -> Sequence[Report]:
        """A whole run, however short the time of who asked is: a run cut short would blame the server, and leave its message."""
        self._again_in.pop(target.name, None)
        try:
            plan = await prepare(target.plan, target.profile, self._session.place)
        except ProfileError as error:
            # A password file that is gone now: the schedule goes on, and the page says why nothing is proven.
            return [unproven(target.plan, target.profile, str(error))]
        reports = await observe_each(plan, target.profile, self._session)
        if any(finding.id in ("auth.refused", "auth.suspended") for report in reports for finding in report.findings):
            self._again_in[target.name] = again_in(plan, self._place)
        return reports

    def next_try(self, target: Target) -> float | None:
        """After a run that a refused secret ended: seconds until it may be tried again. None after another run."""
        return self._again_in.get(target.name)

    async def check(self, target: Target) -> None:
        """Read the secrets and files that the profile names. Where they cannot be had, that is a result, before any run."""
        if asks_somebody(target.profile):
            return
        async with self._turns:
            try:
                await prepare(target.plan, target.profile, self._session.place)
            except ProfileError as error:
                self._note(target, (unproven(target.plan, target.profile, str(error)),))

    def note_collected(self, target: Target) -> None:
        """Where no run follows a collection, its report is a result of its own."""
        if reports := self._take_collected(target):
            self._note(target, reports)

    def _take_collected(self, target: Target) -> tuple[Report, ...]:
        held = self._collected.pop(target.name, None)
        return () if held is None else held[1:]

    async def collect(self, target: Target) -> None:
        """Account for messages of earlier runs that were cut off or came too late: found and deleted, or lost after a while.

        What came of them is reported with the next run, and judged as `run --collect` judges it."""
        # Not at once after the run that looked for it in vain: that would be a logon more, and find as little.
        waiting = outbox.older(self.leftovers([target])[target.name], self._utc_now(), longest(target.plan))
        if not waiting and not self.is_lost_due(target):
            return
        if not any(reader.side.leg in READERS for reader in target.plan.readers):
            # With nobody to look for it, the message is counted once.
            self._note_collected(target, 0, self._give_up(target, waiting))
            return
        # Whoever waits may be cancelled (a schedule that stops): what was begun ends by itself, and `finish` waits for it.
        collecting = asyncio.ensure_future(self._collect(target))
        self._collecting.add(collecting)
        collecting.add_done_callback(self._collecting.discard)
        await asyncio.shield(collecting)

    async def _collect(self, target: Target) -> None:
        async with self._held(target):
            try:
                plan = await prepare(make_plan(target.profile, light=True), target.profile, self._session.place)
            except ProfileError:
                return  # the run itself says so
            report = await collect(plan, target.profile, place=self._place, interrupt=self._interrupt, utc_now=self._utc_now)
        self._looked[target.name] = self._utc_now()
        if not report.interrupted:
            self._collected[target.name] = (target, report)
        if (seen := tally(report)) is not None:
            self._note_collected(target, seen.collected, seen.lost)

    def is_lost_due(self, target: Target) -> bool:
        """Whether there are messages that were given up, and that nobody has looked for in a while."""
        before = self._looked.setdefault(target.name, self._utc_now())
        if self._utc_now() - before < LOST_AGAIN:
            return False
        return bool(mine(target.plan, self._place.lost(), self._utc_now()))

    def leftovers(self, targets: Iterable[Target]) -> dict[str, list[outbox.Entry]]:
        """By profile: messages whose run is over, and which are not known to be gone."""
        known = self._place.entries()
        return {target.name: mine(target.plan, known, self._utc_now()) for target in targets}

    def _give_up(self, target: Target, waiting: Sequence[outbox.Entry]) -> int:
        """Forget the messages that are older than `limits.lost_after`; how many those were."""
        lost = outbox.older(waiting, self._utc_now(), timedelta(seconds=target.profile.limits.lost_after))
        for entry in lost:
            with contextlib.suppress(OSError):
                self._place.give_up(entry)
        return len(lost)

    async def finish(self) -> None:
        """End the runs early, their clean-up included, and wait for them."""
        self._interrupt.set()
        await asyncio.gather(*self._under_way, *self._collecting, return_exceptions=True)
        for target, _ in list(self._collected.values()):
            self.note_collected(target)
