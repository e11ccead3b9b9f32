"""The runs that `probe run` asks for: of several profiles side by side, once, in a row, or until all is well."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from probe.plain import dataclass

if TYPE_CHECKING:
    from probe.observe.journal import Watch
    from probe.profile import Profile
    from probe.report import Report
    from probe.tasks.plan import Plan
    from probe.tasks.prepare import Session


@dataclass(frozen=True)
class Runs:
    """Which runs, and how often. Times in seconds; `jitter` is the longest wait before the first one."""

    concurrency: int = 10
    try_again: bool = False
    collect: bool = False
    send_only: bool = False
    jitter: float = 0.0
    repeat: int = 1
    interval: float = 1.0
    # Until all is well, for so long at most; None: do not wait.
    wait_seconds: float | None = None


@dataclass(frozen=True)
class Piece:
    """One profile's part: its plan (prepared), and who watches its stages."""

    plan: "Plan"
    profile: "Profile"
    watch: "Watch | None" = None


@dataclass(frozen=True)
class Ran:
    """The reports to show, earlier attempts of --wait-until-ok, and whether somebody ended it early."""

    reports: list["Report"]
    before: list["Report"]
    interrupted: bool = False


async def in_a_row(pieces: Sequence[Piece], runs: Runs, on_attempt: Callable[[list["Report"]], None]) -> "Ran":
    """`on_attempt` gets each attempt that was not well."""
    from probe.cli._ending import LAST, hold_signals
    from probe.cli._signals import interrupt_on_signals
    from probe.tasks.prepare import Session
    from probe.tasks.repeat import repeat, wait_until_ok

    interrupt = interrupt_on_signals(LAST.say)
    session = Session(interrupt=interrupt)

    async def once() -> list["Report"]:
        return await side_by_side(pieces, runs, session)

    if runs.wait_seconds is not None:
        latest, before = await wait_until_ok(once, runs.wait_seconds, runs.interval, interrupt, on_attempt)
    else:
        latest, before = await repeat(once, runs.repeat, runs.interval, interrupt), []
    hold_signals()
    return Ran(latest, before, interrupt.is_set())


async def side_by_side(pieces: Sequence[Piece], runs: Runs, session: "Session") -> list["Report"]:
    """Every profile once, `concurrency` at a time; the reports in the profiles' order."""
    turns = asyncio.Semaphore(runs.concurrency)

    async def one(piece: Piece) -> list["Report"]:
        async with turns:
            return await _reports(piece, runs, session)

    each = await asyncio.gather(*map(one, pieces))
    return [report for reports in each for report in reports]


async def _reports(piece: Piece, runs: Runs, session: "Session") -> list["Report"]:
    from probe.tasks.each_address import observe_each
    from probe.tasks.run import unproven

    if piece.plan.unready:
        return [unproven(piece.plan, piece.profile, piece.plan.unready)]
    if runs.collect:
        return await _collected(piece.plan, piece.profile, session, send=runs.send_only)
    return await observe_each(piece.plan, piece.profile, replace(session, watch=piece.watch))


async def _collected(plan: "Plan", profile: "Profile", session: "Session", *, send: bool) -> list["Report"]:
    """What came of earlier messages; then, with --send-only, the next one."""
    from probe.judge._verdict import judge
    from probe.tasks.collect import collect
    from probe.tasks.run import observe

    reports = [await collect(plan, profile, interrupt=session.interrupt)]
    if send:
        sending = replace(plan, readers=(), send_only=True, stages=tuple(name for name in plan.stages if name[:5] == "smtp."))
        reports.append(judge(await observe(sending, session), profile))
    return reports
