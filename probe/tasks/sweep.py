"""The story of `probe sweep`: find this installation's leftovers, delete them, account for every message it knows of."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from probe.judge._verdict import judge
from probe.observe.leftovers import Leftovers
from probe.observe.leftovers import sweep as sweep_mailbox
from probe.profile import Problem, Profile, ProfileError
from probe.record import Record
from probe.report import Report
from probe.state import outbox
from probe.state.place import Place, files
from probe.tasks.plan import imap_of, make_plan
from probe.tasks.prepare import Session, begin_apart, prepare


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: the report of its stages, what it found, and the messages that were sent but are not there."""

    report: Report
    leftovers: Leftovers
    missing: tuple[outbox.Entry, ...]


async def sweep(profile: Profile, *, older_than: timedelta, dry_run: bool, place: Place | None = None) -> Swept:
    """Delete this installation's leftovers from the profile's IMAP4 mailbox, and account for every message it knows of.

    Raises ProfileError when the profile has no IMAP4 reader.
    """
    place = place or files()
    plan = await prepare(make_plan(profile, light=True), profile, place)
    reader = imap_of(plan)
    if reader is None:
        raise ProfileError(Problem(None, None, "readback.imap", "missing; a sweep needs to read the mailbox over IMAP4"))
    journal, job = begin_apart(plan, Session(place))
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    found = await sweep_mailbox(job, journal, reader.side, reader.settings, older_than=older_than, dry_run=dry_run)
    stages = journal.stages(reader.module.STAGES[:5])
    record = Record(secrets.token_hex(8), plan.profile, plan.target, started, journal.now, stages, journal.lines)
    report = judge(record, profile)
    # Younger ones may belong to a run that is still under way.
    mine = [entry for entry in outbox.older(place.entries(), job.utc_now(), older_than) if entry.profile == plan.profile]
    missing = tuple(entry for entry in mine if entry.marker not in found.seen) if report.verdict != "critical" else ()
    for marker in () if dry_run else (*found.deleted, *(entry.marker for entry in missing)):
        # A message that is missing is said once; it may still arrive, and is then found by its header.
        place.remove(marker)
    return Swept(report, found, missing)
