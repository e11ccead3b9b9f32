"""What a collection of earlier messages adds up to, for every output alike."""

from collections.abc import Iterable

from probe.facts import Found, Swept
from probe.plain import dataclass
from probe.report import Report


@dataclass(frozen=True, slots=True)
class Tally:
    """How many messages were awaited, found, late among those, and given up now; seconds since the oldest was sent that is still
    awaited, 0 without any. What came after it had been given up counts as sent, collected and late."""

    sent: int
    collected: int
    late: int
    lost: int
    oldest_outstanding: float


def tally(report: Report) -> Tally | None:
    """None for a run of its own, and for a collection that could not read any mailbox."""
    found = report.collected
    if report.kind != "collection" or found.sent is None:
        return None
    delays: dict[str, float] = {}
    for stage in report.stages:
        for marker, seconds in stage.record.seen(Swept).delays.items():
            delays.setdefault(marker, seconds)
    limit = report.thresholds["delivery_seconds"].warning if "delivery_seconds" in report.thresholds else None
    late = {marker for marker, seconds in delays.items() if limit is not None and seconds > limit} | set(found.recovered)
    return Tally(found.sent, len(delays), len(late), len(found.lost), max(found.ages.values(), default=0.0))


def runs(reports: Iterable[Report]) -> list[Report]:
    """Those that are runs, without what came of earlier messages."""
    return [report for report in reports if report.kind != "collection"]


def came_late(report: Report) -> int:
    """How many messages of earlier runs, which had missed them, a run came across and deleted."""
    found = [one for stage in report.stages for one in stage.record.seen(Found).leftovers]
    return sum(one["ended"] == "missing" and one["deleted"] for one in found)
