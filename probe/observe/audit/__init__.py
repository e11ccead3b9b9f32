"""Negative checks of a server, one file each: its own conversation and its own judgement. The folder is the list.

A check declares `FINDINGS` (one id → Kind), `SEVERITY`, `PROVES` and `DOES_NOT_PROVE`, and `async def observe(scene) -> Facts`.
No check sends the profile's password in clear, and none lets a message go: those about relaying stop at RCPT. The exception names
an `OPTION`, without which it is not carried out (return_path.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

from probe.plain import dataclass
from probe.report import Finding, Kind, Severity

Outcome = Literal["pass", "fail", "undecided", "not-applicable"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a check saw: the outcome, in the server's own words why, and more where there is more to say."""

    outcome: Outcome
    evidence: str
    more: Mapping[str, object] = field(default_factory=dict)


@cache
def checks() -> Mapping[str, ModuleType]:
    """Every check by its finding id, in the order of the files."""
    modules = [import_module(f"{__name__}.{path.stem}") for path in sorted(Path(__file__).parent.glob("[!_]*.py"))]
    return {next(iter(module.FINDINGS)): module for module in modules}


def judge(module: ModuleType, facts: Facts) -> Iterator[Finding]:
    """A finding when the check failed; an undecided one is a warning that says why."""
    ((name, kind),) = module.FINDINGS.items()
    if facts.outcome == "fail":
        yield _finding(name, kind, module.SEVERITY, kind.summary, facts)
    elif facts.outcome == "undecided":
        yield _finding(name, kind, "info", f"undecided: {facts.evidence}", facts)


def _finding(name: str, kind: Kind, severity: Severity, summary: str, facts: Facts) -> Finding:
    return Finding(name, severity, name, summary, facts.evidence, kind.cause, kind.remedy)
