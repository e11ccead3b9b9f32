"""`probe serve`: the exporter with a schedule of its own."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli import _options as option
from probe.cli._signals import on_hangup, on_stop
from probe.cli._state import can_keep

if TYPE_CHECKING:
    from probe.report import Report
    from probe.serve.http import Server
    from probe.serve.service import Service, Settings

    Store = Callable[[Sequence[Report]], str | None]

EXTRA = ("starlette", "uvicorn", "prometheus_client", "yaml", "bcrypt")


AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A further name by which it is asked (Host), where there are no users; repeatable."),
]
NotifyAfter = Annotated[int, typer.Option(min=1, metavar="N", help="submission_probe_alarm is 1 from the Nth failure in a row on.")]
AllowAnyone = Annotated[bool, typer.Option("--allow-anyone", help="Listen off loopback though everybody may start runs there.")]


MetricsSet = Annotated[
    str, typer.Option(metavar="usual|full", help="Of /metrics: what our alert rules and dashboard use, or every series there is.")
]


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    profiles: option.Profiles = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")] = "127.0.0.1:9587",
    interval: Annotated[str, typer.Option(metavar="DURATION|none", help="How often each profile runs by itself.")] = "5m",
    web_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TLS and basic authentication, as in every Prometheus exporter.")
    ] = None,
    allow_host: AllowHost = None,
    allow_anyone: AllowAnyone = False,
    concurrency: option.Concurrency = 10,
    metrics: MetricsSet = "usual",
    history: option.History = None,
    notify_after: NotifyAfter = 1,
    set: option.Set = None,
) -> int:
    """Run each PROFILE every so often, and show Prometheus and people how it goes. Without PROFILE: all of your own.

    `/` is a status page, `/metrics` what came of the runs, `/probe?target=PROFILE` one run now; `/healthz` and `/readyz` want no
    password. A POST to `/-/reload` (and SIGHUP, where the system has it) reads profiles, secrets and web-config again.
    Ctrl-C, SIGTERM and, on Windows, Ctrl-Break or the end of the console end what is under way, its clean-up included.
    """
    option.require_extra("probe serve", "serve", EXTRA)
    from probe.cli.run import history_file
    from probe.profile.options import overlays
    from probe.serve.service import Settings

    host, port = endpoint(listen)
    every = None if interval == "none" else positive("--interval", interval)
    settings = Settings(
        tuple(profiles or ()), tuple(overlays({"set": set})), every, concurrency,
        store=_kept_in(history_file(history, keeps=can_keep())), web_config=web_config,
        notify_after=notify_after, listen=host, allow_host=tuple(allow_host or ()), allow_anyone=allow_anyone,
        full_metrics=is_full(metrics),
    )  # fmt: skip
    return asyncio.run(_serve(settings, host, port))


def _kept_in(history: Path | None) -> "Store | None":
    if history is None:
        return None
    from probe.state.history import add

    return partial(add, history)


def endpoint(text: str) -> tuple[str, int]:
    """Host and port to listen on; unlike a profile's endpoint, port 0 is one. Raises a usage error."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535 or not host.strip("[]"):
        raise typer.BadParameter(f"--listen: expected HOST:PORT, such as 127.0.0.1:9587 or [::1]:9587, got {text!r}")
    return host.strip("[]"), int(port)


def is_full(metrics: str) -> bool:
    """Raises a usage error."""
    if metrics not in ("usual", "full"):
        raise typer.BadParameter(f"--metrics: expected usual or full, got {metrics!r}")
    return metrics == "full"


def positive(name: str, text: str) -> float:
    """At least a second. Raises a usage error."""
    value = option.duration(name, text)
    if value < 1:
        raise typer.BadParameter(f"{name}: at least 1s")
    return value


async def _serve(settings: "Settings", host: str, port: int) -> int:
    service = open_service(settings)
    await answer(service, host, port, asyncio.Event(), f"every {settings.interval:g} s" if settings.interval else "when asked")
    return 0


def open_service(settings: "Settings") -> "Service":
    """Raises a usage error for a web-config file that is wrong, ProfileError for profiles."""
    from probe.serve.service import Service
    from probe.serve.webconfig import WebConfigError

    try:
        return Service(settings)
    except WebConfigError as error:
        raise typer.BadParameter(f"--web-config: {error}") from None


async def answer(service: "Service", host: str, port: int, stopped: asyncio.Event, how: str) -> None:
    """Answer over HTTP until a signal, or whoever else sets `stopped`; then end what is under way."""
    from probe.serve.app import make_app
    from probe.serve.http import CannotListen, make_server, serve

    server = make_server(
        make_app(service), host, port, lambda: service.web, lambda address: _say(address, service, how),
        service.settings.concurrency,
    )  # fmt: skip
    on_stop(stopped.set)
    on_hangup(service.reload)
    ending = asyncio.create_task(_end(stopped, service, server))
    try:
        await serve(server)
    except CannotListen as error:
        raise typer.BadParameter(f"--listen: {error}") from None
    finally:
        stopped.set()
        await ending


def _say(address: str, service: "Service", how: str) -> None:
    from probe.serve.origin import is_loopback

    if not service.web.guarded and not is_loopback(service.settings.listen):
        print("probe: warning: everybody who reaches this address may start runs and read reports", file=sys.stderr)
    print(f"probe: {address} ({len(service.targets)} profiles, {how})", file=sys.stderr, flush=True)


async def _end(stopped: asyncio.Event, service: "Service", server: "Server") -> None:
    await stopped.wait()
    await service.finish()
    server.should_exit = True
