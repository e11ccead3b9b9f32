"""Find and delete our own leftovers over IMAP4: messages whose keyed proof this installation made, as far as they are claimed.

Another installation's messages, and anything whose proof does not hold, are counted and left alone. Anybody may send mail that
carries markers: what the outbox names is looked for first, then the newest; each is parsed once; number and octets are bounded.
Where SEARCH is refused or finds nothing, the newest headers are looked through.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from probe.facts import Deleted, Swept
from probe.message import MARKER_HEADER, MARKER_PREFIX, carries_marker
from probe.observe import find
from probe.observe.by_uid import MOST_AT_ONCE, Doomed, expunge_all, in_pieces, judge_some
from probe.observe.fetching import hits, merged, wanted
from probe.observe.hunt import MOST_OCTETS, Hunt, Leftovers, instant
from probe.observe.job import Job, Side
from probe.observe.journal import Journal
from probe.observe.legs.imap import Settings, open_session
from probe.observe.mailbox import Session
from probe.observe.protocol import imap
from probe.observe.trouble import Stopped, stop
from probe.profile import Reader
from probe.record import TO_STAY

# Another installation that shares the mailbox may have left as many as it likes.
MOST_IN_ALL = 5_000
MOST_KNOWN = 100
# SEARCH TEXT reads whole messages: of those that are still awaited only.
MOST_IN_TEXT = 20
MOST_NEWEST = 200
LOOK_SECONDS = 0.5


async def sweep(
    hunt: Hunt, side: Side, settings: Reader, *, dry_run: bool, between: Callable[[], Awaitable[object]] | None = None
) -> Leftovers:
    """Look through the reader's folders, and delete what is claimed. Troubles are in the journal's stages; what was done until
    then is returned. `between`: what is to happen once all was seen, and before anything is deleted."""
    with contextlib.suppress(Stopped):
        async with _opened(hunt.job, hunt.journal, side, settings) as session:
            doomed: Doomed = {}
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
            doomed: Doomed = {}
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


async def _look_into(hunt: Hunt, session: Session, folder: str, doomed: Doomed) -> None:
    selected = await session.talk.command(f"SELECT {imap.mailbox(folder)}")
    if not selected.ok:
        return
    session.selected = folder
    hunt.found.folders.append(folder)
    _, claimed = doomed.setdefault(folder, (selected.coded("UIDVALIDITY"), {}))
    for uids in in_pieces(await _search(hunt, session, folder, selected), MOST_AT_ONCE):
        if hunt.found.octets > MOST_OCTETS:
            raise stop("imap.search-refused", f"{folder}: more than 64 MiB of mail that carries markers; swept in part")
        hunt.job.renew(session.talk.connection)
        await judge_some(hunt, session, folder, uids, claimed)


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
    instants = [made for marker in markers if (sent := hunt.job.known.get(marker)) and (made := instant(sent.sent))]
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


# -- delete ----------------------------------------------------------------------------------------------------------


async def _clear(hunt: Hunt, session: Session, doomed: Doomed, *, dry_run: bool) -> None:
    """Delete exactly the UIDs that were proven in this session. Raises Stopped."""
    claimed = [marker for _, each in doomed.values() for marker in each.values()]
    can = session.can_expunge
    if claimed and not dry_run and can:
        hunt.job.renew(session.talk.connection)
        async with hunt.journal.stage("imap.delete", "delete leftovers over IMAP4", Deleted()):
            with find.cleaning_up(hunt.job):
                await expunge_all(hunt, session, doomed)
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
        moved: Doomed = {}
        apart = replace(hunt, found=Leftovers())
        await _look_into(apart, session, session.trash, moved)
        await expunge_all(apart, session, moved)
        hunt.found.deleted += [marker for marker in apart.found.deleted if marker not in hunt.found.deleted]
