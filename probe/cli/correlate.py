"""`probe correlate`: our transcript of a saved run beside the servers' logs."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli import _out
from probe.cli._given import one_path, paths
from probe.cli.compare import saved
from probe.profile import textfile

if TYPE_CHECKING:
    from probe.runs.correlate.values import Correlation

_MOST_A_LINE = 65_536
_GZIP = b"\x1f\x8b"


def register(app: typer.Typer) -> None:
    app.command("correlate")(correlate)


def correlate(
    run: Annotated[Path, typer.Argument(metavar="RUN.json", help="A run saved by -o json or --report json=FILE.")],
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Exchange protocol logs, mail.log; .gz too.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="text|json", help="What stdout carries.")] = "text",
) -> int:
    """Find a run's sessions in the servers' LOGs, and show both sides in one timeline.

    Exit status: 0 every connection of the run was found, 1 some were not, 3 a file cannot be read.
    """
    from probe.output._safe import safe
    from probe.runs import correlate as keep

    if output not in ("text", "json"):
        raise typer.BadParameter(f"no output format {output!r} here; there are text, json")
    run, logs = one_path(run), paths(logs)
    reports = _reports(run)
    runs = [keep.read_run(report) for report in reports]
    found = [keep.correlate(item, ((_called(path, logs), _lines(path)) for path in logs)) for item in runs]
    done = list(zip(reports, found, strict=True))
    told = _json(done) if output == "json" else "\n".join(safe(line) for pair in done for line in _text(*pair))
    _out.write(f"{told}\n", machine=output == "json")
    return 1 if any(found.missing or not found.matched for _, found in done) else 0


# -- files -------------------------------------------------------------------------------------------------------


def _reports(path: Path) -> list[dict[str, Any]]:
    """Raises NotARun, or a usage error."""
    reports = saved(path)["reports"]
    return reports if isinstance(reports, list) else []


def _called(path: Path, logs: list[Path]) -> str:
    """A log's name; the whole path where two bear one name, as those of Exchange's Front End and Transport do."""
    return path.name if [other.name for other in logs].count(path.name) == 1 else str(path)


def _lines(path: Path) -> Iterator[str]:
    """A log's lines, compressed or not, one at a time; a line longer than any real one is passed over."""
    try:
        with path.open("rb") as raw:
            compressed = raw.peek(2).startswith(_GZIP)
            yield from _split(io.BufferedReader(gzip.GzipFile(fileobj=raw)) if compressed else raw)
    except (OSError, EOFError, zlib.error) as error:
        raise typer.BadParameter(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _split(stream: io.BufferedReader) -> Iterator[str]:
    encoding = textfile.encoding_of(stream.peek(4)[:4])
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="\n")
    whole = True
    while line := text.readline(_MOST_A_LINE):
        ended = line.endswith("\n")
        if whole and (ended or len(line) < _MOST_A_LINE):
            yield line
        whole = ended


# -- what is shown -----------------------------------------------------------------------------------------------


def _text(report: dict[str, Any], found: "Correlation") -> Iterator[str]:
    """As lines; whatever is in them came from others."""
    yield f"{report.get('profile')}  {report.get('started')}  {report.get('verdict')}"
    for item in found.matched:
        yield f"  {item.leg:<5} found: {item.session.key} in {item.session.source} by {', '.join(item.because)}"
    if not found.matched and not found.missing:
        yield "  no connection of this run reached a server: there is nothing to look for"
    for leg in found.missing:
        yield f"  {leg:<5} not found: give the log of that protocol and that time; is logging switched on?"
    for clock in found.clocks:
        yield f"  clock of {clock.source}: {clock.seconds:+.3f} s against ours, give or take {clock.uncertainty:.3f} s"
        if not clock.steady:
            yield "    no one difference fits every line: the clock moved, or some lines are not ours"
    if found.forgotten:
        yield f"  {found.forgotten} lines of other sessions were forgotten to bound memory"
    yield ""
    yield "what the server knew:"
    for label, text in found.knew:
        yield f"  {label}: {text}"
    yield ""
    yield "both sides, in seconds on our clock since the run began:"
    for moment in found.timeline:
        yield f"  {moment.at:9.3f}  {moment.side:<6}  {moment.where:<5}  {moment.event:1}  {moment.text}".rstrip()


def _json(done: list[tuple[dict[str, Any], "Correlation"]]) -> str:
    rows = [
        {
            "id": report.get("id"),
            "profile": report.get("profile"),
            "started": report.get("started"),
            "matched": [
                {"leg": item.leg, "session": item.session.key, "source": item.session.source, "because": list(item.because)}
                for item in found.matched
            ],
            "missing": list(found.missing),
            "clocks": [
                {"source": c.source, "seconds": round(c.seconds, 6), "uncertainty": round(c.uncertainty, 6), "steady": c.steady}
                for c in found.clocks
            ],
            "knew": [{"what": label, "text": text} for label, text in found.knew],
            "timeline": [
                {"at": m.at, "side": m.side, "where": m.where, "direction": m.event, "text": m.text} for m in found.timeline
            ],
            "forgotten": found.forgotten,
        }
        for report, found in done
    ]
    return json.dumps({"schema": "submission-probe/correlation/1", "reports": rows}, indent=2)
