"""Find and delete our own leftovers over IMAP4: messages whose keyed proof this installation made, older than an age.

Another installation's messages, and anything whose proof does not hold, are counted and left alone. Anybody may send mail that
carries markers: what the outbox names is looked for first, then the newest; each is parsed once; number and octets are bounded.
Where SEARCH is refused or finds nothing, the newest headers are looked through.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from probe.facts import Swept
from probe.message import MARKER_HEADER, MARKER_PREFIX, Proof, Sent, carries_marker, read, recognise
from probe.observe.fetching import fetch_whole, hits, merged, uid_and_octets, wanted
from probe.observe.job import Job, Side
from probe.observe.journal import Journal
from probe.observe.legs.imap import Settings, open_session
from probe.observe.mailbox import Session
from probe.observe.protocol import imap
from probe.observe.trouble import Stopped, stop
from probe.profile import Reader

MOST_AT_ONCE = 20
MOST_IN_ALL = 1_000
MOST_OCTETS = 64 * 1024 * 1024
MOST_KNOWN = 100
MOST_NEWEST = 200
LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Leftovers:
    """What a sweep saw: markers of ours by what became of them, and how many messages were not ours."""

    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    too_young: list[str] = field(default_factory=list)
    foreign: int = 0
    octets: int = 0
    # Messages over which our own code stumbled: whoever wrote them, ours behind them are still looked for.
    stumbled: int = 0
    # When set, every other message is left alone.
    only: str | None = None
    # By marker, seconds from the Date we gave the message to its last Received header: its true delay, however late we look.
    # Only of what the outbox expects: an old message that somebody sends again is no delivery.
    delays: dict[str, float] = field(default_factory=dict)

    # Where there were more messages than were looked at: what was not seen may be there.
    in_part: bool = False

    @property
    def seen(self) -> set[str]:
        """Every marker of ours that was found."""
        return {*self.deleted, *self.kept, *self.too_young}

    def facts(self) -> Swept:
        """What a stage records of it."""
        return Swept(
            deleted=self.deleted,
            kept=self.kept,
            too_young=self.too_young,
            foreign=self.foreign,
            stumbled=self.stumbled,
            delays={marker: round(seconds, 3) for marker, seconds in self.delays.items()},
        )


async def sweep(job: Job, journal: Journal, side: Side, settings: Reader, *, older_than: timedelta, dry_run: bool) -> Leftovers:
    """Look through the reader's folders. Troubles are in the journal's stages; what was done until then is returned."""
    found = Leftovers()
    with contextlib.suppress(Stopped):
        async with (
            _opened(job, journal, side, settings) as session,
            journal.stage("imap.find", "look for leftovers over IMAP4", Swept()) as stage,
        ):
            for folder in (*(folder.name for folder in session.folders), *([session.trash] if session.trash else ())):
                await _sweep_folder(job, session, folder, older_than, dry_run, found)
            stage.facts = found.facts()
    return found


async def remove(job: Job, journal: Journal, side: Side, settings: Reader, marker: str) -> bool:
    """Delete this one message of ours, looking for it until the job's deadline; whether it was deleted."""
    found = Leftovers(only=marker)
    with contextlib.suppress(Stopped):
        async with _opened(job, journal, side, settings) as session:
            while not found.seen and job.deadline.seconds_left:
                for folder in session.folders:
                    await _sweep_folder(job, session, folder.name, timedelta(0), False, found)
                if not found.seen:
                    await job.sleep(LOOK_SECONDS)
    return marker in found.deleted


@contextlib.asynccontextmanager
async def _opened(job: Job, journal: Journal, side: Side, settings: Reader) -> AsyncIterator[Session]:
    """A session, logged on; LOGOUT and close whatever happens. Raises Stopped."""
    assert isinstance(settings, Settings)
    session = await open_session(job, journal, side, settings)
    try:
        yield session
    finally:
        await session.talk.goodbye()
        await session.talk.close()


async def _sweep_folder(job: Job, session: Session, folder: str, older_than: timedelta, dry_run: bool, found: Leftovers) -> None:
    selected = await session.talk.command(f"SELECT {imap.mailbox(folder)}")
    if not selected.ok:
        return
    for uids in _in_pieces(await _search(job, session, folder, selected, found.only)):
        if found.octets > MOST_OCTETS:
            raise stop("imap.search-refused", f"{folder}: more than 64 MiB of mail that carries markers; swept in part")
        job.renew(session.talk.connection)
        await _sweep_some(job, session, uids, older_than, dry_run, found)


async def _search(job: Job, session: Session, folder: str, selected: imap.Answer, only: str | None) -> list[int]:
    """UIDs of what may be ours: first what we know of, the latest first, then the newest that carry any marker."""
    known = [only] if only else list(job.known)[: -MOST_KNOWN - 1 : -1]
    keys = [*(f"HEADER {MARKER_HEADER} {marker}" for marker in (*known, MARKER_PREFIX)), f"SUBJECT {MARKER_PREFIX}"]
    answers = await session.talk.flight([f"UID SEARCH {key}" for key in keys])
    found = [sorted(hits(answer, MOST_IN_ALL), reverse=True)[:MOST_IN_ALL] for answer in answers]
    # Header fields may have been removed, and some servers' SEARCH finds nothing by header.
    if not all(found[: len(known)]) or not any(found):
        fetched = await _newest(session, selected)
        if not answers[len(known)].ok and fetched is None:
            raise stop("imap.search-refused", f"SEARCH in {folder}: {answers[-2].status} {answers[-2].text}", answers[-2].text)
        found.append(fetched or [])
    return list(dict.fromkeys(uid for some in found for uid in some))[:MOST_IN_ALL]


async def _newest(session: Session, selected: imap.Answer) -> list[int] | None:
    """UIDs of the newest messages whose header carries a marker, newest first; None where the server refuses to show headers."""
    exists = next((item.number or 0 for item in selected.of("EXISTS")), 0)
    if not exists:
        return []
    fields = f"SUBJECT MESSAGE-ID {MARKER_HEADER.upper()}"
    newest = f"{max(1, exists - MOST_NEWEST + 1)}:{exists}"
    keep = wanted(lambda octets: carries_marker(octets, MARKER_PREFIX))
    answer = await session.talk.command(f"FETCH {newest} (UID BODY.PEEK[HEADER.FIELDS ({fields})])", keep=keep)
    return sorted(merged(answer.of("FETCH")), reverse=True) if answer.ok else None


def _in_pieces(uids: list[int]) -> Iterator[list[int]]:
    return (uids[start : start + MOST_AT_ONCE] for start in range(0, len(uids), MOST_AT_ONCE))


async def _sweep_some(job: Job, session: Session, uids: list[int], older_than: timedelta, dry_run: bool, found: Leftovers) -> None:
    """Fetch, prove each as it arrives, and delete exactly the UIDs that were proven in this session."""
    doomed: dict[int, str] = {}
    waiting = set(uids)

    def judged(item: imap.Untagged) -> bool:
        uid, octets = uid_and_octets(item)
        if uid in waiting and octets is not None:
            waiting.remove(uid)
            if marker := due(job, octets, older_than, found):
                doomed[uid] = marker
        return False

    await fetch_whole(session.talk, uids, judged)
    if dry_run or not {"UIDPLUS", "IMAP4REV2"} & set(session.capabilities):
        found.kept += doomed.values()
    elif doomed:
        await _expunge(session, doomed, found)


def due(job: Job, octets: bytes, older_than: timedelta, found: Leftovers) -> str | None:
    """The marker of a message that is to be deleted; any other is counted."""
    found.octets += len(octets)
    ours = _recognised(job, octets, found)
    if ours is None or found.only not in (None, ours[0].marker):
        found.foreign += 1
        return None
    if not _is_older(ours[0], job.utc_now(), older_than):
        found.too_young.append(ours[0].marker)
        return None
    if ours[0].marker in job.known:
        found.delays[ours[0].marker] = _delay(*ours)
    return ours[0].marker


def _recognised(job: Job, octets: bytes, found: Leftovers) -> tuple[Sent, Proof] | None:
    try:
        return recognise(read(octets), key=job.prove_key, known=job.known)
    except Exception:
        found.stumbled += 1
        return None


async def _expunge(session: Session, doomed: dict[int, str], found: Leftovers) -> None:
    uids = ",".join(map(str, doomed))
    answers = await session.talk.flight([f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {uids}"])
    into = found.deleted if all(answer.ok for answer in answers) else found.kept
    into += [marker for marker in doomed.values() if marker not in into]


def _delay(sent: Sent, proof: Proof) -> float:
    """How long the message was on its way, by the servers' clocks; 0 where they say nothing, or are behind ours."""
    made, last = _instant(sent.sent), _instant(proof.hops[-1].at) if proof.hops else None
    return max(0.0, (last - made).total_seconds()) if made and last else 0.0


def _is_older(sent: Sent, now: datetime, age: timedelta) -> bool:
    """By the instant that the proof signs; a message without one is not old."""
    made = _instant(sent.sent)
    return made is not None and now - made >= age


def _instant(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
    except ValueError:
        return None
