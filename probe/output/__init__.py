"""One file an output: reports → text. The folder is the list; a file declares `write(reports, context) -> str`."""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from probe.plain import dataclass
from probe.version import __version__

if TYPE_CHECKING:
    from probe.report import Report
    from probe.report.comparison import Comparison
    from probe.report.statistics import PastRun


@dataclass(frozen=True, slots=True)
class Context:
    """What an output may need besides the reports. `seconds` is the whole command's; `version` that of the program that ran;
    `suffix` (".csv") is that of the file that is written, empty for stdout: an output with several forms chooses by it."""

    started: str
    seconds: float
    transcript: bool = False
    color: bool = False
    # Columns of the terminal that is written to; None for a pipe or a file, where no line is broken.
    width: int | None = None
    comparison: "Comparison | None" = None
    # How often it took until all was well (--wait-until-ok).
    attempts: int = 1
    version: str = __version__
    suffix: str = ""
    # Past runs, oldest first: started, profile, verdict, seconds (of the delivery), for outputs that plot.
    history: "Sequence[PastRun]" = ()


class Output(Protocol):
    def write(self, reports: "Sequence[Report]", context: Context) -> str: ...


@cache
def formats() -> tuple[str, ...]:
    """The names of every output, from the files of this folder (`protocol_log.py` is `protocol-log`)."""
    return tuple(path.stem.replace("_", "-") for path in sorted(Path(__file__).parent.glob("[!_]*.py")))


def output(name: str) -> Output:
    """The output of that name. Raises KeyError for an unknown one."""
    if name not in formats():
        raise KeyError(name)
    return import_module(f"{__name__}.{name.replace('-', '_')}")
