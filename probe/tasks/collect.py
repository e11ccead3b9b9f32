"""The story of `--collect`: what an earlier `--send-only` sent is looked for, timed by the servers' own stamps, and deleted.

A message that is not there yet is waited for by the next run, until `limits.lost_after`; then it is lost.
"""

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from probe.facts import Swept
from probe.judge._verdict import judge
from probe.observe.leftovers import sweep
from probe.profile import Problem, Profile, ProfileError
from probe.record import Record, StageRecord
from probe.report import Report
from probe.state import outbox
from probe.state.place import Place, files
from probe.tasks.interrupted import cut_short, heeding
from probe.tasks.plan import Plan, imap_of
from probe.tasks.prepare import Session, begin_apart


async def collect(
    plan: Plan, profile: Profile, *, older_than: timedelta = timedelta(0), place: Place | None = None,
    interrupt: asyncio.Event | None = None,
) -> Report:  # fmt: skip
    """One report with the reader's stages. `plan` has its credentials; younger messages than `older_than` are left to the runs
    that sent them. `interrupt` ends it early, when it is set. Raises ProfileError without an IMAP4 reader."""
    reader = imap_of(plan)
    if reader is None:
        raise ProfileError(Problem(None, None, "readback.imap", "missing; --collect reads the mailbox over IMAP4"))
    place = place or files()
    journal, job = begin_apart(plan, Session(place))
    started = datetime.now(UTC)
    sent = [entry for entry in outbox.older(place.entries(), started, older_than) if entry.profile == plan.profile]
    with heeding(job, interrupt):
        found = await sweep(job, journal, reader.side, reader.settings, older_than=older_than, dry_run=not plan.conduct.delete)
    stages = journal.stages(reader.module.STAGES[:5])
    if stages[-1].status == "ok":
        waiting = [entry for entry in sent if entry.marker not in found.seen]
        lost = outbox.older(waiting, started, timedelta(seconds=profile.limits.lost_after))
        stages = (*stages[:-1], _with(stages[-1], waiting, lost))
        for marker in (*found.deleted, *(entry.marker for entry in lost)):
            # A lost message is said once; should it come after all, the next collection deletes it.
            place.remove(marker)
    if job.interrupted_at is not None:
        stages = cut_short(stages, job.interrupted_at - journal.begin)
    text = started.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    record = Record(
        secrets.token_hex(8), plan.profile, plan.target, text, journal.now, stages, journal.lines,
        interrupted=job.interrupted, kind="collection",
    )  # fmt: skip
    return judge(record, profile)


def _with(stage: StageRecord, waiting: list[outbox.Entry], lost: list[outbox.Entry]) -> StageRecord:
    facts = replace(
        stage.seen(Swept),
        waiting=[entry.marker for entry in waiting if entry not in lost],
        lost=[f"{entry.marker} sent {entry.sent} to {entry.recipient}" for entry in lost],
    )
    return replace(stage, facts=facts)
