"""Whose a message is: which are this profile's own, which a run or a collection may delete, and how the run ended that sent one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from probe.facts import Found
from probe.facts.parts import Leftover
from probe.message import Sent
from probe.observe.hunt import is_older
from probe.observe.job import Claim
from probe.record import StageRecord
from probe.state import outbox
from probe.state.place import Place
from probe.tasks.plan import Plan

# After its time-out a run closes its connections and forgets what is gone.
_ENDING_SECONDS = 5.0


def longest(plan: Plan) -> timedelta:
    """What was sent so long ago belongs to no run that is under way, in this process or another."""
    return timedelta(seconds=plan.timeout + _ENDING_SECONDS)


def is_mine(plan: Plan, entry: outbox.Entry) -> bool:
    """Whether this profile sent it."""
    return entry.is_of(plan.probed, plan.profile, plan.target.host)


def mine(plan: Plan, entries: Iterable[outbox.Entry], now: datetime) -> list[outbox.Entry]:
    """What was sent by this profile, by runs that are over."""
    own = [entry for entry in entries if is_mine(plan, entry)]
    # Entries of older versions do not say until when their run may be under way.
    return [entry for entry in own if not entry.is_under_way(now) and (entry.probed or outbox.older([entry], now, longest(plan)))]


def claims(plan: Plan, place: Place, utc_now: Callable[[], datetime]) -> Callable[[Sent], Claim]:
    """What a collection of this plan does with a message that is proven to be ours."""
    known = _known(place)
    return lambda sent: _claim(plan, place, known, sent, utc_now())


def _claim(plan: Plan, place: Place, known: Mapping[str, outbox.Entry], sent: Sent, now: datetime) -> Claim:
    if place.is_under_way(sent.marker, now):
        return "left"
    if (entry := known.get(sent.marker)) is not None:
        return "ours" if is_mine(plan, entry) else "left"
    # No run waits for it any more; but one that began since the outbox was read may.
    return "ours" if is_older(sent, now, longest(plan)) else "young"


def claims_in_passing(plan: Plan, place: Place, utc_now: Callable[[], datetime]) -> Callable[[Sent], Claim]:
    """What a run of this plan does with one: what was sent and left for a collection is left to that, and nothing is touched before
    the run that sent it must be over. The outbox is read when a message is found, which is seldom."""
    outbox_read = cache(lambda: _known(place))

    def claim(sent: Sent) -> Claim:
        known, now = outbox_read(), utc_now()
        entry = known.get(sent.marker)
        if sent.recipient.lower() != (plan.recipient or "").lower() or (entry is not None and entry.is_for_collection):
            return "left"
        claimed = _claim(plan, place, known, sent, now)
        return "young" if claimed == "ours" and not is_older(sent, now, longest(plan)) else claimed

    return claim


def _known(place: Place) -> Mapping[str, outbox.Entry]:
    return {entry.marker: entry for entry in (*place.lost(), *place.entries())}


def accounted(plan: Plan, place: Place, stages: tuple[StageRecord, ...]) -> tuple[StageRecord, ...]:
    """The stages, each leftover with what is known of the run that sent it; what was deleted is forgotten."""
    if not any(stage.seen(Found).leftovers for stage in stages):
        return stages
    known = _known(place)
    told = tuple(
        replace(stage, facts=replace(seen, leftovers=[_told(plan, place, known, one) for one in seen.leftovers]))
        if (seen := stage.seen(Found)).leftovers
        else stage
        for stage in stages
    )
    for stage in told:
        for one in stage.seen(Found).leftovers:
            if one["deleted"]:
                place.remove(one["marker"])
    return told


def _told(plan: Plan, place: Place, known: Mapping[str, outbox.Entry], one: Leftover) -> Leftover:
    entry = known.get(one["marker"])
    if entry is not None:
        return {**one, "run": entry.run or None, "ended": "read" if entry.seen else "missing"}
    run, ended = place.past_run(plan.profile, one["marker"], one["sent"]) or (None, None)
    return {**one, "run": run, "ended": ended}
