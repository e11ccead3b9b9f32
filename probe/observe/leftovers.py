"""Find and delete our own leftovers over IMAP4: messages whose keyed proof this installation made, as far as they are claimed.

Another installation's messages, and anything whose proof does not hold, are counted and left alone. Anybody may send mail that
carries markers: what the outbox names is looked for first, then the newest; each is parsed once; number and octets are bounded.
Where SEARCH is refused or finds nothing, the newest headers are looked through.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from probe.facts import Deleted, Swept
from probe.facts.parts import Collected, HopSeen
from probe.message import MARKER_HEADER, MARKER_PATTERN, MARKER_PREFIX, Letter, Proof, Sent, carries_marker, prove, read, recognise
from probe.observe import find
from probe.observe.fetching import fetch_whole, hits, merged, uid_and_octets, wanted
from probe.observe.job import Job, Side
from probe.observe.journal import Journal
from probe.observe.legs.imap import Settings, open_session
from probe.observe.mailbox import Session
from probe.observe.protocol import imap
from probe.observe.trouble import Stopped, stop
from probe.profile import Reader
from probe.record import TO_STAY

MOST_AT_ONCE = 20
# Another installation that shares the mailbox may have left as many as it likes.
MOST_IN_ALL = 5_000
MOST_OCTETS = 64 * 1024 * 1024
MOST_KNOWN = 100
# SEARCH TEXT reads whole messages: of those that are still awaited only.
MOST_IN_TEXT = 20
MOST_QUOTED = 10
MOST_NEWEST = 200
LOOK_SECONDS = 0.5

# What is to become of a message of ours: deleted; left, since it is young; left, since another run or profile waits for it.
Claim = Literal["ours", "young", "left"]


@dataclass(slots=True)
class Leftovers:
    """What a sweep saw: markers of ours by what became of them, and how many messages were not ours."""

    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    too_young: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    foreign: int = 0
    octets: int = 0
    # Messages over which our own code stumbled: whoever wrote them, ours behind them are still looked for.
    stumbled: int = 0
    # When set, every other message is left alone.
    only: str | None = None
    # The folders that were looked into.
    folders: list[str] = field(default_factory=list)
    # By marker, what became of it on its way. Only of what the outbox expects: an old message that somebody sends again is no
    # delivery.
    messages: dict[str, Collected] = field(default_factory=dict)
    # By marker, why a report says that the message will not come.
    returned: dict[str, str] = field(default_factory=dict)
    # Where there were more messages than were looked at: what was not seen may be there.
    in_part: bool = False

    @property
    def seen(self) -> set[str]:
        """Every marker of ours that was found."""
        return {*self.deleted, *self.kept, *self.too_young, *self.left, *self.messages}

    @property
    def delays(self) -> dict[str, float]:
        """By marker, seconds from the Date we gave the message to its last Received header: its true delay, however late we look;
        0 where the servers' clocks say nothing, or are behind ours."""
        return {marker: message["seconds"] or 0.0 for marker, message in self.messages.items()}

    def facts(self) -> Swept:
        """What a stage records of it."""
        return Swept(
            deleted=self.deleted,
            kept=self.kept,
            too_young=self.too_young,
            left=self.left,
            foreign=self.foreign,
            stumbled=self.stumbled,
            delays=self.delays,
            folders=self.folders,
            messages=list(self.messages.values()),
            returned=self.returned,
        )

    def note(self, folder: str, sent: Sent, proof: Proof) -> None:
        """A message that was awaited is there; a second one is a copy."""
        if (first := self.messages.get(sent.marker)) is not None:
            first["copies"] += 1
            return
        self.messages[sent.marker] = Collected(
            marker=sent.marker, folder=folder, copies=1, seconds=_delay(sent, proof), proven_by=proof.proven_by, text=proof.text,
            enclosed=proof.enclosed, subject=proof.subject, message_id_changed=proof.message_id_changed,
            sender_rewritten=proof.sender_rewritten,
            hops=[HopSeen(by=hop.by, at=hop.at, seconds=hop.seconds) for hop in proof.hops],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hunt:
    """A sweep under way: on whose behalf, what is claimed of a message that is proven to be ours, and what was found."""

    job: Job
    journal: Journal
    claim: Callable[[Sent], Claim]
    found: Leftovers = field(default_factory=Leftovers)


# By folder, its UIDVALIDITY, and the marker of each UID that was proven in this session and is to be deleted.
_Doomed = dict[str, tuple[str | None, dict[int, str]]]


async def sweep(
    hunt: Hunt, side: Side, settings: Reader, *, dry_run: bool, between: Callable[[], Awaitable[object]] | None = None
) -> Leftovers:
    """Look through the reader's folders, and delete what is claimed. Troubles are in the journal's stages; what was done until
    then is returned. `between`: what is to happen once all was seen, and before anything is deleted."""
    with contextlib.suppress(Stopped):
        async with _opened(hunt.job, hunt.journal, side, settings) as session:
            doomed: _Doomed = {}
            try:
                async with hunt.journal.stage("imap.find", "look for leftovers over IMAP4", Swept()):
                    for folder in session.folders:
                        await _look_into(hunt, session, folder.name, doomed)
            except Stopped:
                # What was proven until then can be deleted all the same.
                await _clear(hunt, session, doomed, dry_run=dry_run)
                raise
            if between is not None:
                await between()
            await _clear(hunt, session, doomed, dry_run=dry_run)
    return hunt.found


async def remove(job: Job, journal: Journal, side: Side, settings: Reader, marker: str) -> bool:
    """Delete this one message of ours, looking for it until the job's deadline; whether it was deleted."""
    hunt = Hunt(job, journal, lambda sent: "ours", Leftovers(only=marker))
    found = hunt.found
    with contextlib.suppress(Stopped):
        async with _opened(job, journal, side, settings) as session:
            doomed: _Doomed = {}
            while not any(claimed for _, claimed in doomed.values()) and job.deadline.seconds_left:
                for folder in session.folders:
                    await _look_into(hunt, session, folder.name, doomed)
                if not any(claimed for _, claimed in doomed.values()):
                    await job.sleep(LOOK_SECONDS)
            await _clear(hunt, session, doomed, dry_run=False)
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


# -- look ------------------------------------------------------------------------------------------------------------


async def _look_into(hunt: Hunt, session: Session, folder: str, doomed: _Doomed) -> None:
    selected = await session.talk.command(f"SELECT {imap.mailbox(folder)}")
    if not selected.ok:
        return
    session.selected = folder
    hunt.found.folders.append(folder)
    _, claimed = doomed.setdefault(folder, (selected.coded("UIDVALIDITY"), {}))
    for uids in _in_pieces(await _search(hunt, session, folder, selected), MOST_AT_ONCE):
        if hunt.found.octets > MOST_OCTETS:
            raise stop("imap.search-refused", f"{folder}: more than 64 MiB of mail that carries markers; swept in part")
        hunt.job.renew(session.talk.connection)
        await _judge_some(hunt, session, folder, uids, claimed)


async def _search(hunt: Hunt, session: Session, folder: str, selected: imap.Answer) -> list[int]:
    """UIDs of what may be ours: first what we know of, the latest first, then the newest that carry any marker."""
    only = hunt.found.only
    known = [only] if only else list(hunt.job.known)[: -MOST_KNOWN - 1 : -1]
    keys = [*(f"HEADER {MARKER_HEADER} {marker}" for marker in (*known, MARKER_PREFIX)), f"SUBJECT {MARKER_PREFIX}"]
    answers = await session.talk.flight([f"UID SEARCH {key}" for key in keys])
    found = [sorted(hits(answer, MOST_IN_ALL), reverse=True) for answer in answers]
    absent = [marker for marker, uids in zip(known, found, strict=False) if not uids and marker not in hunt.found.seen]
    found.insert(len(known), await _in_text(hunt, session, absent[:MOST_IN_TEXT]))
    # Header fields may have been removed, and some servers' SEARCH finds nothing by header.
    if absent or not any(found):
        fetched = await _newest(session, selected)
        if not answers[len(known)].ok and fetched is None:
            raise stop("imap.search-refused", f"SEARCH in {folder}: {answers[-2].status} {answers[-2].text}", answers[-2].text)
        found.append(fetched or [])
    uids = list(dict.fromkeys(uid for some in found for uid in some))
    hunt.found.in_part |= len(uids) > MOST_IN_ALL or any(len(some) >= MOST_IN_ALL for some in found)
    return uids[:MOST_IN_ALL]


async def _in_text(hunt: Hunt, session: Session, markers: list[str]) -> list[int]:
    """UIDs of messages whose text names what is awaited: ours without its header fields, or a report about it.

    SINCE spares the server its older mail. RFC 3501 section 6.4.4: a day, by the date the message came in; hence a day more."""
    if not markers:
        return []
    instants = [made for marker in markers if (sent := hunt.job.known.get(marker)) and (made := _instant(sent.sent))]
    first = min([hunt.job.utc_now(), *instants]) - timedelta(days=1)
    since = f"{first.day}-{_MONTHS[first.month - 1]}-{first.year}"
    answers = await session.talk.flight([f"UID SEARCH SINCE {since} TEXT {marker}" for marker in markers])
    return sorted({uid for answer in answers if answer.ok for uid in hits(answer)}, reverse=True)


# strftime's are the locale's.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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


def _in_pieces(uids: list[int], most: int) -> Iterator[list[int]]:
    return (uids[start : start + most] for start in range(0, len(uids), most))


async def _judge_some(hunt: Hunt, session: Session, folder: str, uids: list[int], claimed: dict[int, str]) -> None:
    """Fetch, and prove each as it arrives; what is claimed is deleted later, by exactly its UID in this session."""
    waiting = set(uids)

    def judged(item: imap.Untagged) -> bool:
        uid, octets = uid_and_octets(item)
        if uid in waiting and octets is not None:
            waiting.remove(uid)
            if marker := due(hunt, octets, folder):
                claimed[uid] = marker
        return False

    await fetch_whole(session.talk, uids, judged)


def due(hunt: Hunt, octets: bytes, folder: str | None) -> str | None:
    """The marker of a message that is to be deleted; any other is counted. `folder`: None where it says nothing of the delivery."""
    found = hunt.found
    found.octets += len(octets)
    ours = _recognised(hunt, octets)
    if ours is None or found.only not in (None, ours[0].marker):
        found.foreign += 1
        return None
    sent, proof = ours
    claim = hunt.claim(sent)
    if claim != "ours":
        into = found.too_young if claim == "young" else found.left
        into += [marker for marker in (sent.marker,) if marker not in into]
        return None
    if sent.marker in hunt.job.known and folder is not None:
        found.note(folder, sent, proof)
    return sent.marker


def _recognised(hunt: Hunt, octets: bytes) -> tuple[Sent, Proof] | None:
    job = hunt.job
    try:
        letter = read(octets)
        ours = recognise(letter, key=job.prove_key, known=job.known)
        if ours is None:
            _note_report(hunt, letter, octets)
        return ours
    except Exception:
        hunt.found.stumbled += 1
        return None


def _note_report(hunt: Hunt, letter: Letter, octets: bytes) -> None:
    """A mail system may report that a message which is awaited will not come."""
    named = dict.fromkeys(MARKER_PATTERN.findall(octets.decode("latin-1")))
    for marker in [marker for marker in named if marker in hunt.job.known][:MOST_QUOTED]:
        report = prove(letter, key=hunt.job.prove_key, expected=hunt.job.known[marker]).bounce
        if report is not None and report.is_final:
            hunt.found.returned.setdefault(marker, find.reason(hunt.journal, report))


# -- delete ----------------------------------------------------------------------------------------------------------


async def _clear(hunt: Hunt, session: Session, doomed: _Doomed, *, dry_run: bool) -> None:
    """Delete exactly the UIDs that were proven in this session. Raises Stopped."""
    claimed = [marker for _, each in doomed.values() for marker in each.values()]
    can = bool({"UIDPLUS", "IMAP4REV2"} & set(session.capabilities))
    if claimed and not dry_run and can:
        hunt.job.renew(session.talk.connection)
        async with hunt.journal.stage("imap.delete", "delete leftovers over IMAP4", Deleted()):
            with find.cleaning_up(hunt.job):
                await _expunge_all(hunt, session, doomed)
                await _empty_trash(hunt, session)
    else:
        hunt.journal.skip("imap.delete", _why_not(dry_run=dry_run, can=can) if claimed else "there is nothing of ours to delete")
        hunt.found.kept += dict.fromkeys(claimed)
    hunt.journal.see("imap.find", hunt.found.facts())


def _why_not(*, dry_run: bool, can: bool) -> str:
    return TO_STAY if dry_run or can else "the server has no UIDPLUS, and EXPUNGE would take other mail along"


async def _empty_trash(hunt: Hunt, session: Session) -> None:
    """What is expunged may lie in the server's own folder for it, as what earlier runs expunged may."""
    if session.trash is not None:
        moved: _Doomed = {}
        apart = replace(hunt, found=Leftovers())
        await _look_into(apart, session, session.trash, moved)
        await _expunge_all(apart, session, moved)
        hunt.found.deleted += [marker for marker in apart.found.deleted if marker not in hunt.found.deleted]


async def _expunge_all(hunt: Hunt, session: Session, doomed: _Doomed) -> None:
    found = hunt.found
    for folder, (validity, claimed) in doomed.items():
        if claimed and not await _is_selected(session, folder, validity):
            found.kept += [marker for marker in claimed.values() if marker not in found.kept]
            continue
        for uids in _in_pieces(list(claimed), MOST_KNOWN):
            listed = ",".join(map(str, uids))
            answers = await session.talk.flight([f"UID STORE {listed} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {listed}"])
            into = found.deleted if all(answer.ok for answer in answers) else found.kept
            into += [marker for marker in dict.fromkeys(claimed[uid] for uid in uids) if marker not in into]


async def _is_selected(session: Session, folder: str, validity: str | None) -> bool:
    """SELECT the folder where another is; False where its UIDs may mean other messages than those that were proven."""
    if session.selected == folder:
        return True
    selected = await session.talk.command(f"SELECT {imap.mailbox(folder)}")
    session.selected = folder if selected.ok else None
    return selected.ok and selected.coded("UIDVALIDITY") == validity


def _delay(sent: Sent, proof: Proof) -> float | None:
    """How long the message was on its way, by the servers' clocks; 0 where they are behind ours."""
    made, last = _instant(sent.sent), _instant(proof.hops[-1].at) if proof.hops else None
    return round(max(0.0, (last - made).total_seconds()), 3) if made and last else None


def is_older(sent: Sent, now: datetime, age: timedelta) -> bool:
    """By the instant that the proof signs; a message without one is not old."""
    made = _instant(sent.sent)
    return made is not None and now - made >= age


def _instant(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
    except ValueError:
        return None
