"""`probe worker`: scheduled runs from a queue that many machines share."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, TypeVar

import typer

from probe.cli import _options as option
from probe.cli.serve import AllowAnyone, AllowHost, MetricsSet, NotifyAfter
from probe.profile.bounded import hide_from_commands

if TYPE_CHECKING:
    from probe.serve.queue import Settings
    from probe.serve.service import Service

T = TypeVar("T")


class Web(TypedDict):
    """What is answered over HTTP, and to whom; what is an alarm: the exporter's settings of the same names."""

    notify_after: int
    web_config: Path | None
    allow_host: tuple[str, ...]
    allow_anyone: bool
    full_metrics: bool


def register(app: typer.Typer) -> None:
    app.command("worker")(worker)


def worker(
    profiles: option.Profiles = None,
    database_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Environment variable with the connection string (else PGHOST, PGSERVICE and so on)."),
    ] = None,
    init: Annotated[bool, typer.Option("--init", help="Create the tables that are missing, and end.")] = False,
    interval: Annotated[str, typer.Option(metavar="DURATION", help="How often each profile runs.")] = "5m",
    vantage: Annotated[
        str | None, typer.Option(metavar="NAME", help="The place it is seen from (default: this host's name).")
    ] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where /metrics and the status page are.")] = "127.0.0.1:9588",
    web_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TLS and basic authentication, as in every Prometheus exporter.")
    ] = None,
    allow_host: AllowHost = None,
    allow_anyone: AllowAnyone = False,
    concurrency: option.Concurrency = 10,
    metrics: MetricsSet = "usual",
    notify_after: NotifyAfter = 1,
    keep_days: Annotated[int, typer.Option(min=1, metavar="DAYS", help="How long runs are kept in the database.")] = 30,
    stalled_after: Annotated[str, typer.Option(metavar="DURATION", help="A worker silent for so long is dead.")] = "1m",
) -> int:
    """Run PROFILEs from a queue in PostgreSQL, together with other workers: one lock per mailbox, no double probing.

    Each worker of one vantage point is given the same profiles. SIGTERM (on Windows Ctrl-C or Ctrl-Break) ends the
    runs that are under way, their clean-up included; the jobs of a worker that was killed are taken up by the others.
    """
    from probe.cli.serve import EXTRA, endpoint, is_full, positive

    option.require_extra("probe worker", "queue", (*EXTRA, "procrastinate", "psycopg"))
    from probe.observe.connection.ourselves import machine_name
    from probe.serve.moments import WrongInterval, checked
    from probe.serve.queue import Settings, prepare
    from probe.state.postgres import Unreachable, make_schema

    conninfo = connection_string(database_env)
    try:
        if init:
            make_schema(conninfo)
            _run_loop(prepare(conninfo))
            print("probe worker: the tables are there", file=sys.stderr)
            return 0
        settings = Settings(
            conninfo, vantage or machine_name(), positive("--interval", interval), concurrency,
            positive("--stalled-after", stalled_after),
        )  # fmt: skip
        web: Web = {
            "web_config": web_config,
            "allow_host": tuple(allow_host or ()),
            "allow_anyone": allow_anyone,
            "full_metrics": is_full(metrics),
            "notify_after": notify_after,
        }
        checked(settings.interval)  # a wrong interval is reported before the database is asked anything
        return _run_loop(_work(list(profiles or ()), settings, endpoint(listen), web, keep_days))
    except Unreachable as error:
        raise typer.BadParameter(f"{error} (which database: --database-env, PGHOST, PGSERVICE)") from None
    except WrongInterval as error:
        raise typer.BadParameter(f"--interval: {error}") from None


def _run_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run in an event loop that psycopg takes: on Windows it refuses the default one, the Proactor."""
    factory = asyncio.SelectorEventLoop if sys.platform == "win32" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def connection_string(variable: str | None) -> str:
    """What that variable holds, hidden from every command that is started; empty without one. Raises a usage error."""
    if variable is None:
        return ""
    if not os.environ.get(variable):
        raise typer.BadParameter(f"--database-env: the environment has no {variable}")
    hide_from_commands(variable)
    return os.environ[variable]


async def _work(profiles: list[str], settings: "Settings", where: tuple[str, int], web: Web, keep_days: int) -> int:
    from probe.cli.serve import answer, open_service
    from probe.report import Report
    from probe.serve import service as serving
    from probe.serve.queue import make_app, work
    from probe.state.postgres import Postgres, Unreachable

    place = Postgres(settings.conninfo)
    ours = ("submission_probe_run", "submission_probe_mailbox", "submission_probe_lost", "submission_probe_shown")
    if not place.has_tables(*ours, "procrastinate_jobs"):
        raise typer.BadParameter("the database has not all our tables: run `probe worker --init` once")
    # Results are written from a thread of their own, so over a connection of their own.
    results = Postgres(settings.conninfo)

    def store(reports: Sequence[Report]) -> str | None:
        try:
            results.add_runs(reports, settings.vantage, keep_days)
        except Unreachable as error:
            return f"this run is not in the database: {error}"
        return None

    service = open_service(
        serving.Settings(
            profiles,
            interval=None,
            concurrency=settings.concurrency,
            place=place,
            store=store,
            listen=where[0],
            collects=False,
            vantage=settings.vantage,
            **web,
        )
    )
    stopped = asyncio.Event()
    app = make_app(settings, lambda name: _run(service, name))
    answering = asyncio.create_task(answer(service, *where, stopped, f"vantage point {settings.vantage}"))
    try:
        await work(app, settings, service.targets, stopped, service.note_queue)
    finally:
        stopped.set()
        await answering
    return 0


async def _run(service: "Service", name: str) -> None:
    """One job: account for what an earlier, killed run left, then run."""
    target = service.targets.get(name)
    if target is not None:
        await service.runner.collect(target)
        await service.runner.run(target)
