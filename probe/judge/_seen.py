"""Where and when the message was seen first: the delivery is judged once, by that reader; the others waited for their turn."""

from collections.abc import Iterable

from probe.facts import Found, Swept
from probe.record import StageRecord


def first_seen(stages: Iterable[StageRecord]) -> tuple[float, str] | None:
    """(seconds from the final reply, the stage's name); None where no reader saw it."""
    seen = [(seconds, stage.name) for stage in stages if (seconds := stage.seen(Found).seconds) is not None]
    return min(seen, key=lambda one: one[0], default=None)


def slowest(stages: Iterable[StageRecord]) -> tuple[float, str] | None:
    """Of a collection, (seconds that the slowest message took, or has taken until now, the stage's name); None without any."""
    found = [
        (seconds, stage.name)
        for stage in stages
        for seconds in (*stage.seen(Swept).delays.values(), *stage.seen(Swept).ages.values())
    ]
    return max(found, key=lambda one: one[0], default=None)
