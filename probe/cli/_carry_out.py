"""`probe run`, once its options are read: prepare, run, judge by -w and -c, compare, show, store, and say how it ended."""

import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from probe.cli import EXIT_INTERRUPTED
from probe.cli._ending import BEFORE, LAST, UnderWay, hold_signals, raise_on_signals
from probe.cli._ping import ping
from probe.cli._runs import Piece, Ran, Runs, in_a_row
from probe.plain import dataclass

if TYPE_CHECKING:
    from probe.judge._ranges import Limits
    from probe.profile import Profile
    from probe.report import Report
    from probe.report.comparison import Comparison
    from probe.report.statistics import PastRun
    from probe.tasks.plan import Plan


@dataclass(frozen=True)
class Results:
    """What is to be done with the reports."""

    output: str = "text"
    files: Sequence[tuple[str, Path]] = ()
    verbose: bool = False
    quiet: bool = False
    # -w and -c.
    ranges: "Mapping[str, Limits]" = field(default_factory=dict)
    allow_warnings: bool = False
    # An earlier saved run to compare with (JSON), and the changes that are expected.
    against: "Mapping[str, object] | None" = None
    expected: Sequence[tuple[str, str]] = ()
    # The file to store the runs in; None: nowhere.
    history: Path | None = None
    otel: bool = False
    # An alarm at this many failures in a row.
    notify_after: int = 1


def carry_out(
    profiles: Sequence["Profile"], plans: Sequence["Plan"], runs: Runs, results: Results, *, ping_at: str | None = None
) -> int:
    """Run the plans, write every output, and return the exit status. A request to end is heeded at any time, and reported."""
    started = datetime.now(UTC)
    try:
        ready = _ready(plans, profiles, runs, ping_at)
        started = datetime.now(UTC)
        ran = _run(ready, profiles, runs, quiet=results.quiet)
    except KeyboardInterrupt:
        hold_signals()
        ran = _never_begun(plans, profiles)
    reports = _counted(_within(ran.reports, results.ranges), plans, results.notify_after)
    seconds = (datetime.now(UTC) - started).total_seconds()
    compared = _compared(reports, started, seconds, results)
    _deliver(reports, ran.before, started, seconds, compared, results)
    raise_on_signals()
    _store([*ran.before, *reports], results)
    code = EXIT_INTERRUPTED if ran.interrupted else _exit_code(reports, compared, allow_warnings=results.allow_warnings)
    ping(ping_at, "" if code in (0, 1) else "/fail")
    return code


def _ready(plans: Sequence["Plan"], profiles: Sequence["Profile"], runs: Runs, ping_at: str | None) -> list["Plan"]:
    """The plans with their credentials, at the time at which the runs are to begin. Raises ProfileError."""
    from probe.tasks.prepare import prepare_all

    ready = prepare_all(plans, profiles, try_again=runs.try_again)
    if runs.jitter:
        time.sleep(random.uniform(0, runs.jitter))  # noqa: S311  spreads load, hides nothing
    ping(ping_at, "/start")
    return ready


def _run(plans: Sequence["Plan"], profiles: Sequence["Profile"], runs: Runs, *, quiet: bool) -> Ran:
    """The runs, with the stages under way on a terminal meanwhile."""
    from probe.cli import _live

    under_way = UnderWay(time.monotonic)
    LAST.instead(under_way.words)
    with _live.progress([plan.profile for plan in plans], shown=not quiet) as watches:
        noting = [under_way.watch(plan.target, watch) for plan, watch in zip(plans, watches, strict=True)]
        pieces = list(map(Piece, plans, profiles, noting))
        return asyncio.run(in_a_row(pieces, runs, _not_counted if quiet else _not_yet))


def _never_begun(plans: Sequence["Plan"], profiles: Sequence["Profile"]) -> Ran:
    """Interrupted while a secret was fetched, or before the loop listened."""
    from probe.tasks.run import unproven

    reports = [unproven(plan, profile, BEFORE, interrupted=True) for plan, profile in zip(plans, profiles, strict=True)]
    return Ran(reports, [], interrupted=True)


def _not_counted(_reports: Sequence["Report"]) -> None:
    """With --quiet an attempt that was not well is not shown."""


def _not_yet(reports: Sequence["Report"]) -> None:
    """An attempt that was not well, on stderr: stdout is for the result."""
    from probe.output.text import headline

    for report in reports:
        print(f"not yet: {headline(report)}", file=sys.stderr, flush=True)


def _within(reports: list["Report"], ranges: "Mapping[str, Limits]") -> list["Report"]:
    """The reports, judged by the ranges of -w and -c too."""
    if not ranges:
        return reports
    from probe.judge._verdict import judge_ranges

    return [judge_ranges(report, ranges) for report in reports]


def _counted(reports: list["Report"], plans: Sequence["Plan"], notify_after: int) -> list["Report"]:
    """The reports with how many failures in a row there were, and whether that is an alarm yet."""
    if notify_after < 2:
        return reports
    from probe.state.place import files
    from probe.tasks.notify import counted

    known = {(plan.profile, plan.target.host, plan.target.port): plan.probed for plan in plans}

    def probed(report: "Report") -> str:
        return known.get((report.profile, report.target.host, report.target.port), report.profile)

    reports, remark = counted(reports, probed, notify_after, files())
    if remark:
        print(f"probe: --notify-after: {remark}", file=sys.stderr)
    return reports


def _compared(reports: Sequence["Report"], started: datetime, seconds: float, results: Results) -> "Comparison | None":
    if results.against is None:
        return None
    from probe.cli.compare import comparison
    from probe.report.as_json import to_json

    after = to_json(reports, started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), seconds=seconds)
    return comparison(results.against, after, list(results.expected))


def _deliver(
    reports: Sequence["Report"], before: Sequence["Report"], started: datetime, seconds: float, compared: "Comparison | None",
    results: Results,
) -> None:  # fmt: skip
    from probe.cli import _show

    attempts = 1 + len({report.started for report in before}) if before else 1
    _show.show(
        reports, started, seconds, output=results.output, files=results.files, verbose=results.verbose, quiet=results.quiet,
        allow_warnings=results.allow_warnings, comparison=compared, attempts=attempts, history=_past(reports, results),
    )  # fmt: skip


def _past(reports: Sequence["Report"], results: Results) -> "list[PastRun]":
    """Earlier runs, for the one output that plots them."""
    if results.history is None or "html" not in (results.output, *(name for name, _ in results.files)):
        return []
    from probe.state.history import plotted

    return plotted(results.history, [report.profile for report in reports])


def _store(reports: Sequence["Report"], results: Results) -> None:
    """In the history and with OpenTelemetry's collector; neither changes a verdict."""
    if results.history is not None:
        from probe.state.history import add

        if remark := add(results.history, reports):
            print(f"probe: {remark}; the verdict stands", file=sys.stderr)
    if results.otel:
        from probe.output._opentelemetry import export_over_http

        if not export_over_http(reports):
            refused = "the trace was not exported: the collector did not take it"
            print(f"probe: --otel: {refused}; the verdict stands", file=sys.stderr)


def _exit_code(reports: Sequence["Report"], compared: "Comparison | None", *, allow_warnings: bool) -> int:
    """The runs' own, or the comparison's where that is worse."""
    from probe.report import EXIT_CODES, exit_code, worst_verdict

    code = exit_code(reports, allow_warnings=allow_warnings)
    if compared is None:
        return code
    worst = EXIT_CODES[worst_verdict([compared.verdict, *(report.alarms for report in reports)])]
    return 0 if worst == EXIT_CODES["warning"] and allow_warnings else worst
