"""Earlier messages (`--collect`): what came of them, judged as a run judges its own; what has not come yet; what never will."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from probe.facts import Swept, Verified, rebuilt
from probe.facts.parts import Collected
from probe.judge import evidence
from probe.judge.delivery import delivery_finding, misplaced, unharmed
from probe.profile import Profile
from probe.record import TO_STAY, Record, StageRecord
from probe.report import Finding, Kind, Severity

# The ids are those of a run's own message: judge/delivery.py.
FINDINGS: dict[str, Kind] = {}
_MOST_MARKERS = 5


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    for stage in record.stages:
        if isinstance(stage.facts, Swept) and stage.status == "ok":
            if record.kind == "collection":
                yield from _arrived(stage, profile)
                yield from _outstanding(stage, profile) if stage.facts.sent is not None else _not_here(stage)
            delete = record.stage(stage.name.replace(".find", ".delete"))
            if stage.facts.kept and (delete is None or delete.reason != TO_STAY):
                text = f"{len(stage.facts.kept)} message(s) of ours could not be deleted"
                yield delivery_finding("cleanup.failed", "warning", stage.name, text)


def _arrived(stage: StageRecord, profile: Profile) -> Iterator[Finding]:
    limits, seen = profile.limits, stage.seen(Swept)
    late = {marker: seconds for marker, seconds in seen.delays.items() if seconds > limits.delivery_warning}
    if late:
        slowest = max(late, key=lambda marker: late[marker])
        severity: Severity = "critical" if late[slowest] > limits.delivery_critical else "warning"
        text = f"{len(late)} message(s) arrived late, the slowest after {late[slowest]:.0f} s (limit {limits.delivery_warning:g} s)"
        yield delivery_finding("delivery.late", severity, stage.name, text, _slowest_hop(seen, slowest))
    if seen.recovered:
        text = f"{len(seen.recovered)} message(s) arrived after they had been given up as lost"
        yield delivery_finding("delivery.late", "warning", stage.name, text, _listed(seen.recovered))
    first = seen.folders[0] if seen.folders else None
    yield from _alike([(one["marker"], finding) for one in seen.messages for finding in _of_one(stage.name, one, first, profile)])


def _of_one(stage: str, one: Collected, first: str | None, profile: Profile) -> Iterator[Finding]:
    yield from misplaced(stage, one["folder"], first or one["folder"], one["copies"])
    seen = rebuilt(Verified, dict(one))
    yield from unharmed(stage, seen)
    yield from evidence.of_message(stage, seen, profile)


def _alike(found: list[tuple[str, Finding]]) -> Iterator[Finding]:
    """What is said of several messages is said once, with how many they are."""
    groups: dict[tuple[str, str], list[tuple[str, Finding]]] = {}
    for marker, finding in found:
        groups.setdefault((finding.id, finding.summary), []).append((marker, finding))
    for group in groups.values():
        finding = group[0][1]
        more = f" ({len(group)} messages)" if len(group) > 1 else ""
        evidence = "; ".join(filter(None, (finding.evidence, _listed([marker for marker, _ in group]))))
        yield replace(finding, summary=finding.summary + more, evidence=evidence)


def _outstanding(stage: StageRecord, profile: Profile) -> Iterator[Finding]:
    """What was sent and has not come: critical each time, until it comes or is given up, and then once more."""
    limits, seen = profile.limits, stage.seen(Swept)
    for marker, why in seen.returned.items():
        if marker in seen.waiting:
            text = f"a message was accepted, then returned: {why}"
            yield delivery_finding("delivery.bounced", "critical", stage.name, text, marker)
    ages = {marker: age for marker, age in seen.ages.items() if marker not in seen.returned}
    overdue = {marker: age for marker, age in ages.items() if age > limits.delivery_critical}
    late = {marker: age for marker, age in ages.items() if limits.delivery_warning < age and marker not in overdue}
    if overdue:
        text = f"{_not_come(overdue)} (limit {limits.delivery_critical:g} s)"
        yield delivery_finding("delivery.missing", "critical", stage.name, text, _listed(overdue))
    if late:
        text = f"{_not_come(late)} (limit {limits.delivery_warning:g} s)"
        yield delivery_finding("delivery.late", "warning", stage.name, text, _listed(late))
    for lost in seen.lost:
        text = f"a message did not arrive within {limits.lost_after:g} s, and is given up: {lost}"
        yield delivery_finding("delivery.missing", "critical", stage.name, text)


def _not_here(stage: StageRecord) -> Iterator[Finding]:
    """What another reader saw in the INBOX, and this one does not show."""
    if absent := stage.seen(Swept).waiting:
        text = f"{len(absent)} message(s) that IMAP4 shows in the INBOX are not in this mailbox"
        yield delivery_finding("delivery.missing", "critical", stage.name, text, _listed(absent))


def _not_come(ages: dict[str, float]) -> str:
    return f"{len(ages)} message(s) sent earlier have not arrived, the oldest for {max(ages.values()):.0f} s"


def _slowest_hop(seen: Swept, marker: str) -> str:
    hops = [hop for one in seen.messages if one["marker"] == marker for hop in one["hops"] if hop["seconds"] is not None]
    slowest = max(hops, key=lambda hop: hop["seconds"] or 0.0, default=None)
    return f"{marker}: {slowest['seconds']:.0f} s until {slowest['by']}" if slowest else marker


def _listed(markers: Iterable[str]) -> str:
    """As many as a log can be searched for."""
    found = list(markers)
    more = f" and {len(found) - _MOST_MARKERS} more" if len(found) > _MOST_MARKERS else ""
    return " ".join(found[:_MOST_MARKERS]) + more
