"""Runs in a row: `--repeat` for latency and loss, `--wait-until-ok` just after a change.

Both end with the first refused logon: what refused a password now will refuse it in two seconds, and count.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from probe.report import Report, worst_verdict

Once = Callable[[], Awaitable[list[Report]]]
_NO_FURTHER = {"auth.refused", "auth.suspended"}


async def repeat(once: Once, count: int, interval: float, interrupt: asyncio.Event | None = None) -> list[Report]:
    """`count` runs, `interval` seconds between the end of one and the beginning of the next."""
    reports: list[Report] = []
    for number in range(count):
        if number and await _interrupted(interval, interrupt):
            break
        latest = await once()
        # A node is a target of its own, however often it is probed.
        again = count > 1
        reports += [replace(report, kind="repetition") if again and report.kind == "run" else report for report in latest]
        if _is_final(latest):
            break
    return reports


async def wait_until_ok(
    once: Once,
    seconds: float,
    interval: float,
    interrupt: asyncio.Event | None = None,
    told: Callable[[list[Report]], None] = lambda _: None,
) -> tuple[list[Report], list[Report]]:
    """Run until all is well (or only warnings are left), for at most `seconds`: (the last attempt, those before it).

    `told` hears of each attempt that was not well.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    before: list[Report] = []
    while True:
        latest = await once()
        well = worst_verdict(report.verdict for report in latest) in ("ok", "warning")
        if well or _is_final(latest) or loop.time() + interval >= until:
            return latest, before
        told(latest)
        if await _interrupted(interval, interrupt):
            return latest, before
        before += latest


def _is_final(reports: list[Report]) -> bool:
    return any(report.interrupted or _NO_FURTHER & {finding.id for finding in report.findings} for report in reports)


async def _interrupted(seconds: float, interrupt: asyncio.Event | None) -> bool:
    """Wait; true when an interrupt came meanwhile."""
    if interrupt is None:
        await asyncio.sleep(seconds)
        return False
    try:
        await asyncio.wait_for(interrupt.wait(), seconds)
    except TimeoutError:
        return False
    return True
