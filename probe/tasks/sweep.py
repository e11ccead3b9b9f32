"""The story of `probe sweep`: find this installation's leftovers, delete them, account for every message it knows of."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from probe.judge._verdict import judge
from probe.message import Sent
from probe.observe.hunt import Hunt, Leftovers, is_older
from probe.observe.job import Claim
from probe.observe.leftovers import sweep as sweep_mailbox
from probe.observe.maildrop_leftovers import sweep as sweep_maildrop
from probe.plain import dataclass
from probe.profile import Problem, Profile, ProfileError
from probe.record import Record
from probe.report import Report
from probe.state import outbox
from probe.state.place import Place, files
from probe.tasks import backoff
from probe.tasks.collect import stages_of
from probe.tasks.plan import make_plan
from probe.tasks.prepare import Session, begin_apart, prepare
from probe.tasks.whose import mine


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: the report of its stages, what it found, and the messages that were sent but are not there."""

    report: Report
    leftovers: Leftovers
    missing: tuple[outbox.Entry, ...]


async def sweep(profile: Profile, *, older_than: timedelta, dry_run: bool, place: Place | None = None) -> Swept:
    """Delete this installation's leftovers from the profile's mailbox, and account for every message it knows of.

    Over IMAP4, which can search, in the profile's folders; over POP3 where the profile has no IMAP4 reader, and what the IMAP4
    server cannot delete. Raises ProfileError when the profile has neither.
    """
    place = place or files()
    plan = await prepare(make_plan(profile, light=True), profile, place)
    sides = {reader.side.leg: reader for reader in plan.readers}
    if not {"imap", "pop3"} & set(sides):
        raise ProfileError(Problem(None, None, "readback", "no mailbox to sweep: neither [readback.imap] nor [readback.pop3]"))
    journal, job = begin_apart(plan, Session(place))
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    names: tuple[str, ...] = ()
    found = Leftovers()

    def claim(sent: Sent) -> Claim:
        # Asked anew for each message: a run may have begun since, and its trace is there before its message leaves.
        if place.is_under_way(sent.marker, job.utc_now()):
            return "left"
        return "ours" if is_older(sent, job.utc_now(), older_than) else "young"

    if imap := sides.get("imap"):
        found = await sweep_mailbox(Hunt(job, journal, claim), imap.side, imap.settings, dry_run=dry_run)
        names += stages_of(imap)
    if (pop3 := sides.get("pop3")) and (not imap or (found.kept and not dry_run)):
        found = _together(found, await sweep_maildrop(Hunt(job, journal, claim), pop3.side, dry_run=dry_run))
        names += stages_of(pop3)
    stages = backoff.remember(plan, journal.stages(names), place)
    record = Record(secrets.token_hex(8), plan.profile, plan.target, started, journal.now, stages, journal.lines)
    report = judge(record, profile)
    sent = outbox.older(mine(plan, place.entries(), job.utc_now()), job.utc_now(), older_than)
    accounted = report.failed_stage is None and not found.in_part
    absent = tuple(entry for entry in sent if entry.marker not in found.seen) if accounted else ()
    # What its run had read is not missing: the run was killed after it had deleted it.
    missing = tuple(entry for entry in absent if not entry.seen)
    for marker in () if dry_run else (*found.deleted, *(entry.marker for entry in absent)):
        # A message that is missing is said once; it may still arrive, and is then found by its header.
        place.remove(marker)
    return Swept(report, found, missing)


def _together(first: Leftovers, then: Leftovers) -> Leftovers:
    """What an IMAP4 sweep saw, and what became over POP3 of what it could not delete."""
    return replace(
        first,
        deleted=[*first.deleted, *(marker for marker in then.deleted if marker not in first.deleted)],
        kept=[marker for marker in (first.kept or then.kept) if marker not in then.deleted],
        too_young=list(dict.fromkeys((*first.too_young, *then.too_young))),
        left=list(dict.fromkeys((*first.left, *then.left))),
        foreign=max(first.foreign, then.foreign),
        stumbled=max(first.stumbled, then.stumbled),
        in_part=first.in_part or then.in_part,
        messages={**then.messages, **first.messages},
        returned={**then.returned, **first.returned},
    )
