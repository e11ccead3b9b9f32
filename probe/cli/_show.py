"""From reports to stdout and files."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from probe.cli import _out
from probe.cli._console import colours, columns
from probe.cli._ending import LAST
from probe.output import Context, formats, output
from probe.output._changes import NATIVE, as_report

if TYPE_CHECKING:
    from probe.report import Report, Verdict
    from probe.report.comparison import Comparison
    from probe.report.statistics import PastRun
    from probe.tasks.plan import Plan


def require_format(name: str) -> None:
    """Raise a usage error for a format there is not."""
    if name not in formats():
        raise typer.BadParameter(f"no output format {name!r}; there are {', '.join(formats())}")


def parse_report(text: str) -> tuple[str, Path]:
    """`FORMAT=FILE` → (format, path). Raises a usage error."""
    name, equals, file = text.partition("=")
    if not equals or not file:
        raise typer.BadParameter(f"--report takes FORMAT=FILE, got {text!r}")
    require_format(name)
    return name, Path(file)


def show(
    reports: Sequence["Report"],
    started: datetime,
    seconds: float,
    *,
    output: str,
    files: Sequence[tuple[str, Path]],
    verbose: bool,
    quiet: bool,
    allow_warnings: bool = False,
    comparison: "Comparison | None" = None,
    attempts: int = 1,
    history: "Sequence[PastRun]" = (),
) -> None:
    """Write what a command's own runs showed."""
    instant = started.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    context = Context(instant, seconds, transcript=verbose, comparison=comparison, attempts=attempts, history=tuple(history))
    deliver(reports, context, output=output, files=files, quiet=quiet, allow_warnings=allow_warnings)


def deliver(
    reports: Sequence["Report"], context: Context, *, output: str, files: Sequence[tuple[str, Path]], quiet: bool = False,
    allow_warnings: bool = False,
) -> None:  # fmt: skip
    """Write stdout first: the verdict must not be lost because a file cannot be written."""
    # Closed by the caller (`probe run >&-`), stdout is None.
    shown = replace(context, color=output == "text" and colours(sys.stdout), width=columns(sys.stdout))
    silent_on: tuple[Verdict, ...] = ("ok", "warning") if allow_warnings else ("ok",)
    text = _brief(reports, context.comparison, silent_on) if quiet else _text(output, reports, shown)
    if LAST.settle():
        _out.write(text, machine=output != "text")
    for name, path in files:
        _write_file(name, path, _text(name, reports, replace(context, suffix=path.suffix.lower())))


def _text(name: str, reports: Sequence["Report"], context: Context) -> str:
    if context.comparison is not None and name not in NATIVE:
        reports = [*reports, as_report(context.comparison)]
    return output(name).write(reports, context)


def _write_file(name: str, path: Path, text: str) -> None:
    from probe.state.files import write_atomically

    # An output whose readers run as another user says so (`READ_BY_ALL`); the others keep to the umask.
    read_by_all = getattr(output(name), "READ_BY_ALL", False)
    try:
        write_atomically(path, text, whatever_umask=read_by_all)
    except OSError as error:
        print(f"probe: cannot write {path}: {error.strerror or error}; the verdict stands", file=sys.stderr)


def _brief(
    reports: Sequence["Report"], comparison: "Comparison | None", silent_on: Sequence["Verdict"] = ("ok",), most: int = 20
) -> str:
    """For cron's mail: nothing of what is well enough, else at most 20 plain lines."""
    from probe.output._safe import safe
    from probe.output._words import named
    from probe.output.text import comparison_lines, headline
    from probe.report.causes import causes

    lines: list[str] = []
    for report in reports:
        if report.alarms not in silent_on:
            lines.append(headline(report))
            for cause in causes(finding for finding in report.findings if finding.severity != "info"):
                lines.append(f"  {cause.finding.severity} {named(cause)}: {safe(cause.finding.summary)}")
                lines += [f"    do: {safe(step)}" for step in cause.finding.remedy[:1]]
    if comparison is not None and comparison.verdict not in silent_on:
        lines += comparison_lines(comparison)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"… {len(lines) - most + 1} more lines: run without -q"]
    return "".join(f"{line}\n" for line in lines)


def plans(made: Sequence["Plan"], format: str) -> str:
    """What --dry-run shows: the servers, the envelope and the stages of each plan."""
    described = [_plan(plan) for plan in made]
    if format == "json":
        return json.dumps({"schema": "submission-probe/plan/1", "plans": described}, indent=2) + "\n"
    lines: list[str] = []
    for plan in described:
        lines.append(f"{plan['profile']}: from {plan['sender']} to {plan['recipient']}, at most {plan['timeout']:g} s")
        lines += [f"  {side['leg']:<5} {side['host']}:{side['port']} {side['security']}{_via(side)}" for side in plan["servers"]]
        lines.append("  stages: " + " ".join(plan["stages"]))
    return "".join(f"{line}\n" for line in lines)


def _via(side: dict[str, Any]) -> str:
    return f" by way of {', '.join(side['connect'])}" if side["connect"] else ""


def _plan(plan: "Plan") -> dict[str, Any]:
    sides = [plan.submission, *(reader.side for reader in plan.readers)]
    return {
        "profile": plan.profile,
        "sender": plan.sender,
        "recipient": plan.recipient,
        "ehlo": plan.conduct.ehlo or "[this machine's address]",
        "timeout": plan.timeout,
        "delete": plan.conduct.delete,
        "servers": [
            {
                "leg": side.leg,
                "host": side.host,
                "port": side.port,
                "security": side.security,
                "connect": [*([str(side.proxy)] if side.proxy else []), *side.connect],
                "mechanism": side.mechanism,
            }
            for side in sides
        ],
        "stages": list(plan.stages),
    }
