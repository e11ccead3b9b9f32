"""Runs from a queue that many workers share: procrastinate on PostgreSQL says who runs what.

A job per profile, vantage point and moment (probe/serve/moments.py); whichever worker is first defers it, once. `lock` is the
mailbox: no two workers use one at a time. `queueing_lock` is profile and vantage point: a queue that nobody works off does not pile
up. A worker that dies sends no heartbeat; its job is taken up by another. https://procrastinate.readthedocs.io/

The moments are ours, not procrastinate's calendars: it looks at all of them at each moment of any, which takes a worker with 10 000
profiles more than a second of CPU a second, and at a start it makes up for the last moment of all at once.
"""

import asyncio
import contextlib
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import procrastinate
from procrastinate import exceptions
from procrastinate.worker import Worker

from probe.plain import dataclass
from probe.serve.moments import Moments
from probe.serve.schedule import say_bug
from probe.serve.targets import Target
from probe.state.postgres import words_of

_TASK = "submission_probe.run"
AGAIN_SECONDS = 5.0
# How long one statement waits for a connection while the database is away: a worker that is ended then waits so long.
_POOL_SECONDS = 4.0
# Moments are looked for so often at most; and by each worker a little apart from the others: the first does the work of all.
_TICK_SECONDS = 0.25
_APART_SECONDS = 0.75
_KNOWN = """
select periodic_id, max(defer_timestamp) as moment from procrastinate_periodic_defers
where task_name = %(task)s and periodic_id = any(%(ids)s) group by periodic_id
"""
# By its worker: another who swept may have put it back already, and a living worker may have it now.
_PUT_BACK = """
update procrastinate_jobs set status = 'todo', attempts = attempts + 1, worker_id = null
where id = %(job)s and status = 'doing' and worker_id is not distinct from %(worker)s
"""
_TAKE_AWAY = """
delete from procrastinate_jobs where id = %(job)s and status = 'doing' and worker_id is not distinct from %(worker)s
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker works. Seconds are floats; `stalled` is how long a worker may be silent before its jobs are taken up."""

    conninfo: str
    vantage: str
    interval: float
    concurrency: int = 10
    stalled: float = 60.0


async def _autocommit(connection: Any) -> None:
    """Each statement is a transaction of its own: no BEGIN and COMMIT around it, which would be two round trips more."""
    await connection.set_autocommit(True)


def make_app(settings: Settings, run: Callable[[str], Awaitable[None]]) -> procrastinate.App:
    """The application, with the one task that it has: run a profile."""
    connector = procrastinate.PsycopgConnector(
        conninfo=settings.conninfo, kwargs={"application_name": "submission-probe worker"}, timeout=_POOL_SECONDS,
        configure=_autocommit,
    )  # fmt: skip
    app = procrastinate.App(connector=connector)

    @app.task(name=_TASK, pass_context=False)
    async def job(timestamp: int, profile: str) -> None:
        try:
            await run(profile)
        except Exception as bug:
            say_bug(profile, bug)

    return app


class _Worker(Worker):
    """procrastinate's worker, with our moments in the place of its calendars: as with those, a worker that cannot defer any more
    ends (and `work` asks again)."""

    def __init__(self, app: procrastinate.App, settings: Settings, targets: Mapping[str, Target], beat: float) -> None:
        super().__init__(
            app, queues=[settings.vantage], concurrency=settings.concurrency, install_signal_handlers=False,
            delete_jobs=procrastinate.jobs.DeleteJobCondition.ALWAYS, update_heartbeat_interval=beat,
            stalled_worker_timeout=settings.stalled * 10, fetch_job_polling_interval=1.0,
        )  # fmt: skip
        self._settings, self._targets = settings, targets

    async def _periodic_deferrer(self) -> None:
        moments = Moments(self._targets, self._settings.interval, time.time())
        while True:
            apart = random.uniform(0, _APART_SECONDS)  # noqa: S311  spreads load
            # Without any it goes on too: procrastinate's watch over its other tasks would end with it.
            await asyncio.sleep(min(60.0, max(_TICK_SECONDS, moments.seconds_left(time.time()))) + apart)
            await _defer(self.app, self._settings, [(moment, self._targets[name]) for moment, name in moments.take(time.time())])


async def _defer(app: procrastinate.App, settings: Settings, due: Iterable[tuple[int, Target]]) -> None:
    """Put into the queue what no other worker has put there: that is asked once for all of them."""
    wanted = {f"{target.name}@{settings.vantage}": (moment, target) for moment, target in due}
    if not wanted:
        return
    rows = await app.connector.execute_query_all_async(_KNOWN, task=_TASK, ids=list(wanted))
    known = {row["periodic_id"]: row["moment"] for row in rows}
    for name, (moment, target) in wanted.items():
        if known.get(name, 0) >= moment:
            continue
        deferrer = app.tasks[_TASK].configure(
            queue=settings.vantage,
            lock=f"mailbox {target.mailboxes[0]}" if target.mailboxes else f"profile {target.name}",
            queueing_lock=name,
            task_kwargs={"profile": target.name, "timestamp": moment},
        )
        # The one before waits still: one is enough.
        with contextlib.suppress(exceptions.AlreadyEnqueued):
            await app.job_manager.defer_periodic_job(job=deferrer.job, periodic_id=name, defer_timestamp=moment)


async def prepare(conninfo: str) -> None:
    """procrastinate's own tables, where they are missing."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))
    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()


async def work(
    app: procrastinate.App, settings: Settings, targets: Mapping[str, Target], stopped: asyncio.Event,
    note: Callable[[str | None], None] = lambda _: None,
) -> None:  # fmt: skip
    """Put the jobs of `targets` (by name) into the queue, and take jobs from it, until `stopped`. A database that goes away costs
    the runs of that time, not the worker: it asks again.

    `note` hears why the queue cannot be reached, and None while it can.
    """
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)  # what it would say with a traceback is said here in a line
    asyncio.get_running_loop().set_exception_handler(_left_alone)
    beat = max(0.5, settings.stalled / 4)
    async with app.open_async():
        note(None)
        sweeping = asyncio.create_task(_sweep(app, settings, beat, note))
        stopping = asyncio.create_task(stopped.wait())
        try:
            while not stopped.is_set():
                error = await _take_jobs(_Worker(app, settings, targets, beat), settings, stopping)
                if not stopped.is_set():
                    text = f"probe: the queue cannot be reached ({error}): no run starts; asking again every {AGAIN_SECONDS:g} s"
                    print(text, file=sys.stderr, flush=True)
                    note(f"the queue cannot be reached ({error}): no run starts")
                    await asyncio.wait({stopping}, timeout=AGAIN_SECONDS)
        finally:
            for task in (sweeping, stopping):
                task.cancel()


def _left_alone(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A job that ended while the database was away cannot be marked as done, and nobody waits for procrastinate's task of it: that
    the queue was lost is said already, and the job is swept like a dead worker's."""
    if not isinstance(context.get("exception"), exceptions.ConnectorException):
        loop.default_exception_handler(context)


async def _take_jobs(worker: Worker, settings: Settings, stopping: asyncio.Task[Any]) -> str:
    """Work until `stopping` is done, or procrastinate gives up, as it does when a connection of its own is lost; why it did."""
    working = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call]
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        working.cancel()  # procrastinate's way to stop: running jobs are waited for
    try:
        await working
    except asyncio.CancelledError:
        pass
    except exceptions.ConnectorException as error:
        cause = error.__cause__
        return words_of(cause if isinstance(cause, Exception) else error, settings.conninfo)
    return "a connection to PostgreSQL was lost"


async def _sweep(app: procrastinate.App, settings: Settings, beat: float, note: Callable[[str | None], None]) -> None:
    """Put the jobs of dead workers back into the queue: their locks would keep the mailbox for ever. `note`: as of `work`."""
    while True:
        with contextlib.suppress(exceptions.ProcrastinateException):
            for job in await app.job_manager.get_stalled_jobs(queue=settings.vantage, seconds_since_heartbeat=settings.stalled):
                await _again(app, job)
            note(None)
        await asyncio.sleep(beat)


async def _again(app: procrastinate.App, job: procrastinate.jobs.Job) -> None:
    """Once more; where the next one of the same profile is queued already, that one is enough."""
    which = {"job": job.id, "worker": job.worker_id}
    try:
        await app.connector.execute_query_async(_PUT_BACK, **which)
    except exceptions.UniqueViolation:
        await app.connector.execute_query_async(_TAKE_AWAY, **which)
