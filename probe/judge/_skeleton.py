"""Copy this file to add a check: say here what it proves and what it does not."""

from collections.abc import Iterator

from probe.facts import Greeted
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "area.what-is-wrong": Kind(
        summary="one line for the reference",
        cause="The likely cause.",
        remedy=("The command that checks.", "The command that fixes."),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    """Read facts, yield findings. No I/O, no clock."""
    if record.seen("smtp.greeting", Greeted).name == "an example":
        kind = FINDINGS["area.what-is-wrong"]
        yield Finding("area.what-is-wrong", "warning", "smtp.greeting", kind.summary, "", kind.cause, kind.remedy)
