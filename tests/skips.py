"""A skip is a failure under `--strict-skips` (as `make test` runs), unless its reason begins with a line of allowed_skips.txt.

It fails in the report itself, not at the end: so it has a name, and reaches the first process from every worker of pytest-xdist.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

ALLOWED_FILE = Path(__file__).with_name("allowed_skips.txt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help=f"a skip is a failure, unless {ALLOWED_FILE.name} has its reason")


def allowed() -> tuple[str, ...]:
    """How a reason may begin."""
    lines = ALLOWED_FILE.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line.strip() and not line.startswith("#"))


@pytest.hookimpl(wrapper=True, trylast=True)  # what this gives back is what pytest's own wrappers made of it
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: pytest.TestReport = yield
    _judge(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report: pytest.CollectReport = yield
    _judge(collector.config, report)
    return report


def _judge(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip that is not allowed into a failure. An expected failure (xfail) is no skip."""
    if not report.skipped or hasattr(report, "wasxfail") or not config.getoption("strict_skips"):
        return
    reason = _reason(report)
    if not reason.startswith(allowed()):
        report.outcome = "failed"
        report.longrepr = f"skipped: {reason}\nThat is a failure here: tests/{ALLOWED_FILE.name} has no such reason."


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """`Skipped: why` is what pytest keeps, behind the file and the line."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud how many did not run."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.write_line(f"{skipped} tests were SKIPPED", red=True)
