"""Looking for our message over IMAP4: what is new in each folder, by UID where the server says them, by SEARCH where it does not.

RFC 3501 and 9051. Servers differ in what SEARCH finds (Yahoo: nothing by header; QQ: everything) and in how FETCH answers (in
pieces, twice, labelled otherwise), so that only our own marker in what was fetched counts.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import field, replace

from probe.facts import Found
from probe.message import MESSAGE_OCTETS
from probe.observe import find
from probe.observe.fetching import fetch_whole, hits, merged, wanted
from probe.observe.find import Candidate
from probe.observe.job import Accepted, Job
from probe.observe.journal import Journal
from probe.observe.protocol import imap
from probe.observe.protocol.imap import Answer, Untagged
from probe.observe.protocol.imap_conversation import ImapTalk
from probe.observe.trouble import Stopped, stop
from probe.plain import dataclass

# When the message was accepted before UIDNEXT was noted, so many UIDs below it are looked at too.
UIDS_BEFORE = 50
# The last of these whole, since a filter that encloses our message need not leave our marker in a header field.
WHOLE_BEFORE = 5
# Where SEARCH is no help, so many of the newest messages are looked at by their headers.
NEWEST = 200
# So long after the message has left, most servers have delivered it. Where the final reply takes longer, a look goes out before it.
AHEAD_SECONDS = 0.03
# Other folders are looked into from this look on: the first ones are for the common case.
OTHER_FOLDERS_FROM_LOOK = 3
# UIDs noted before may not hold what came since (a server that was renumbering): now and then the marker is searched for.
SEARCH_AT_LOOK, SEARCH_EVERY = 8, 10
# At the deadline so many folders that the profile does not name are looked into.
MOST_FOLDERS = 100
_HEADER = "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT X-SUBMISSION-PROBE)])"


@dataclass(slots=True)
class Folder:
    """A mailbox to look into. `first_uid` is UIDNEXT as noted, None when the server did not say."""

    name: str
    first_uid: int | None = None
    uid_validity: str | None = None
    exists: bool = True


@dataclass(slots=True)
class Session:
    """A logged-on conversation and what was learned on it. `refused`: why the last look could not read what it asked for."""

    talk: ImapTalk
    capabilities: list[str]
    folders: list[Folder] = field(default_factory=list)
    noted_before: bool = False
    selected: str | None = None
    refused: str | None = None
    # What a look that went out before the final reply has seen, or how it failed.
    ahead: list[Candidate] | Stopped = field(default_factory=list)
    room: imap.Room = field(default_factory=imap.Room)

    @property
    def can_expunge(self) -> bool:
        """Whether single messages can be expunged, by UID: UIDPLUS (RFC 4315), which is part of IMAP4rev2 (RFC 9051)."""
        return not {"UIDPLUS", "IMAP4REV2"}.isdisjoint(self.capabilities)

    @property
    def trash(self) -> str | None:
        """Where the server may put what is expunged, instead of deleting it (Courier's IMAP_MOVE_EXPUNGE_TO_TRASH): what is
        expunged there is gone."""
        return "INBOX.Trash" if "courier" in self.talk.greeting_text.lower() else None


async def look_ahead(job: Job, session: Session) -> None:
    """A look while the final reply to the message is on its way: over a long line it saves a round trip.

    What it sees is for `find_message`, and counts only once the message was accepted.
    """
    far = (session.talk.connection.round_trip or 0.0) > AHEAD_SECONDS
    large = job.draft is not None and bool(job.draft.filling)
    if large or not (far and job.conduct.pipelining and session.noted_before) or await job.leaving.settled() is None:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(AHEAD_SECONDS):
            await job.accepted.settled()
    if job.accepted.is_settled:
        return
    job.renew(session.talk.connection)
    try:
        session.ahead = await _look_into(job, session, session.folders[0], search=False)
    except Stopped as error:
        session.ahead = error


async def find_message(job: Job, journal: Journal, session: Session, accepted: Accepted) -> list[Candidate]:
    """Look straight after the final reply, then at growing intervals; at the deadline once into every other folder."""
    async with journal.stage("imap.find", "find the message over IMAP4", Found()) as stage:
        stage.facts = Found(looks=0, folders=[folder.name for folder in session.folders if folder.exists])
        try:
            candidates = await find.look_until_found(
                job, accepted, journal, stage, lambda look: _look(job, session, look), session.talk.connection,
                at_the_end=lambda: _look_everywhere(job, session),
            )  # fmt: skip
        except Stopped as error:
            if error.trouble.id == "delivery.missing" and session.refused is not None:
                raise stop("imap.refused", f"the mailbox cannot be read: {session.refused}", session.refused) from None
            raise
        stage.facts = replace(find.found(stage.facts, candidates, accepted), uid=candidates[0].number)
    return candidates


async def _look(job: Job, session: Session, look: int) -> list[Candidate]:
    folders = session.folders if look >= OTHER_FOLDERS_FROM_LOOK else session.folders[:1]
    found: list[Candidate] = []
    ahead = session.ahead if look == 1 else []
    if isinstance(ahead, Stopped):
        raise ahead
    if any(candidate.ours for candidate in ahead):
        return ahead
    for folder in folders:
        search = look % SEARCH_EVERY == SEARCH_AT_LOOK
        found += await _look_into(job, session, folder, search=search)
        # A report about the message, or somebody's answer that quotes it, is no reason to stop looking.
        if any(candidate.ours for candidate in found):
            break
    return found


async def _look_everywhere(job: Job, session: Session) -> list[Candidate]:
    """A filter may have filed the message where the profile does not look."""
    answer = await session.talk.command('LIST "" "*"')
    known = {folder.name.upper() for folder in session.folders if folder.exists}
    names = [name for item in answer.of("LIST") if (name := imap.listed(item)) and name.upper() not in known]
    for name in names[:MOST_FOLDERS]:
        job.renew(session.talk.connection)
        found = await look_into(job, session, name)
        if any(candidate.ours for candidate in found):
            return found
    return []


async def look_into(job: Job, session: Session, name: str) -> list[Candidate]:
    """Search one folder for our message; nothing where there is no such folder."""
    return await _look_into(job, session, Folder(name), search=True)


async def _look_into(job: Job, session: Session, folder: Folder, *, search: bool) -> list[Candidate]:
    """SELECT again and fetch what is new, in one flight: on Dovecot a pipelined NOOP and FETCH misses new mail."""
    assert job.draft is not None
    fetches = [] if search else _fetches(session, folder, job.report_awaited)
    commands = [f"SELECT {imap.mailbox(folder.name)}", *(command for command, _ in fetches)]
    selected, *fetched = await session.talk.flight(commands, keep=wanted(lambda octets: find.marked(octets, job)))
    if not selected.ok:
        return []
    session.selected, folder.exists = folder.name, True
    refused = any(whole and not answer.ok for (_, whole), answer in zip(fetches, fetched, strict=True))
    if _renewed(folder, selected) or not fetches or refused:
        return await _search(job, session, folder, selected)
    found: list[Candidate] = []
    for (_, whole), answer in zip(fetches, fetched, strict=True):
        found += await _candidates(job, session, folder, answer, whole)
    return found


def _fetches(session: Session, folder: Folder, reports_too: bool) -> list[tuple[str, bool]]:
    """The FETCHes for what is new, each with whether it fetches whole messages; none when only SEARCH can know. `reports_too`:
    whole also what only may be new, since the marker stands in a report's text only.

    No `*` in the sets: where nothing is new it would mean the last message of somebody else.
    """
    if folder.first_uid is None:
        return []
    before = 0 if session.noted_before else UIDS_BEFORE if reports_too else WHOLE_BEFORE
    first = max(1, folder.first_uid - before)
    fetches = [(f"UID FETCH {first}:4294967295 (UID BODY.PEEK[]<0.{MESSAGE_OCTETS}>)", True)]
    if before == WHOLE_BEFORE and first > 1:
        fetches.append((f"UID FETCH {max(1, folder.first_uid - UIDS_BEFORE)}:{first - 1} {_HEADER}", False))
    return fetches


def _renewed(folder: Folder, selected: Answer) -> bool:
    """Whether UIDVALIDITY changed: then the UIDs noted mean nothing any more."""
    validity = selected.coded("UIDVALIDITY")
    return folder.uid_validity is not None and validity is not None and validity != folder.uid_validity


async def _search(job: Job, session: Session, folder: Folder, selected: Answer) -> list[Candidate]:
    """By marker, without CHARSET (Exchange answers BADCHARSET); then the newest headers where SEARCH is no help."""
    assert job.draft is not None
    answer = await session.talk.command(f"UID SEARCH HEADER X-Submission-Probe {job.draft.marker}")
    uids = sorted(set(hits(answer)))[-find.MOST_CANDIDATES :]
    if uids:
        found = await _headers(job, session, folder, f"UID FETCH {','.join(map(str, uids))} {_HEADER}")
        if found:
            return found
    exists = imap.exists(selected) or 0
    if not exists:
        return []
    return await _headers(job, session, folder, f"FETCH {max(1, exists - NEWEST + 1)}:{exists} {_HEADER}")


async def _headers(job: Job, session: Session, folder: Folder, command: str) -> list[Candidate]:
    fetched = await session.talk.command(command, keep=wanted(lambda octets: find.marked(octets, job)))
    return await _candidates(job, session, folder, fetched, whole=False)


async def _candidates(job: Job, session: Session, folder: Folder, answer: Answer, whole: bool) -> list[Candidate]:
    """The messages that carry our marker, each fetched whole and proven or not."""
    session.refused = None if answer.ok else f"{answer.status} {answer.text}"
    found = []
    for uid, octets in _marked(job, answer.of("FETCH")):
        raw = octets if whole else await _whole(session, uid)
        found.append(find.candidate(job, folder.name, uid, raw, answer.at))
        if len(found) >= find.MOST_CANDIDATES:
            break
    return found


def _marked(job: Job, items: Sequence[Untagged]) -> Iterable[tuple[int, bytes]]:
    return ((uid, octets) for uid, octets in merged(items).items() if find.marked(octets, job))


async def _whole(session: Session, uid: int) -> bytes:
    answer = await fetch_whole(session.talk, [uid])
    if not answer.ok:
        session.refused = f"{answer.status} {answer.text}"
    return merged(answer.of("FETCH")).get(uid, b"")
