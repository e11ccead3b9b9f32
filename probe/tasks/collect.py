"""The story of `--collect`: what earlier runs sent is looked for by every reader of the profile, timed by the servers' own stamps,
judged as a run judges it, and deleted.

A message that is not there yet is waited for by the next run, until `limits.lost_after`; then it is lost, and known for a while.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from probe.facts import Swept
from probe.judge._verdict import judge
from probe.observe import evidence
from probe.observe.hunt import Hunt, Leftovers
from probe.observe.journal import Journal
from probe.observe.leftovers import sweep
from probe.observe.maildrop_leftovers import sweep as sweep_maildrop
from probe.plain import dataclass
from probe.profile import Problem, Profile, ProfileError
from probe.record import Record, StageRecord
from probe.report import Report
from probe.state import outbox
from probe.state.place import Place, files
from probe.tasks import backoff
from probe.tasks.interrupted import cut_short, heeding
from probe.tasks.plan import Plan, ReaderPlan
from probe.tasks.prepare import Session, begin_apart
from probe.tasks.pulse import Pulse
from probe.tasks.whose import claims, mine

READERS = ("imap", "pop3")


async def collect(
    plan: Plan, profile: Profile, *, place: Place | None = None, interrupt: asyncio.Event | None = None,
    utc_now: Callable[[], datetime] | None = None,
) -> Report:  # fmt: skip
    """One report with the readers' stages. `plan` has its credentials. What other profiles sent, and what runs that may be under
    way look for, is left to them. `interrupt` ends it early, when it is set; `utc_now`: as a Session has it. Raises ProfileError
    without a reader."""
    readers = {reader.side.leg: reader for reader in plan.readers if reader.side.leg in READERS}
    if not readers:
        raise ProfileError(Problem(None, None, "readback", "missing; --collect reads the mailbox over IMAP4 or POP3"))
    place = place or files()
    journal, job = begin_apart(plan, Session(place, utc_now=utc_now))
    started = job.utc_now()
    own = mine(plan, place.entries(), started)
    awaited = [entry for entry in own if not entry.seen]
    given_up = {entry.marker for entry in place.lost()}
    hunts = {leg: Hunt(job, journal, claims(plan, place, job.utc_now)) for leg in readers}
    async with Pulse() as pulse:
        with heeding(job, interrupt):
            await _look(journal, hunts, readers, dry_run=not plan.conduct.delete)
            await evidence.of_collection(job, journal, hunts)
    stages = journal.stages([name for reader in readers.values() for name in stages_of(reader)])
    stages = backoff.remember(plan, stages, place)
    found = _Found(awaited, given_up, {leg: hunt.found for leg, hunt in hunts.items()})
    stages = found.accounted(stages, started, profile.limits.lost_after)
    if any(_is_read(stage) for stage in stages):
        found.settle(place, started, profile.limits.lost_after)
        found.forget(place, [entry.marker for entry in own if entry.seen])
    if job.interrupted_at is not None:
        stages = cut_short(stages, job.interrupted_at - journal.begin)
    text = started.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    record = Record(
        secrets.token_hex(8), plan.profile, plan.target, text, journal.now, stages, journal.lines,
        interrupted=job.interrupted, paused=pulse.paused, kind="collection",
    )  # fmt: skip
    return judge(record, profile)


def stages_of(reader: ReaderPlan) -> tuple[str, ...]:
    """A sweep verifies what it finds as it finds it."""
    return tuple(name for name in reader.module.STAGES if not name.endswith(".verify"))


async def _look(journal: Journal, hunts: dict[str, Hunt], readers: dict[str, ReaderPlan], *, dry_run: bool) -> None:
    """Over IMAP4, then over POP3, then delete: each sees what the other would take away."""
    pop3 = readers.get("pop3")

    async def over_pop3() -> None:
        if pop3 is not None and not started:
            started.append(True)
            await sweep_maildrop(hunts["pop3"], pop3.side, dry_run=dry_run)

    started: list[bool] = []
    if imap := readers.get("imap"):
        await sweep(hunts["imap"], imap.side, imap.settings, dry_run=dry_run, between=over_pop3)
    # Where IMAP4 failed before it came to that.
    await over_pop3()
    if imap and pop3:
        _agree(journal, hunts["imap"].found, hunts["pop3"].found)


def _agree(journal: Journal, imap: Leftovers, pop3: Leftovers) -> None:
    """What one reader could not delete may be gone by the other."""
    gone = {*imap.deleted, *pop3.deleted}
    for leg, found in (("imap", imap), ("pop3", pop3)):
        found.kept = [marker for marker in found.kept if marker not in gone]
        journal.see(f"{leg}.find", found.facts())


@dataclass(frozen=True, slots=True)
class _Found:
    """What was awaited, which markers were given up before, and what each reader saw."""

    awaited: list[outbox.Entry]
    given_up: set[str]
    by_leg: dict[str, Leftovers]

    @property
    def seen(self) -> set[str]:
        return set().union(*(found.seen for found in self.by_leg.values()))

    @property
    def waiting(self) -> list[outbox.Entry]:
        return [entry for entry in self.awaited if entry.marker not in self.seen]

    def accounted(self, stages: tuple[StageRecord, ...], now: datetime, lost_after: float) -> tuple[StageRecord, ...]:
        """The stages, the first mailbox that was read with what was awaited there; another with what it should have shown."""
        first = next((stage for stage in stages if _is_read(stage)), None)
        return tuple(
            _with(stage, self, now, lost_after) if stage is first else self._compared(stage) if _is_read(stage) else stage
            for stage in stages
        )

    def _compared(self, stage: StageRecord) -> StageRecord:
        """POP3 shows the INBOX: what IMAP4 saw there before, and POP3 not, is missing from the maildrop."""
        here = self.by_leg[stage.name.partition(".")[0]]
        there = self.by_leg["imap"].messages.values() if not here.in_part else ()
        absent = [one["marker"] for one in there if one["folder"].upper() == "INBOX" and one["marker"] not in here.seen]
        return replace(stage, facts=replace(stage.seen(Swept), waiting=absent))

    def settle(self, place: Place, now: datetime, lost_after: float) -> None:
        """Forget what is accounted for. A lost message is said once more, and stays known: should it come after all, the next
        collection says so."""
        arrived = {marker for found in self.by_leg.values() for marker in (*found.deleted, *found.messages)}
        for marker in arrived:
            place.remove(marker)
        for entry in outbox.older(self.waiting, now, timedelta(seconds=lost_after)):
            place.give_up(entry)

    def forget(self, place: Place, read: Iterable[str]) -> None:
        """What its run had read, and does not lie there: it was deleted, and the run was killed before it could say so."""
        if not any(found.in_part for found in self.by_leg.values()):
            for marker in read:
                if marker not in self.seen:
                    place.remove(marker)


def _is_read(stage: StageRecord) -> bool:
    return stage.name.endswith(".find") and stage.status == "ok"


def _with(stage: StageRecord, found: _Found, now: datetime, lost_after: float) -> StageRecord:
    lost = outbox.older(found.waiting, now, timedelta(seconds=lost_after))
    waiting = [entry for entry in found.waiting if entry not in lost]
    facts = replace(
        stage.seen(Swept),
        sent=len(found.awaited) + len(found.given_up & found.seen),
        waiting=[entry.marker for entry in waiting],
        ages={entry.marker: entry.age(now) for entry in waiting},
        lost=[f"{entry.marker} sent {entry.sent} to {entry.recipient}" for entry in lost],
        recovered=sorted(found.given_up & found.seen),
    )
    return replace(stage, facts=facts)
