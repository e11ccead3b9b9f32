"""What earlier runs left, as a run came across it: late arrivals, second copies, the rest. Its verdict is its own."""

from collections.abc import Iterator, Sequence
from functools import partial

from probe.facts import Found
from probe.facts.parts import Leftover
from probe.judge._finding import finding
from probe.judge.delivery import delivery_finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "mailbox.leftovers": Kind(
        "earlier messages of the probe lay in the mailbox",
        "An earlier run was killed, kept its message (--no-delete), could not delete it, or a second copy of it came.",
        ("Nothing is to be done where it happens once; else see how those runs ended: probe history",),
    )
}
_finding = partial(finding, FINDINGS)
_MOST = 5


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    for stage in record.stages:
        found = stage.seen(Found).leftovers
        yield from _late(stage.name, [one for one in found if one["ended"] == "missing"])
        yield from _copies(stage.name, [one for one in found if one["ended"] == "read"])
        if others := [one for one in found if one["ended"] not in ("missing", "read")]:
            text = f"{len(others)} leftover(s) of earlier runs lay there{_became(others)}"
            yield _finding("mailbox.leftovers", "info", stage.name, text, _listed(others))


def _late(stage: str, found: Sequence[Leftover]) -> Iterator[Finding]:
    if found:
        text = f"{len(found)} message(s) of earlier runs, which had looked for them in vain, came{_delay(found)}{_became(found)}"
        yield delivery_finding("delivery.late", "info", stage, text, _listed(found))


def _copies(stage: str, found: Sequence[Leftover]) -> Iterator[Finding]:
    if found:
        text = f"{len(found)} message(s) that earlier runs had read lay there once more{_delay(found)}{_became(found)}"
        yield delivery_finding("delivery.duplicate", "info", stage, text, _listed(found))


def _delay(found: Sequence[Leftover]) -> str:
    seconds = [one["seconds"] for one in found if one["seconds"] is not None]
    return f", the slowest {max(seconds):.0f} s after it was sent" if seconds else ""


def _became(found: Sequence[Leftover]) -> str:
    stay = sum(not one["deleted"] for one in found)
    return "; deleted" if not stay else f"; {stay} could not be deleted"


def _listed(found: Sequence[Leftover]) -> str:
    """As many as a log can be searched for, each with its run."""
    told = [f"{one['marker']} sent {one['sent']}" + (f" by run {one['run']}" if one["run"] else "") for one in found]
    more = [f"and {len(told) - _MOST} more"] if len(told) > _MOST else []
    return "; ".join([*told[:_MOST], *more])
