"""Where and when the message was seen first: the delivery is judged once, by that reader; the others waited for their turn."""

from collections.abc import Iterable

from probe.facts import Found
from probe.record import StageRecord


def first_seen(stages: Iterable[StageRecord]) -> tuple[float, str] | None:
    """(seconds from the final reply, the stage's name); None where no reader saw it."""
    seen = [(seconds, stage.name) for stage in stages if (seconds := stage.seen(Found).seconds) is not None]
    return min(seen, key=lambda one: one[0], default=None)
