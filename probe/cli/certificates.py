"""`probe certificates`: every certificate of every profile, port and machine, and which ends next."""

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli import _options as option
from probe.cli import _out
from probe.cli._state import can_keep

if TYPE_CHECKING:
    from probe.profile import Profile
    from probe.report.drift import Service
    from probe.report.fleet import Fleet
    from probe.tasks.certificates import Looked

FORMATS = ("text", "json", "html", "csv", "ics", "prometheus")


def register(app: typer.Typer) -> None:
    app.command("certificates")(certificates)


def certificates(
    profiles: option.Profiles = None,
    from_history: Annotated[
        bool, typer.Option("--from-history", help="Look at no server: what the latest runs have seen.")
    ] = False,
    every_address: option.EveryAddress = False,
    output: Annotated[str, typer.Option("-o", "--output", metavar="|".join(FORMATS), help="What stdout carries.")] = "text",
    report: option.ReportFiles = None,
    history: option.History = None,
    at_once: Annotated[int, typer.Option("--concurrency", min=1, help="How many ports at a time.")] = 30,
    timeout: option.Timeout = None,
    set: option.Set = None,
    ca_file: option.CaFile = None,
    allow_warnings: option.AllowWarnings = False,
    share: Annotated[
        bool, typer.Option("--share", help="Stand-ins for names, hosts, addresses and numbers, to show it to others.")
    ] = False,
) -> int:
    """List the certificates of each PROFILE's servers, what ends next first: TLS only, nobody logs on, no password is needed.

    Without PROFILE: all of your own, with --from-history all that it has. What is seen is stored for `probe history --changes`.

    Exit status: 0 all is well, 1 warnings, 2 one has ended or soon will, or a port cannot be reached, 3 nothing was seen.
    """
    files = [_file(text) for text in report or ()]
    for name in (output, *(name for name, _ in files)):
        _require(name)
    store = _store(history)
    settings = option.given(timeout=timeout, set=set, ca_file=ca_file)
    fleet = _remembered(profiles, store, settings) if from_history else _looked(profiles, settings, store, at_once, every_address)
    if share:
        from probe.runs.share.fleet import shared_fleet

        fleet = shared_fleet(fleet)
    _out.write(_written(output, fleet), machine=output != "text")
    for name, path in files:
        _write_file(path, _written(name, fleet), read_by_all=name == "prometheus")
    return 0 if fleet.exit_code == 1 and allow_warnings else fleet.exit_code


def _file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise typer.BadParameter(f"--report takes FORMAT=FILE, got {text!r}")
    return name, Path(path)


def _require(name: str) -> None:
    if name not in FORMATS:
        raise typer.BadParameter(f"no output format {name!r} here; there are {', '.join(FORMATS)}")
    if name == "ics":
        option.require_extra("-o ics", "calendar", ("icalendar",))


def _store(history: str | None) -> Path | None:
    from probe.cli.run import history_file

    return history_file(history, keeps=can_keep())


def _looked(
    names: Sequence[str] | None, settings: Mapping[str, object], store: Path | None, at_once: int, every_address: bool
) -> "Fleet":  # fmt: skip
    from probe.cli.run import load_all
    from probe.state.history import note
    from probe.tasks import certificates as task

    loaded = load_all(names or _own(), settings)
    began = time.monotonic()
    looked, started, interrupted = asyncio.run(_look(loaded, at_once, every_address))
    seconds = time.monotonic() - began
    reports = task.reports_of(looked, loaded)
    if store is not None and (remark := note(store, reports)):
        print(f"probe: {remark}; what was seen stands", file=sys.stderr)
    services = _services(store, {profile.name for profile in loaded})
    return task.summed_up(looked, loaded, services, started=started, seconds=seconds, interrupted=interrupted)


async def _look(loaded: "Sequence[Profile]", at_once: int, every_address: bool) -> "tuple[list[Looked], str, bool]":
    from probe.cli._signals import interrupt_on_signals
    from probe.tasks.certificates import look
    from probe.tasks.prepare import Session

    interrupt = interrupt_on_signals()
    looked, started = await look(loaded, Session(interrupt=interrupt), at_once=at_once, every_address=every_address)
    return looked, started, interrupt.is_set()


def _own() -> list[str]:
    import os

    from probe.profile import names

    found = [str(path) for _, path, origin, _ in names(os.environ) if origin == "user"]
    if not found:
        raise typer.BadParameter("name a PROFILE: you have none of your own (probe init makes one)")
    return found


def _services(store: Path | None, names: set[str] | None) -> "list[Service]":
    """What the history knows of these profiles; without a history nothing."""
    from probe.state.history import Unusable, services

    if store is None or not store.exists():
        return []
    try:
        return [one for one in services(store) if names is None or one.profile in names]
    except Unusable as error:
        print(f"probe: {error}; without what was before", file=sys.stderr)
        return []


def _remembered(names: Sequence[str] | None, store: Path | None, settings: Mapping[str, object]) -> "Fleet":
    from probe.profile import ProfileError, load_mapping
    from probe.state.history import Unusable, services
    from probe.tasks import certificates as task
    from probe.tasks.plan import plugins
    from probe.tasks.run import load_profile

    if store is None:
        raise typer.BadParameter("--from-history: there is no history here; name one with --history FILE")
    try:
        found = services(store)
    except Unusable as error:
        raise typer.BadParameter(str(error)) from None
    loaded: dict[str, Profile] = {}
    wanted = [Path(name).stem if name.endswith(".toml") else name for name in names or ()]
    for name in [*(names or ()), *(one.profile for one in found if not names)]:
        try:
            profile = load_profile(name, settings)
            loaded[profile.name] = profile
        except ProfileError:
            continue  # what the history has need not be there any more: it is judged by the usual days
    default = load_mapping(
        {"submission": {"host": "localhost"}, "message": {"sender": "a@b", "recipient": "a@b"}}, plugins=plugins()
    )
    kept = [one for one in found if not wanted or one.profile in wanted]
    return task.remembered(kept, loaded, default, datetime.now(UTC))


def _written(name: str, fleet: "Fleet") -> str:
    if name == "json":
        from probe.report.fleet import fleet_to_json

        return json.dumps(fleet_to_json(fleet), indent=2) + "\n"
    if name == "html":
        from probe.output._certificates_page import page

        return page(fleet)
    if name == "ics":
        from probe.output._calendar import calendar

        return calendar(fleet)
    from probe.output import _certificates

    return {"text": _certificates.text, "csv": _certificates.table, "prometheus": _certificates.metrics}[name](fleet)


def _write_file(path: Path, text: str, *, read_by_all: bool) -> None:
    from probe.state.files import write_atomically

    try:
        write_atomically(path, text, whatever_umask=read_by_all)
    except OSError as error:
        print(f"probe: cannot write {path}: {error.strerror or error}; the verdict stands", file=sys.stderr)
