"""`probe run`: carry out runs and tell of them."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli import _options as option

if TYPE_CHECKING:
    from probe.plan import Plan
    from probe.profile import Profile
    from probe.report import Report


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    profiles: option.Profiles = None,
    output: option.Format = "text",
    report: Annotated[
        list[str] | None, typer.Option(metavar="FORMAT=FILE", help="Also write a report to a file (repeatable).")
    ] = None,
    host: option.Host = None,
    port: option.Port = None,
    security: option.Security = None,
    user: option.User = None,
    password_env: option.PasswordEnv = None,
    password_file: option.PasswordFile = None,
    readback: option.Readback = None,
    connect: option.Connect = None,
    every_address: Annotated[
        bool, typer.Option("--every-address", help="Probe each address behind the name, or each --connect, by itself.")
    ] = False,
    set: option.Set = None,
    ca_file: option.CaFile = None,
    trust_any_certificate: option.TrustAny = False,
    light: Annotated[bool, typer.Option("--light", help="Log on everywhere, send nothing.")] = False,
    no_delete: Annotated[bool, typer.Option("--no-delete", help="Leave the message in the mailbox.")] = False,
    no_pipelining: Annotated[bool, typer.Option("--no-pipelining", help="One command at a time (SMTP, POP3).")] = False,
    timeout: option.Timeout = None,
    try_again: option.TryAgain = False,
    concurrency: Annotated[int, typer.Option(min=1, help="How many targets at a time.")] = 10,
    allow_warnings: Annotated[bool, typer.Option("--allow-warnings", help="Exit 0 when there are only warnings.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; not one packet.")] = False,
    verbose: option.Verbose = False,
    quiet: option.Quiet = False,
) -> int:
    """Send a test message through each PROFILE's server, read it back, and say what is wrong."""
    from probe.cli import _show
    from probe.plan import make_plan

    _show.require_format(output)
    files = [_show.parse_report(text) for text in report or ()]
    settings = option.given(
        host=host,
        port=port,
        security=security,
        user=user,
        password_env=password_env,
        password_file=password_file,
        readback=readback,
        connect=connect,
        every_address=every_address,
        set=set,
        ca_file=ca_file,
        trust_any_certificate=trust_any_certificate,
        timeout=timeout,
    )
    loaded = load_all(_names(profiles, host), settings)
    plans = [make_plan(profile, light=light, delete=not no_delete, pipelining=not no_pipelining) for profile in loaded]
    if dry_run:
        sys.stdout.write(_show.plans(plans, output))
        return 0
    return carry_out(
        loaded, plans, output=output, files=files, concurrency=concurrency, allow_warnings=allow_warnings,
        try_again=try_again, verbose=verbose, quiet=quiet,
    )  # fmt: skip


def _names(profiles: Sequence[str] | None, host: str | None) -> list[str]:
    if profiles:
        return list(profiles)
    if host is None:
        raise typer.BadParameter("name a PROFILE (`probe profiles` lists them), or give --host")
    return ["generic"]


def load_all(names: Sequence[str], settings: dict[str, Any]) -> list["Profile"]:
    """Every profile, or one ProfileError with the problems of all of them."""
    from probe.profile import Problem, ProfileError
    from probe.roundtrip import load_profile

    loaded: list[Profile] = []
    problems: list[Problem] = []
    for name in names:
        try:
            loaded.append(load_profile(name, settings))
        except ProfileError as error:
            problems += error.problems
    if problems:
        raise ProfileError(dict.fromkeys(problems))
    return loaded


def carry_out(
    profiles: Sequence["Profile"],
    plans: Sequence["Plan"],
    *,
    output: str,
    files: Sequence[tuple[str, Path]] = (),
    concurrency: int = 10,
    allow_warnings: bool = False,
    try_again: bool = False,
    verbose: bool = False,
    quiet: bool = False,
) -> int:
    """Run the plans, write every output, and return the exit status."""
    from probe.cli import _live, _show
    from probe.lockout import with_backoff
    from probe.plan import with_credentials
    from probe.report import exit_code

    ready = [with_credentials(plan, profile) for plan, profile in zip(plans, profiles, strict=True)]
    if not try_again:
        ready = [with_backoff(plan) for plan in ready]
    started = datetime.now(UTC)
    with _live.progress([plan.profile for plan in ready], shown=not quiet) as watches:
        reports = asyncio.run(_run_all(ready, profiles, watches, concurrency))
    seconds = (datetime.now(UTC) - started).total_seconds()
    _show.tell(reports, started, seconds, output=output, files=files, verbose=verbose, quiet=quiet)
    return exit_code(reports, allow_warnings=allow_warnings)


async def _run_all(
    plans: Sequence["Plan"], profiles: Sequence["Profile"], watches: Sequence[Any], concurrency: int
) -> list["Report"]:
    from probe.observe.connection import Pace
    from probe.roundtrip import judge, observe

    if any(plan.every_address != "off" for plan in plans):
        from probe.nodes import observe_each

    interrupt = interrupt_on_signals()
    turns, pace = asyncio.Semaphore(concurrency), Pace()

    async def one(plan: "Plan", profile: "Profile", watch: Any) -> list["Report"]:
        async with turns:
            if plan.every_address != "off":
                return await observe_each(plan, profile, interrupt=interrupt, watch=watch, pace=pace)
            return [judge(await observe(plan, interrupt=interrupt, watch=watch, pace=pace), profile)]

    each = await asyncio.gather(*(map(one, plans, profiles, watches)))
    return [report for reports in each for report in reports]


def interrupt_on_signals() -> asyncio.Event:
    """SIGINT and SIGTERM end the runs early, clean-up included; what was done is still reported."""
    import signal

    interrupt = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(name, interrupt.set)
        except NotImplementedError:  # Windows' event loop has no signal handlers
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(interrupt.set))
    return interrupt
