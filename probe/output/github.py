"""`github`: annotations of a GitHub Actions step, by workflow commands.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions: `::error title=…::message`. Every line is a command,
so server text never begins one; `%`, carriage return and line feed are escaped, in properties also `:` and `,`. A step shows ten
annotations of a kind, so the worst come first.
"""

from collections.abc import Iterator, Sequence

from probe.output import Context
from probe.output._safe import safe
from probe.output._words import named, outcome, told_once, unexplained, where
from probe.report import Report
from probe.report.causes import causes

_COMMANDS = {"critical": "error", "warning": "warning", "info": "notice", "ok": "notice", "unknown": "error"}


def write(reports: Sequence[Report], context: Context) -> str:
    """One annotation for each cause, with all its places, and one for each verdict, the verdict first."""
    return "".join(f"{line}\n" for report in reports for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    text = [f"{report.verdict.upper()} {safe(report.profile)} {where(report)}: {outcome(report)}"]
    if why := unexplained(report):
        text.append(why)
    yield _command(_COMMANDS[report.verdict], f"submission-probe {safe(report.profile)}", text)
    for cause in causes(report.findings):
        yield _command(_COMMANDS[cause.finding.severity], f"{safe(report.profile)} {named(cause)}", list(told_once(cause)))


def _command(name: str, title: str, lines: list[str]) -> str:
    return f"::{name} title={_property(title)}::{_data(chr(10).join(lines))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
