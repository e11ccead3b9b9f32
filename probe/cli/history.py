"""`probe history`: past runs as a table, and what they add up to."""

import json
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli import _out

if TYPE_CHECKING:
    from probe.state.history import Row

_BARS = "▁▂▃▄▅▆▇█"


def register(app: typer.Typer) -> None:
    app.command("history")(history)


def history(
    profile: Annotated[str | None, typer.Argument(help="Only this profile's runs.", show_default=False)] = None,
    last: Annotated[int, typer.Option(min=1, help="How many runs.")] = 50,
    file: Annotated[Path | None, typer.Option("--history", metavar="FILE", help="Another store than the usual one.")] = None,
    export: Annotated[str | None, typer.Option(metavar="jsonl", help="Whole runs, one JSON object a line.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with a plot.")] = None,
) -> int:
    """Show past runs from the local store: a table, delivery times as a sparkline, percentiles, failures."""
    from probe.output._history import page
    from probe.state import history as store
    from probe.state.directory import NOWHERE, state_directory
    from probe.state.files import write_atomically

    if file is None and state_directory() == NOWHERE:
        raise typer.BadParameter("no home directory is known for this user, so there is no history; name one with --history FILE")
    path = file or state_directory() / "history.sqlite"
    if export not in (None, "jsonl"):
        raise typer.BadParameter(f"--export knows jsonl, got {export!r}")
    try:
        if export:
            _out.data("".join(json.dumps(report) + "\n" for report in store.reports(path, profile, last=last)))
            return 0
        found = store.rows(path, profile, last=last)
    except store.Unusable as error:
        raise typer.BadParameter(str(error)) from None
    if html:
        write_atomically(html, page([store.plot(row) for row in found], profile))
        return 0
    _out.write("".join(f"{line}\n" for line in table(found)))
    return 0


def table(rows: "list[Row]") -> list[str]:
    """One line a run, then one a profile: count, failures, delivery's percentiles and sparkline."""
    from probe.output.text import safe

    if not rows:
        return ["no runs"]
    width = max(len(safe(row.profile)) for row in rows)
    lines = [f"{'started':<20}  {'profile':<{width}}  verdict   delivery  failed stage"]
    for row in rows:
        delivery = f"{row.delivery_seconds:7.3f} s" if row.delivery_seconds is not None else f"{'-':>9}"
        line = f"{row.started[:19]}Z  {safe(row.profile):<{width}}  {row.verdict:<8} {delivery}  {row.failed_stage or ''}"
        lines.append(line.rstrip())
    lines.append("")
    for profile in dict.fromkeys(row.profile for row in rows):
        lines.append(_summary(profile, [row for row in rows if row.profile == profile]))
    return lines


def _summary(profile: str, rows: "list[Row]") -> str:
    from probe.output.text import safe

    seconds = [row.delivery_seconds for row in rows if row.delivery_seconds is not None]
    failed = sum(row.verdict in ("critical", "unknown") for row in rows)
    text = f"{safe(profile)}: {len(rows)} runs, {failed} failed"
    if len(seconds) < 2:
        return text
    cuts = quantiles(seconds, n=20, method="inclusive")
    return f"{text}, delivery median {cuts[9]:.3f} s, p95 {cuts[18]:.3f} s, max {max(seconds):.3f} s  {sparkline(seconds)}"


def sparkline(values: list[float]) -> str:
    """The values as bars, lowest to highest."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int((value - low) / span * len(_BARS)))] for value in values[-60:])
