"""`probe report`: render a saved run."""

from pathlib import Path
from typing import Annotated

import typer

from probe.cli import _options as option
from probe.cli._given import called, one_path, run_text
from probe.profile.textfile import NotText


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    file: Annotated[Path | None, typer.Argument(metavar="RUN.json", help="A saved run; stdin without it, or for -.")] = None,
    output: option.Format = "text",
    report: Annotated[
        list[str] | None, typer.Option(metavar="FORMAT=FILE", help="Also write a report to a file (repeatable).")
    ] = None,
    allow_warnings: Annotated[bool, typer.Option("--allow-warnings", help="Exit 0 when there are only warnings.")] = False,
    verbose: option.Verbose = False,
    share: Annotated[
        bool,
        typer.Option("--share", help="Replace names, hosts, addresses and ids by stand-ins, so that it can be shown to anybody."),
    ] = False,
) -> int:
    """Render a saved run (`-o json`, `-o jsonl`) in any format. The exit status is the run's own."""
    from probe.cli import _show
    from probe.output import Context
    from probe.report import exit_code
    from probe.runs.saved import read

    _show.require_format(output)
    files = [_show.parse_report(text) for text in report or ()]
    file = one_path(file) if file is not None else None
    saved = read(_text(file), called(file))
    if share:
        from probe.runs.share import shared

        saved = shared(saved)
    context = Context(saved.started, saved.seconds, transcript=verbose, version=saved.version)
    _show.deliver(saved.reports, context, output=output, files=files)
    return exit_code(saved.reports, allow_warnings=allow_warnings)


def _text(file: Path | None) -> str:
    """The whole input. Raises NotARun."""
    from probe.runs.saved import NotARun

    try:
        return run_text(file)
    except OSError as error:
        raise NotARun(f"cannot read {called(file)}: {error.strerror or error}") from None
    except NotText as error:
        raise NotARun(f"{called(file)} {error}") from None
