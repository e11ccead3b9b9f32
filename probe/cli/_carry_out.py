"""Runs as the command line wishes them: once, in a row, until all is well; shown, compared, stored."""

import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.profile import Profile, ProfileError
    from probe.report import Report
    from probe.report.comparison import Comparison
    from probe.tasks.plan import Plan
    from probe.tasks.prepare import Session

PING_SECONDS = 5.0


@dataclass(frozen=True)
class Wish:
    """What the options of `probe run` ask for beyond the profile. Times in seconds; `history` None keeps nothing."""

    output: str = "text"
    files: Sequence[tuple[str, Path]] = ()
    concurrency: int = 10
    allow_warnings: bool = False
    try_again: bool = False
    verbose: bool = False
    quiet: bool = False
    repeat: int = 1
    interval: float = 1.0
    wait_seconds: float | None = None
    against: Any = None
    expected: list[tuple[str, str]] = field(default_factory=list)
    history: Path | None = None
    collect: bool = False
    send_only: bool = False
    jitter: float = 0.0
    ping: str | None = None
    otel: bool = False
    ranges: Mapping[str, Any] = field(default_factory=dict)


def carry_out(profiles: Sequence["Profile"], plans: Sequence["Plan"], wish: Wish) -> int:
    """Run the plans, write every output, and return the exit status."""
    from probe.cli import _live, _show

    ready = _ready(plans, profiles, wish)
    if wish.jitter:
        time.sleep(random.uniform(0, wish.jitter))  # noqa: S311  spreads load, hides nothing
    _ping(wish, "/start")
    started = datetime.now(UTC)
    with _live.progress([plan.profile for plan in ready], shown=not wish.quiet) as watches:
        reports, before = asyncio.run(_run(ready, profiles, watches, wish))
    reports = _within(reports, wish)
    seconds = (datetime.now(UTC) - started).total_seconds()
    compared = _compared(reports, started, seconds, wish)
    attempts = 1 + len({report.started for report in before}) if before else 1
    _show.show(
        reports, started, seconds, output=wish.output, files=wish.files, verbose=wish.verbose, quiet=wish.quiet,
        comparison=compared, attempts=attempts, history=_past(reports, wish),
    )  # fmt: skip
    _keep([*before, *reports], wish)
    if wish.otel:
        _export([*before, *reports])
    code = _exit_code(reports, compared, wish)
    _ping(wish, "" if code in (0, 1) else "/fail")
    return code


def _ready(plans: "Sequence[Plan]", profiles: "Sequence[Profile]", wish: Wish) -> "list[Plan]":
    """The plans with their credentials; those that cannot be had leave a plan `unready`, and the others go on.

    Raises ProfileError when no run can begin.
    """
    from concurrent.futures import ThreadPoolExecutor

    from probe.profile import ProfileError
    from probe.state.place import files
    from probe.tasks.credentials import asks_somebody
    from probe.tasks.prepare import prepared

    place = files()

    def one(plan: "Plan", profile: "Profile") -> "Plan | ProfileError":
        try:
            return prepared(plan, profile, place, try_again=wish.try_again)
        except ProfileError as error:
            return error

    if len(plans) == 1:
        return _those_that_can(plans, [one(plans[0], profiles[0])])
    # One source's seconds are not every profile's; but questions to a person come one at a time, and first.
    asked = {plan.profile: one(plan, profile) for plan, profile in zip(plans, profiles, strict=True) if asks_somebody(profile)}
    with ThreadPoolExecutor(max(1, len(plans)), "secrets") as pool:
        pairs = zip(plans, profiles, strict=True)
        found = list(pool.map(lambda pair: asked[pair[0].profile] if pair[0].profile in asked else one(*pair), pairs))
    return _those_that_can(plans, found)


def _those_that_can(plans: "Sequence[Plan]", found: "Sequence[Plan | ProfileError]") -> "list[Plan]":
    from dataclasses import replace

    from probe.profile import ProfileError

    errors = [error for error in found if isinstance(error, ProfileError)]
    if len(errors) == len(plans):
        raise ProfileError(dict.fromkeys(problem for error in errors for problem in error.problems))
    return [
        replace(plan, unready=str(ready)) if isinstance(ready, ProfileError) else ready
        for plan, ready in zip(plans, found, strict=True)
    ]


def _within(reports: "list[Report]", wish: Wish) -> "list[Report]":
    """The reports, judged by the ranges of -w and -c too."""
    if not wish.ranges:
        return reports
    from probe.judge._verdict import judge_ranges

    return [judge_ranges(report, wish.ranges) for report in reports]


def _ping(wish: Wish, end: str) -> None:
    """Ping a dead-man's switch (healthchecks' form: /start, nothing for success, /fail). It never changes a verdict."""
    if wish.ping is None:
        return
    import urllib.request

    try:
        if not wish.ping.startswith(("https://", "http://")):
            raise ValueError("not an http(s) address")
        with urllib.request.urlopen(wish.ping.rstrip("/") + end, timeout=PING_SECONDS) as answer:  # noqa: S310  checked above
            answer.read(1024)
    except (OSError, ValueError) as error:
        # The address itself is a secret of sorts: whoever has it can silence the switch.
        print(f"probe: --ping{end}: no answer ({type(error).__name__}); the verdict stands", file=sys.stderr)


def _compared(reports: "Sequence[Report]", started: datetime, seconds: float, wish: Wish) -> "Comparison | None":
    if wish.against is None:
        return None
    from probe.cli.compare import comparison
    from probe.report.as_json import to_json

    after = to_json(reports, started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), seconds=seconds)
    return comparison(wish.against, after, wish.expected)  # type: ignore[no-any-return]


def _past(reports: "Sequence[Report]", wish: Wish) -> list[dict[str, object]]:
    """Earlier runs, for the one output that plots them."""
    if wish.history is None or "html" not in (wish.output, *(name for name, _ in wish.files)):
        return []
    from probe.state.history import plotted

    return plotted(wish.history, [report.profile for report in reports])


def _keep(reports: "Sequence[Report]", wish: Wish) -> None:
    if wish.history is None:
        return
    from probe.state.history import add

    remark = add(wish.history, reports)
    if remark:
        print(f"probe: {remark}; the verdict stands", file=sys.stderr)


def _export(reports: "Sequence[Report]") -> None:
    """To OpenTelemetry. It never changes a verdict."""
    from probe.output._opentelemetry import export_over_http

    if not export_over_http(reports):
        print("probe: --otel: the trace was not exported: the collector did not take it; the verdict stands", file=sys.stderr)


def _exit_code(reports: "Sequence[Report]", compared: "Comparison | None", wish: Wish) -> int:
    """The runs' own, or the comparison's where that is worse."""
    from probe.report import EXIT_CODES, EXIT_INTERRUPTED, exit_code, worst_verdict

    code = exit_code(reports, allow_warnings=wish.allow_warnings)
    if compared is None or code == EXIT_INTERRUPTED:
        return code
    worst = EXIT_CODES[worst_verdict([compared.verdict, *(report.verdict for report in reports)])]
    return 0 if worst == EXIT_CODES["warning"] and wish.allow_warnings else worst


async def _run(
    plans: Sequence["Plan"], profiles: Sequence["Profile"], watches: Sequence[Any], wish: Wish
) -> tuple[list["Report"], list["Report"]]:
    """(the reports to show, earlier attempts of --wait-until-ok)"""
    from probe.cli._signals import interrupt_on_signals
    from probe.tasks.repeat import repeat, wait_until_ok

    interrupt = interrupt_on_signals()

    async def once() -> list["Report"]:
        return await _all_once(plans, profiles, watches, wish, interrupt)

    if wish.wait_seconds is not None:
        return await wait_until_ok(once, wish.wait_seconds, wish.interval, interrupt, lambda latest: _tell_attempt(latest, wish))
    return await repeat(once, wish.repeat, wish.interval, interrupt), []


def _tell_attempt(reports: "Sequence[Report]", wish: Wish) -> None:
    """An attempt that was not well, on stderr: stdout is for the result."""
    from probe.output.text import headline

    for report in reports if not wish.quiet else ():
        print(f"not yet: {headline(report)}", file=sys.stderr, flush=True)


async def _collected(plan: "Plan", profile: "Profile", wish: Wish, session: "Session") -> list["Report"]:
    """What came of earlier messages; then, with --send-only, the next one."""
    from dataclasses import replace

    from probe.judge._verdict import judge
    from probe.tasks.collect import collect
    from probe.tasks.run import observe

    reports = [await collect(plan, profile)]
    if wish.send_only:
        sending = replace(plan, readers=(), send_only=True, stages=tuple(name for name in plan.stages if name[:5] == "smtp."))
        reports.append(judge(await observe(sending, session), profile))
    return reports


async def _all_once(
    plans: Sequence["Plan"],
    profiles: Sequence["Profile"],
    watches: Sequence[Any],
    wish: Wish,
    interrupt: asyncio.Event,
) -> list["Report"]:
    from dataclasses import replace

    from probe.tasks.each_address import observe_each
    from probe.tasks.prepare import Session
    from probe.tasks.run import unproven

    turns, session = asyncio.Semaphore(wish.concurrency), Session(interrupt=interrupt)

    async def one(plan: "Plan", profile: "Profile", watch: Any) -> list["Report"]:
        async with turns:
            if plan.unready:
                return [unproven(plan, profile, plan.unready)]
            if wish.collect:
                return await _collected(plan, profile, wish, session)
            return await observe_each(plan, profile, replace(session, watch=watch))

    each = await asyncio.gather(*(map(one, plans, profiles, watches)))
    return [report for reports in each for report in reports]
