"""`probe history`: past runs as a table, and what they add up to."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli import _options as option
from probe.cli import _out
from probe.cli._console import columns

if TYPE_CHECKING:
    from probe.report.drift import Service
    from probe.report.statistics import PastRun
    from probe.state.history import Row


def register(app: typer.Typer) -> None:
    app.command("history")(history)


def history(
    profile: Annotated[str | None, typer.Argument(help="Only this profile's runs.", show_default=False)] = None,
    last: Annotated[int, typer.Option(min=1, help="How many runs.")] = 50,
    file: Annotated[Path | None, typer.Option("--history", metavar="FILE", help="Another store than the usual one.")] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Plot delivery times in the terminal instead of the table.")] = False,
    stages: Annotated[bool, typer.Option("--stages", help="Show percentiles of every stage instead of the table.")] = False,
    export: Annotated[str | None, typer.Option(metavar="jsonl", help="Whole runs, one JSON object a line.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with a plot.")] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the plot alone, as a picture.")] = None,
    changes: Annotated[
        bool, typer.Option("--changes", help="What changed when: TLS, certificates, mechanisms, keywords, software, addresses.")
    ] = False,
    output: Annotated[str, typer.Option("-o", "--output", metavar="text|json", help="What --changes prints.")] = "text",
    database_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="--changes of the workers' runs: the variable with the connection string.")
    ] = None,
) -> int:
    """Show past runs from the local store: a table, delivery times as a sparkline, percentiles, failures."""
    from probe.state import history as store

    if export not in (None, "jsonl"):
        raise typer.BadParameter(f"--export knows jsonl, got {export!r}")
    if database_env is not None and not changes:
        raise typer.BadParameter("--database-env goes with --changes; the workers' runs are in the table submission_probe_run")
    if output not in ("text", "json") or (output == "json" and not changes):
        raise typer.BadParameter(f"-o {output}: there are text, json, which go with --changes; whole runs: --export jsonl")
    try:
        if changes:
            found = _of_workers(database_env, profile) if database_env else store.services(file or _usual(), profile)
            _changes(found, last, output, one=profile is not None and not database_env)
            return 0
        path = file or _usual()
        if export:
            _out.data("".join(json.dumps(report) + "\n" for report in store.reports(path, profile, last=last)))
            return 0
        rows = store.rows(path, profile, last=last)
        if html or svg:
            _write(rows, profile, html, svg)
            return 0
        lines = [*_plots(rows)] if plot else [] if stages else table(rows)
        if stages:
            lines += [*([""] if lines else []), *_stages(store.reports(path, profile, last=last))]
    except store.Unusable as error:
        raise typer.BadParameter(str(error)) from None
    _out.write("".join(f"{line}\n" for line in lines or ["no runs"]))
    return 0


def _of_workers(database_env: str, profile: str | None) -> "list[Service]":
    """What servers showed to `probe worker`. Raises a usage error."""
    from probe.cli.worker import connection_string

    option.require_extra("--database-env", "queue", ("psycopg",))
    from probe.state.postgres import Postgres, Unreachable

    try:
        return Postgres(connection_string(database_env)).services(profile)
    except Unreachable as error:
        raise typer.BadParameter(str(error)) from None


def _changes(services: "Sequence[Service]", last: int, output: str, *, one: bool) -> None:
    """What changed when: the latest so many changes, oldest first."""
    from probe.output._drift import lines
    from probe.report.changes import changes, changes_to_json

    found = changes(services)
    if output == "json":
        _out.data(json.dumps(changes_to_json(found, last), indent=2) + "\n")
        return
    several = {key for key, number in Counter((each.profile, each.leg, each.host) for each in services).items() if number > 1}
    _out.write("".join(f"{line}\n" for line in lines(found[-last:], profiles=not one, several=several)) or "no changes\n")
    if len(found) > last:
        print(f"probe: {len(found) - last} earlier changes are not shown (--last {len(found)})", file=sys.stderr)


def _usual() -> Path:
    from probe.state.directory import HISTORY, NOWHERE, state_directory

    if state_directory() == NOWHERE:
        raise typer.BadParameter("no home directory is known for this user, so there is no history; name one with --history FILE")
    return state_directory() / HISTORY


def _write(rows: "Sequence[Row]", profile: str | None, html: Path | None, svg: Path | None) -> None:
    from probe.output._history import page, picture
    from probe.state.files import write_atomically

    runs = _runs(rows)
    if html:
        write_atomically(html, page(runs, profile))
    if svg:
        write_atomically(svg, picture(runs))


def table(rows: "Sequence[Row]") -> list[str]:
    """One line a run, then one a profile: count, failures, delivery's percentiles and sparkline."""
    from probe.output._past_runs import summary, table

    if not rows:
        return []
    width = columns(sys.stdout)
    lines = [*table(_runs(rows), [row.failed_stage for row in rows], width), ""]
    return lines + [line for name, runs in _by_profile(rows) for line in summary(name, runs, width)]


def _plots(rows: "Sequence[Row]") -> Iterator[str]:
    from probe.output._past_runs import plot

    for index, (name, runs) in enumerate(_by_profile(rows)):
        if index:
            yield ""
        yield from plot(name, runs, columns(sys.stdout) or 100)


def _stages(reports: Iterator[dict[str, object]]) -> list[str]:
    from probe.output._past_runs import spreads
    from probe.output._safe import safe
    from probe.report.statistics import stage_seconds

    by_profile: dict[str, list[dict[str, object]]] = {}
    for report in reports:
        by_profile.setdefault(str(report["profile"]), []).append(report)
    lines: list[str] = []
    for name, group in by_profile.items():
        lines += [*([""] if lines else []), f"{safe(name)}: {len(group)} runs", *spreads(stage_seconds(group))]
    return lines


def _runs(rows: "Sequence[Row]") -> "list[PastRun]":
    from probe.state.history import plot

    return [plot(row) for row in rows]


def _by_profile(rows: "Sequence[Row]") -> "Iterator[tuple[str, list[PastRun]]]":
    for name in dict.fromkeys(row.profile for row in rows):
        yield name, _runs([row for row in rows if row.profile == name])
