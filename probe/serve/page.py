"""The status page: every profile, how it went lately, and where each run's report is. No script, no network; renews itself."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from probe.output import html
from probe.output._words import least_certificate_days, seconds
from probe.report import worst_verdict
from probe.serve.board import Board, Run, State
from probe.serve.targets import Target

RENEWED_SECONDS = 30


@cache
def _style() -> str:
    return (Path(__file__).parent / "_status.css").read_text(encoding="utf-8")


@cache
def policy() -> str:
    """The page's content-security policy, for its header."""
    return html.policy(_style()) + "; frame-ancestors 'none'"


def page(
    board: Board, targets: Mapping[str, Target], leftovers: Mapping[str, int], failure: str | None, queue: str | None = None
) -> str:
    """The whole page. `failure`: why the last reload kept the old profiles; `queue`: why no run can be taken from it."""
    rows = [_row(target, board.states[name], leftovers.get(name, 0)) for name, target in sorted(targets.items())]
    rows.sort(key=lambda row: ("critical", "unknown", "warning", "ok", "waiting").index(row["verdict"]))
    counted = {word: sum(row["verdict"] == word for row in rows) for word in ("critical", "unknown", "warning", "ok", "waiting")}
    text: str = _template().render(
        style=_style(), rows=rows, counted=counted, now=_clock(time.time()), renewed=RENEWED_SECONDS, failure=failure or "",
        queue=queue or "",
    )  # fmt: skip
    return text


@cache
def _template() -> Any:
    return html.environment(Path(__file__).parent).get_template("_status.html")


def _row(target: Target, state: State, leftovers: int) -> dict[str, Any]:
    latest = state.runs[-1] if state.runs else None
    days = [left for report in state.latest if (left := least_certificate_days(report)) is not None]
    return {
        "name": target.name,
        "server": f"{target.plan.target.host}:{target.plan.target.port}",
        "verdict": _verdict(state),
        "said": _said(state),
        "delivery": "" if latest is None or latest.delivery_seconds is None else seconds(latest.delivery_seconds),
        "days": f"{min(days):.0f}" if days else "",
        "leftovers": leftovers or "",
        "latest": "" if latest is None else _time_of_day(latest.started),
        "well": "never" if state.last_success is None else _clock(state.last_success),
        "next": "" if state.next_run is None else _clock(state.next_run),
        "runs": [_tick(run) for run in reversed(state.runs)],
    }


def _verdict(state: State) -> str:
    """That of the last run, while runs go on and the profile is one."""
    shown = worst_verdict(report.verdict for report in state.latest) if state.latest else "waiting"
    return "unknown" if (state.is_stale or state.fault) and shown != "critical" else shown


def _said(state: State) -> str:
    """The first thing that is wrong, in one line."""
    if state.is_stale:
        return "no run has ended since one was due: the schedule stands still"
    if state.fault:
        return f"the profile cannot be read any more, and is served as it was: {state.fault}"
    for report in state.latest:
        for finding in report.findings:
            if finding.severity != "info":
                return f"{finding.stage}: {finding.summary}"
        if report.error:
            return report.error
    return ""


def _tick(run: Run) -> dict[str, str]:
    delivered = "" if run.delivery_seconds is None else f", delivered in {seconds(run.delivery_seconds)}"
    failed = f", {run.failed_stage} failed" if run.failed_stage else ""
    return {"id": run.id, "verdict": run.verdict, "said": f"{_time_of_day(run.started)} {run.verdict}{failed}{delivered}"}


def _time_of_day(started: str) -> str:
    """Of an RFC 3339 instant in UTC."""
    return started[11:19]


def _clock(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%H:%M:%S")
