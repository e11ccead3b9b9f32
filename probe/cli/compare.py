"""`probe compare`: two saved runs, and only what differs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli import _options as option
from probe.cli._given import called, one_path, run_text, text_of
from probe.profile.textfile import NotText

if TYPE_CHECKING:
    from probe.report.comparison import Comparison


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    before: Annotated[Path, typer.Argument(help="A run saved by `probe run -o json`; - for stdin.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="A later one.", show_default=False)],
    output: option.Format = "text",
    report: Annotated[
        list[str] | None, typer.Option(metavar="FORMAT=FILE", help="Also write a report to a file (repeatable).")
    ] = None,
    expect_change: option.ExpectChange = None,
    expectations: option.Expectations = None,
) -> int:
    """Compare two saved runs: what a change changed, with a verdict (0 nothing unwanted, 1 changed, 2 broken)."""
    from probe.cli import _show
    from probe.output import Context
    from probe.report import EXIT_CODES

    _show.require_format(output)
    files = [_show.parse_report(text) for text in report or ()]
    if str(before) == str(after) == "-":
        raise typer.BadParameter("stdin holds one run: give the other one as a file")
    made = comparison(saved(before), saved(after), wanted(expect_change, expectations))
    _show.deliver([], Context(made.after, 0.0, comparison=made), output=output, files=files)
    return EXIT_CODES[made.verdict]


def saved(file: Path) -> dict[str, object]:
    """A run's JSON (or JSON lines), checked. Raises NotARun, or a usage error that says what is wrong with the file."""
    from probe.runs.saved import checked

    try:
        return checked(run_text(one_path(file)), called(file))
    except OSError as error:
        raise typer.BadParameter(f"{called(file)} cannot be read: {error.strerror}") from None
    except NotText as error:
        raise typer.BadParameter(f"{called(file)} {error}") from None


def wanted(given: list[str] | None, file: Path | None) -> list[tuple[str, str]]:
    """The changes that are expected. Raises a usage error."""
    lines = list(given or ())
    if file is not None:
        try:
            lines += [line for line in text_of(file).splitlines() if line.strip() and line.lstrip()[0] != "#"]
        except OSError as error:
            raise typer.BadParameter(f"{file} cannot be read: {error.strerror or error}") from None
        except NotText as error:
            raise typer.BadParameter(f"{file} {error}") from None
    return [_expected(line) for line in lines]


def _expected(line: str) -> tuple[str, str]:
    """KEY and VALUE; a thumbprint as it is compared, however it was printed. Raises a usage error."""
    from probe.report.comparison import CERTIFICATE
    from probe.runs.expected import thumbprint

    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not key:
        raise typer.BadParameter(f"--expect-change takes KEY=VALUE, such as {CERTIFICATE}=THUMBPRINT, got {line!r}")
    _refuse_unknown(key)
    if not value:
        raise typer.BadParameter(f"--expect-change {key}= wants a value; * stands for any")
    of_certificate = key.rpartition(".")[2].lower() == CERTIFICATE
    if of_certificate and value != "*" and thumbprint(value) is None:
        raise typer.BadParameter(f"--expect-change {key}= wants a thumbprint (40 hex digits, or 64 of SHA-256) or *, got {value!r}")
    if of_certificate or key.endswith(f"{CERTIFICATE}.thumbprint"):
        value = thumbprint(value) or value
    return key.lower() if of_certificate else key, value


def _refuse_unknown(key: str) -> None:
    """A key whose first word no run can have is a slip of the pen, and would be an expectation that never comes true."""
    from difflib import get_close_matches

    from probe.runs.expected import FIRST_WORDS
    from probe.tasks.plan import plugins

    word, known = key.partition(".")[0], sorted({*FIRST_WORDS, *plugins()["readback"]})
    if "*" in word or word.lower() in known:
        return
    near = [each for each in known if each.startswith(word.lower())][:1] or get_close_matches(word.lower(), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"it begins with {', '.join(known)}"
    raise typer.BadParameter(f"--expect-change {key}=…: no fact of a run is called {word!r}; {hint}")


def comparison(before: Mapping[str, object], after: Mapping[str, object], expected: list[tuple[str, str]]) -> "Comparison":
    from probe.runs.compare import NotComparable
    from probe.runs.compare import compare as compare_runs

    try:
        return compare_runs(before, after, expected)
    except NotComparable as error:
        raise typer.BadParameter(str(error)) from None
