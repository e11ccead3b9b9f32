"""Runs from a queue that many workers share: procrastinate on PostgreSQL says who runs what, and when.

A periodic job per profile and vantage point; whichever worker is first defers it, once. `lock` is the mailbox: no two workers
use one at a time. `queueing_lock` is profile and vantage point: a queue that nobody works off does not pile up. A worker that
dies sends no heartbeat; its job is taken up by another. https://procrastinate.readthedocs.io/
"""

import asyncio
import contextlib
import logging
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import procrastinate
from procrastinate import exceptions

from probe.serve.schedule import say_bug
from probe.serve.targets import Target
from probe.state.postgres import words_of

# A field of the calendar and the seconds of one of its steps; the cycle that it counts through.
_FIELDS = (("seconds", 1, 60), ("minutes", 60, 3600), ("hours", 3600, 86400))
_TASK = "submission_probe.run"
AGAIN_SECONDS = 5.0
# How long one statement waits for a connection while the database is away: a worker that is ended then waits so long.
_POOL_SECONDS = 4.0


class WrongInterval(ValueError):
    """The interval is none that a calendar has: it must divide a minute, an hour or a day."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker works. Seconds are floats; `stalled` is how long a worker may be silent before its jobs are taken up."""

    conninfo: str
    vantage: str
    interval: float
    concurrency: int = 10
    stalled: float = 60.0


def crontab(interval: float, name: str) -> str:
    """Six fields, seconds last, as croniter reads them; each profile at moments of its own. Raises WrongInterval."""
    for field, step, cycle in _FIELDS:
        if interval < cycle and interval % step == 0 and cycle % interval == 0:
            offset = zlib.crc32(name.encode()) % int(interval)
            return _fields(field, int(interval), offset)
    raise WrongInterval(f"{interval:g} s: expected what divides a minute, an hour or a day, such as 30s, 5m or 1h")


def _fields(field: str, interval: int, offset: int) -> str:
    second, minute, hour = offset % 60, offset // 60 % 60, offset // 3600
    if field == "seconds":
        return f"* * * * * {offset}-59/{interval}"
    if field == "minutes":
        return f"{minute}-59/{interval // 60} * * * * {second}"
    return f"{minute} {hour}-23/{interval // 3600} * * * {second}"


def make_app(settings: Settings, targets: Iterable[Target], run: Callable[[str], Awaitable[None]]) -> procrastinate.App:
    """The application: one periodic job a target, and the sweep of stalled jobs. Raises WrongInterval."""
    connector = procrastinate.PsycopgConnector(
        conninfo=settings.conninfo, kwargs={"application_name": "submission-probe worker"}, timeout=_POOL_SECONDS
    )
    app = procrastinate.App(connector=connector)

    @app.task(name=_TASK, pass_context=False)
    async def job(timestamp: int, profile: str) -> None:
        try:
            await run(profile)
        except Exception as bug:
            say_bug(profile, bug)

    for target in targets:
        app.periodic(
            cron=crontab(settings.interval, target.name),
            periodic_id=f"{target.name}@{settings.vantage}",
            queue=settings.vantage,
            lock=f"mailbox {target.mailboxes[0]}" if target.mailboxes else f"profile {target.name}",
            queueing_lock=f"{target.name}@{settings.vantage}",
            task_kwargs={"profile": target.name},
        )(job)
    return app


async def prepare(conninfo: str) -> None:
    """procrastinate's own tables, where they are missing."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))
    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()


async def work(
    app: procrastinate.App, settings: Settings, stopped: asyncio.Event, note: Callable[[str | None], None] = lambda _: None
) -> None:
    """Take jobs until `stopped`. A database that goes away costs the runs of that time, not the worker: it asks again.

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
                error = await _take_jobs(app, settings, beat, stopping)
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


async def _take_jobs(app: procrastinate.App, settings: Settings, beat: float, stopping: asyncio.Task[Any]) -> str:
    """Work until `stopping` is done, or procrastinate gives up, as it does when a connection of its own is lost; why it did."""
    working = asyncio.create_task(
        app.run_worker_async(
            queues=[settings.vantage],
            concurrency=settings.concurrency,
            install_signal_handlers=False,
            delete_jobs=procrastinate.jobs.DeleteJobCondition.ALWAYS,
            update_heartbeat_interval=beat,
            stalled_worker_timeout=settings.stalled * 10,
            fetch_job_polling_interval=1.0,
        )
    )
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
    try:
        await app.job_manager.retry_job(job)
    except (exceptions.AlreadyEnqueued, exceptions.UniqueViolation):
        await app.job_manager.finish_job(job, procrastinate.jobs.Status.FAILED, delete_job=True)
