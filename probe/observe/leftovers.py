"""Find and delete our own leftovers over IMAP4: messages whose keyed proof this installation made, older than an age.

Another installation's messages, and anything whose proof does not hold, are counted and left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime

from probe.message import MARKER_HEADER, MARKER_PATTERN, MESSAGE_OCTETS, prove
from probe.observe.dialect import imap
from probe.observe.job import Job, Side
from probe.observe.journal import Journal
from probe.observe.legs.imap import Session, Settings, open_session, uid_and_octets
from probe.observe.trouble import Stopped, stop

MOST_AT_ONCE = 50
MOST_IN_ALL = 1_000
LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Leftovers:
    """What a sweep saw: markers of ours by what became of them, and how many messages were not ours."""

    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    too_young: list[str] = field(default_factory=list)
    foreign: int = 0
    # When set, every other message is left alone.
    only: str | None = None
    # By marker, seconds from the Date we gave the message to its last Received header: its true delay, however late we look.
    delays: dict[str, float] = field(default_factory=dict)

    @property
    def seen(self) -> set[str]:
        """Every marker of ours that was found."""
        return {*self.deleted, *self.kept, *self.too_young}


async def sweep(job: Job, journal: Journal, side: Side, settings: Settings, *, older_than: timedelta, dry_run: bool) -> Leftovers:
    """Look through the reader's folders. Troubles are in the journal's stages; what was done until then is returned."""
    found = Leftovers()
    session: Session | None = None
    try:
        session = await open_session(job, journal, side, settings)
        async with journal.stage("imap.find", "look for leftovers over IMAP4") as stage:
            for folder in session.folders:
                await _sweep_folder(job, session, folder.name, older_than, dry_run, found)
            stage.facts |= {"deleted": found.deleted, "kept": found.kept, "too_young": found.too_young, "foreign": found.foreign}
            stage.facts["delays"] = {marker: round(seconds, 3) for marker, seconds in found.delays.items()}
    except Stopped:
        pass
    finally:
        if session is not None:
            await session.talk.goodbye()
            await session.talk.close()
    return found


async def remove(job: Job, journal: Journal, side: Side, settings: Settings, marker: str) -> bool:
    """Delete this one message of ours, looking for it until the job's deadline; whether it was deleted."""
    found = Leftovers(only=marker)
    session: Session | None = None
    try:
        session = await open_session(job, journal, side, settings)
        while not found.seen and job.deadline.seconds_left:
            for folder in session.folders:
                await _sweep_folder(job, session, folder.name, timedelta(0), False, found)
            if not found.seen:
                await job.sleep(LOOK_SECONDS)
    except Stopped:
        pass
    finally:
        if session is not None:
            await session.talk.goodbye()
            await session.talk.close()
    return marker in found.deleted


async def _sweep_folder(job: Job, session: Session, folder: str, older_than: timedelta, dry_run: bool, found: Leftovers) -> None:
    selected = await session.talk.command(f"SELECT {imap.mailbox(folder)}")
    if not selected.ok:
        return
    answer = await session.talk.command(f"UID SEARCH HEADER {MARKER_HEADER} {found.only or 'submission-probe-'}")
    if not answer.ok:
        raise stop("imap.search-refused", f"SEARCH in {folder}: {answer.status} {answer.text}", answer.text)
    uids = [uid for item in answer.of("SEARCH") for uid in imap.search_numbers(item, MOST_IN_ALL)]
    for start in range(0, len(uids), MOST_AT_ONCE):
        job.renew(session.talk.connection)
        await _sweep_some(job, session, uids[start : start + MOST_AT_ONCE], older_than, dry_run, found)


async def _sweep_some(job: Job, session: Session, uids: list[int], older_than: timedelta, dry_run: bool, found: Leftovers) -> None:
    """Fetch, prove, and delete exactly the UIDs that were proven in this session."""
    wanted = ",".join(map(str, uids))
    answer = await session.talk.command(f"UID FETCH {wanted} (UID BODY.PEEK[]<0.{MESSAGE_OCTETS}>)")
    doomed: dict[int, str] = {}
    for uid, octets in map(uid_and_octets, answer.of("FETCH")):
        marker = _our_marker(octets, job.prove_key) if octets is not None and uid in uids else None
        if marker is None or uid is None or octets is None or found.only not in (None, marker):
            found.foreign += 1
        elif not _is_older(octets, job.utc_now(), older_than):
            found.too_young.append(marker)
        else:
            doomed[uid] = marker
            found.delays[marker] = _delay(octets, marker, job.prove_key)
    if dry_run or "UIDPLUS" not in session.capabilities:
        found.kept += doomed.values()
    elif doomed:
        await _expunge(session, doomed, found)


async def _expunge(session: Session, doomed: dict[int, str], found: Leftovers) -> None:
    uids = ",".join(map(str, doomed))
    answers = await session.talk.flight([f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {uids}"])
    (found.deleted if all(answer.ok for answer in answers) else found.kept).extend(doomed.values())


def _our_marker(octets: bytes, key: bytes) -> str | None:
    """The marker of a message whose proof this installation's key made, else None."""
    candidates: Iterable[str] = dict.fromkeys(MARKER_PATTERN.findall(octets.decode("ascii", "replace")))
    return next((marker for marker in candidates if prove(octets, marker=marker, key=key, sender="").ours), None)


def _delay(octets: bytes, marker: str, key: bytes) -> float:
    """How long the message was on its way, by the servers' clocks; 0 where they say nothing, or are behind ours."""
    hops = prove(octets, marker=marker, key=key, sender="").hops
    sent = _date_of(octets)
    if not hops or hops[-1].at is None or sent is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(hops[-1].at.replace("Z", "+00:00")) - sent).total_seconds())


def _is_older(octets: bytes, now: datetime, age: timedelta) -> bool:
    """By the Date we gave it ourselves; a message without one is not old."""
    date = _date_of(octets)
    return date is not None and now - date >= age


def _date_of(octets: bytes) -> datetime | None:
    try:
        date = parsedate_to_datetime(str(BytesHeaderParser().parsebytes(octets)["Date"]))
    except (ValueError, TypeError, IndexError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
