"""The status page: every profile, how it went lately, and where each run's report is. No script, no network; renews itself."""

import base64
import hashlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from probe.report import worst_verdict
from probe.serve.board import Board, Run, State
from probe.serve.targets import Target
from probe.tell._words import certificate_days, safe, seconds

RENEWED_SECONDS = 30


@cache
def _style() -> str:
    return (Path(__file__).parent / "_status.css").read_text(encoding="utf-8")


@cache
def policy() -> str:
    """The content-security policy: the page's own style sheet by its hash, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page(board: Board, targets: Mapping[str, Target], leftovers: Mapping[str, int], failure: str | None) -> str:
    """The whole page. `failure`: why the last reload kept the old profiles."""
    rows = [_row(target, board.states[name], leftovers.get(name, 0)) for name, target in sorted(targets.items())]
    rows.sort(key=lambda row: ("critical", "unknown", "warning", "ok", "waiting").index(row["verdict"]))
    counted = {word: sum(row["verdict"] == word for row in rows) for word in ("critical", "unknown", "warning", "ok", "waiting")}
    text: str = _template().render(
        style=_style(), rows=rows, counted=counted, now=_clock(time.time()), renewed=RENEWED_SECONDS, failure=safe(failure or ""),
    )  # fmt: skip
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("_status.html")


def _row(target: Target, state: State, leftovers: int) -> dict[str, Any]:
    latest = state.runs[-1] if state.runs else None
    days = [left for report in state.latest for stage in report.stages if (left := certificate_days(stage)) is not None]
    return {
        "name": safe(target.name),
        "server": safe(f"{target.plan.target.host}:{target.plan.target.port}"),
        "verdict": worst_verdict(report.verdict for report in state.latest) if state.latest else "waiting",
        "said": _said(state),
        "delivery": "" if latest is None or latest.delivery_seconds is None else seconds(latest.delivery_seconds),
        "days": f"{min(days):.0f}" if days else "",
        "leftovers": leftovers or "",
        "latest": "" if latest is None else _clock(_unix(latest.started)),
        "well": "never" if state.last_success is None else _clock(state.last_success),
        "next": "" if state.next_run is None else _clock(state.next_run),
        "runs": [_tick(run) for run in reversed(state.runs)],
    }


def _said(state: State) -> str:
    """The first thing that is wrong, in one line."""
    for report in state.latest:
        for finding in report.findings:
            if finding.severity != "info":
                return safe(f"{finding.stage}: {finding.summary}")
        if report.error:
            return safe(report.error)
    return ""


def _tick(run: Run) -> dict[str, str]:
    delivered = "" if run.delivery_seconds is None else f", delivered in {seconds(run.delivery_seconds)}"
    failed = f", {run.failed_stage} failed" if run.failed_stage else ""
    return {"id": run.id, "verdict": run.verdict, "said": f"{_clock(_unix(run.started))} {run.verdict}{failed}{delivered}"}


def _unix(started: str) -> float:
    return datetime.fromisoformat(started.replace("Z", "+00:00")).timestamp()


def _clock(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%H:%M:%S")
