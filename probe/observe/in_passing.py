"""Earlier messages of ours that a run comes across: proven, and deleted once the run's own work is done.

What a run does not find in time, or a second copy of what it deleted, arrives at the end of the mailbox, where the next run reads.
So only the last messages before its own are searched, by a command that goes along with the deletion of its own; where nothing is
left that costs no round trip. Nothing here changes how the run ends: whatever goes wrong, the messages stay for the next one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import replace
from functools import partial

from probe.facts import Deleted, Found
from probe.facts.parts import Leftover
from probe.message import MARKER_HEADER, MARKER_PREFIX
from probe.observe.by_uid import expunge_all, judge_some
from probe.observe.connection import Connection
from probe.observe.fetching import hits
from probe.observe.hunt import Hunt
from probe.observe.job import Job
from probe.observe.journal import Journal
from probe.observe.mailbox import Session
from probe.observe.protocol import imap
from probe.observe.protocol.imap import Answer
from probe.observe.trouble import Stopped

# So many UIDs below those that came since the logon: in another program's mailbox the search stays cheap.
MOST_UIDS = 200
# A run reads and deletes so many at most, and takes so long at most.
MOST_MESSAGES = 10
SECONDS = 3.0


def search(job: Job, session: Session, name: str) -> str | None:
    """The SEARCH in this folder for what carries a marker of any run; None where nothing could be deleted, or must not be."""
    folder = next((one for one in session.folders if one.name == name and one.exists), None)
    if folder is None or not folder.first_uid or folder.first_uid < 2 or not may(job) or not session.can_expunge:
        return None
    last = folder.first_uid - 1
    return f"UID SEARCH UID {max(1, last - MOST_UIDS + 1)}:{last} OR HEADER {MARKER_HEADER} {MARKER_PREFIX} SUBJECT {MARKER_PREFIX}"


def may(job: Job) -> bool:
    """Whether there is leave and time to delete earlier messages."""
    return job.conduct.delete and not job.interrupted


async def sweep(job: Job, journal: Journal, session: Session, folder: str, own: Collection[int]) -> None:
    """Delete what the SEARCH that went along found in the folder, which is selected, beside the run's own messages (by UID). Never
    raises Stopped."""
    hunt = Hunt(job, journal, job.claim)
    async with aside(job, journal, session.talk.connection):
        await _sweep(hunt, session, folder, session.talk.besides, own)
    note(hunt, "imap.find")


async def sweep_all(job: Job, journal: Journal, session: Session) -> None:
    """The same in each folder of the reader, for a run that did not find its message: its predecessors' may have come since."""
    hunt = Hunt(job, journal, job.claim)
    async with aside(job, journal, session.talk.connection):
        for folder in session.folders:
            if command := search(job, session, folder.name):
                await _sweep(hunt, session, folder.name, partial(_asked, session, folder.name, command))
    note(hunt, "imap.find")


async def _asked(session: Session, name: str, command: str) -> Answer:
    selected, found = await session.talk.flight([f"SELECT {imap.mailbox(name)}", command])
    session.selected = name if selected.ok else None
    return found


@contextlib.asynccontextmanager
async def aside(job: Job, journal: Journal, connection: Connection) -> AsyncIterator[None]:
    """A piece of work whose troubles are nobody's, within `SECONDS`."""
    loop = asyncio.get_running_loop()
    connection.limit(loop.time() + min(SECONDS, job.conduct.per_connection))
    apart = Journal(loop.time, journal.redactor)
    with contextlib.suppress(Stopped):
        async with apart.stage("leftovers", "delete earlier messages", Deleted()):
            yield


async def _sweep(
    hunt: Hunt, session: Session, folder: str, ask: Callable[[], Awaitable[Answer | None]], own: Collection[int] = ()
) -> None:
    answer = await ask()
    if answer is None or not answer.ok:
        return
    hunt.found.folders.append(folder)
    uids = sorted(set(hits(answer)).difference(own), reverse=True)[:MOST_MESSAGES]
    claimed: dict[int, str] = {}
    if uids:
        await judge_some(hunt, session, folder, uids, claimed)
    if claimed:
        await expunge_all(hunt, session, {folder: (None, claimed)})


def note(hunt: Hunt, stage: str) -> None:
    """Put what was found into the stage that looked for the message."""
    found, journal = hunt.found, hunt.journal
    if not found.folders:
        return
    draft = hunt.job.draft
    others = {*found.too_young, *found.left} - {draft.marker if draft else ""}
    leftovers = [Leftover(**{**one, "deleted": one["marker"] in found.deleted}) for one in found.earlier]
    journal.see(stage, replace(journal.seen(stage, Found), ours=len(leftovers) + len(others), leftovers=leftovers))
