"""The story of `probe sweep`: find this installation's leftovers, delete them, account for every message it knows of."""

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from probe.judge._verdict import judge
from probe.observe.leftovers import Leftovers
from probe.observe.leftovers import sweep as sweep_mailbox
from probe.observe.maildrop_leftovers import sweep as sweep_maildrop
from probe.profile import Problem, Profile, ProfileError
from probe.record import Record
from probe.report import Report
from probe.state import outbox
from probe.state.place import Place, files
from probe.tasks.plan import make_plan
from probe.tasks.prepare import Session, begin_apart, prepare


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
    found, names = Leftovers(), ()
    if imap := sides.get("imap"):
        found = await sweep_mailbox(job, journal, imap.side, imap.settings, older_than=older_than, dry_run=dry_run)
        names += imap.module.STAGES[:5]
    if (pop3 := sides.get("pop3")) and (not imap or (found.kept and not dry_run)):
        found = _together(found, await sweep_maildrop(job, journal, pop3.side, older_than=older_than, dry_run=dry_run))
        names += pop3.module.STAGES[:5]
    stages = journal.stages(names)
    record = Record(secrets.token_hex(8), plan.profile, plan.target, started, journal.now, stages, journal.lines)
    report = judge(record, profile)
    # Younger ones may belong to a run that is still under way.
    mine = [entry for entry in outbox.older(place.entries(), job.utc_now(), older_than) if entry.profile == plan.profile]
    accounted = report.verdict != "critical" and not found.in_part
    missing = tuple(entry for entry in mine if entry.marker not in found.seen) if accounted else ()
    for marker in () if dry_run else (*found.deleted, *(entry.marker for entry in missing)):
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
        foreign=max(first.foreign, then.foreign),
        stumbled=max(first.stumbled, then.stumbled),
        in_part=first.in_part or then.in_part,
        delays={**then.delays, **first.delays},
    )
