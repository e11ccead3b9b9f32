"""The parts together: what is served now, what happens on reload, and how it ends."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from probe.output import _certificates
from probe.output._safe import safe
from probe.plain import dataclass
from probe.profile import Overlay, ProfileError
from probe.report import Report
from probe.report.fleet import together
from probe.serve import webconfig
from probe.serve.board import Board
from probe.serve.metrics import Standing
from probe.serve.origin import is_loopback
from probe.serve.runner import Runner
from probe.serve.schedule import Schedule
from probe.serve.targets import Faults, Target, load_targets
from probe.state.place import Place
from probe.tasks.prepare import time_of_day

# How often the profiles' files are looked at.
CHECK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve. `profiles` empty: all of the user's own. `interval` in seconds, None: only when asked.

    `place` is where the installation's state is (default: files). `store` keeps each result, and returns a remark where it could
    not; it may take its time. `listen` is the host listened on, `allow_host` further names it is known by; `allow_anyone`: off
    loopback without users too. `collects`: account for earlier runs' messages without a schedule too.
    `full_metrics`: those too that no alert rule and no panel of ours uses.
    """

    profiles: Sequence[str]
    overlays: Sequence[Overlay] = ()
    interval: float | None = 300.0
    concurrency: int = 10
    place: Place | None = None
    store: Callable[[Sequence[Report]], str | None] | None = None
    web_config: Path | None = None
    listen: str = "127.0.0.1"
    allow_host: Sequence[str] = ()
    allow_anyone: bool = False
    collects: bool = True
    full_metrics: bool = False
    # A run alarms at so many failures in a row, seen from this place.
    notify_after: int = 1
    vantage: str = ""
    # The time of day, and how the schedule waits for so many seconds.
    utc_now: Callable[[], datetime] = time_of_day
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Service:
    """The targets, their runs and their results. Made inside a running event loop. Raises ProfileError and WebConfigError."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failure: str | None = None
        self.board = Board(full=settings.full_metrics)
        self.is_ending = False
        self.queue_failure: str | None = None
        self.runner = Runner(
            self._note, self.board.note_collected, concurrency=settings.concurrency, place=settings.place,
            notify_after=settings.notify_after, vantage=settings.vantage, utc_now=settings.utc_now,
        )  # fmt: skip
        self._schedule = Schedule(self.runner, self.board, settings.interval, collects=settings.collects, sleep=settings.sleep)
        self._faults = Faults(settings.overlays)
        self._writes: set[asyncio.Task[None]] = set()
        self._aside: set[asyncio.Task[None]] = set()
        # One thread: writers do not wait for each other's locks, and the allocator keeps one more arena, not one a thread.
        self._writer = ThreadPoolExecutor(1, "store")
        self.web = self._read_web()
        self.targets: dict[str, Target] = {}
        self._take(load_targets(settings.profiles, settings.overlays))
        self._begin(self._watch_files())

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _watch_files(self) -> None:
        """A profile that would not load any more is served as it was, and shown as faulty at once: not only at the next start."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            targets = list(self.targets.values())
            self._show_faults(await asyncio.to_thread(self._faults.look, targets))

    def _show_faults(self, faults: Mapping[str, str | None]) -> None:
        for name, fault in faults.items():
            if name in self.board.states:
                self.board.states[name].fault = fault

    async def _check(self, targets: Sequence[Target]) -> None:
        for target in targets:
            await self.runner.check(target)

    def find(self, name: str) -> Target | None:
        """The profile of that name, or the one that was given by this very word (a path) when the program was started."""
        found = self.targets.get(name)
        if found is None and name in self.settings.profiles:
            found = next((target for target in self.targets.values() if target.given == name), None)
        return found

    def _read_web(self) -> webconfig.WebConfig:
        """The web-config file. Off loopback it has to say who may come in. Raises WebConfigError."""
        settings, web = self.settings, webconfig.read(self.settings.web_config)
        if web.guarded or settings.allow_anyone or is_loopback(settings.listen):
            return web
        raise webconfig.WebConfigError(
            f"{settings.listen} can be reached from other machines, and whoever reaches it could start runs: give a web-config"
            " file with basic_auth_users or client certificates, listen on 127.0.0.1, or say --allow-anyone"
        )

    def reload(self) -> str | None:
        """Read the profiles and the web-config file again. On a mistake all stays as it was; the mistake is returned, and shown."""
        try:
            targets, web = load_targets(self.settings.profiles, self.settings.overlays), self._read_web()
            webconfig.refuse_change(self.web, web)
        except (ProfileError, webconfig.WebConfigError) as error:
            self.failure = str(error)
            self.board.metrics.reloaded.set(0)
            self._show_faults(self._faults.look(list(self.targets.values())))
            print(f"probe: reload failed, everything stays as it was:\n{safe_lines(self.failure)}", file=sys.stderr)
            return self.failure
        self.web = web
        self._take(targets)
        # Those that are not well run at once; of the others, a secret that is gone shows before their next run.
        self._begin(self._check([target for target in targets.values() if self.board.states[target.name].is_well]))
        print(f"probe: reloaded, {len(targets)} profiles", file=sys.stderr, flush=True)
        return None

    def _take(self, targets: dict[str, Target]) -> None:
        self.failure = None
        self.targets = targets
        self.board.keep_only(list(targets))
        self.board.metrics.reloaded.set(1)
        self.board.metrics.reloaded_at.set_to_current_time()
        self._show_faults(dict.fromkeys(targets))
        self._schedule.set(targets.values(), [name for name, state in self.board.states.items() if not state.is_well])

    def _note(self, target: Target, reports: Sequence[Report]) -> None:
        served = self.targets.get(target.name)
        # What a profile found before it was changed says nothing of what it is now.
        if served is None or served.profile == target.profile:
            self.board.note(target, reports)
        if self.settings.store is not None:
            task = asyncio.create_task(self._write(self.settings.store, reports))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def _write(self, store: Callable[[Sequence[Report]], str | None], reports: Sequence[Report]) -> None:
        remark = await asyncio.get_running_loop().run_in_executor(self._writer, store, reports)
        if remark:
            print(f"probe: {remark}", file=sys.stderr, flush=True)

    def note_queue(self, failure: str | None) -> None:
        """Whether the queue that runs are taken from can be reached; why not."""
        self.queue_failure = failure
        self.board.metrics.show_queue(up=failure is None)

    def leftovers(self) -> dict[str, int]:
        """By profile, messages of runs that are over, which are not known to be gone."""
        return {name: len(entries) for name, entries in self.runner.leftovers(self.targets.values()).items()}

    def metrics(self) -> str:
        """What `/metrics` says: text format 0.0.4."""
        now, leftovers = self.settings.utc_now(), self.runner.leftovers(self.targets.values())
        standing = {
            name: Standing(
                leftovers=len(left := leftovers.get(name, [])),
                oldest=max((entry.age(now) for entry in left), default=0.0),
                last_success=state.last_success,
                stale=None if state.due is None else state.is_stale,
                valid=state.fault is None,
                secrets=state.could_begin,
            )
            for name, state in self.board.states.items()
        }
        shown = _certificates.series_of(together(one for state in self.board.states.values() for one in state.sightings))
        return "".join((*self.board.last_runs(), shown, *self.board.metrics.parts(standing)))

    async def finish(self) -> None:
        """Begin nothing more; end what is under way, its clean-up included."""
        self.is_ending = True
        self._schedule.stop()
        for task in self._aside:
            task.cancel()
        await self.runner.finish()
        await asyncio.gather(*self._writes)


def safe_lines(text: str) -> str:
    """Each line without control characters."""
    return "\n".join(f"  {safe(line)}" for line in text.splitlines())
