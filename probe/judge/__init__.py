"""One file a check: (Record, Profile) → Findings, pure, with cause and remedy in the same file. The folder is the list.

A check file declares `FINDINGS`, id → Kind, and `judge(record, profile)`. What servers say in their replies is data,
replies/: it makes the causes of findings more exact here, where all of them come together.
"""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from probe.record import Record
from probe.report import Finding, Kind

if TYPE_CHECKING:
    from probe.profile import Profile


@cache
def checks() -> tuple[ModuleType, ...]:
    """Every check, by file name."""
    return tuple(import_module(f"{__name__}.{path.stem}") for path in sorted(Path(__file__).parent.glob("[!_]*.py")))


@cache
def kinds() -> dict[str, Kind]:
    """Every finding id with its summary, cause and remedy."""
    return {name: kind for check in checks() for name, kind in check.FINDINGS.items()}


def findings(record: Record, profile: "Profile") -> tuple[Finding, ...]:
    """What every check says of a record, in the order of the stages; a trouble that no check knows is kept as it is."""
    found = [finding for check in checks() for finding in check.judge(record, profile)]
    found += _unknown_troubles(record, found)
    if found:
        from probe.judge._filled import filled  # a run with nothing to say does not even load these
        from probe.judge._replies import explained

        found = filled(record, profile, explained(record, found, kinds(), profile.extends))
    order = {stage.name: index for index, stage in enumerate(record.stages)}
    return tuple(sorted(found, key=lambda finding: order.get(finding.stage, len(order))))


def _unknown_troubles(record: Record, found: list[Finding]) -> Iterator[Finding]:
    said = {(finding.stage, finding.id) for finding in found}
    known = kinds()
    for stage in record.stages:
        trouble = stage.trouble
        if trouble and trouble.id not in known and (stage.name, trouble.id) not in said:
            yield Finding(trouble.id, "critical", stage.name, trouble.text, trouble.evidence)
