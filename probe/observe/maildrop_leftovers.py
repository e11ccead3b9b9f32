"""Find and delete our own leftovers over POP3 (RFC 1939): where IMAP4 is not read, or cannot delete single messages (no UIDPLUS).

There is no search: the header of each message is asked for, newest first, and what carries a marker is read whole and proven.
"""

import contextlib
from datetime import timedelta

from probe.message import MARKER_PREFIX, carries_marker
from probe.observe.job import Job, Side
from probe.observe.journal import Journal
from probe.observe.leftovers import MOST_IN_ALL, MOST_OCTETS, Leftovers, due
from probe.observe.legs.pop3 import open_session
from probe.observe.maildrop import Session, both_ends, count, raw_of
from probe.observe.protocol.pop3 import Response
from probe.observe.trouble import Stopped

# Without TOP a message is to be read whole, of other people too.
MOST_READ_WHOLE = 50


async def sweep(job: Job, journal: Journal, side: Side, *, older_than: timedelta, dry_run: bool) -> Leftovers:
    """Look through the maildrop. Troubles are in the journal's stages; what was done until then is returned."""
    found = Leftovers()
    with contextlib.suppress(Stopped):
        async with (
            open_session(job, journal, side) as session,
            journal.stage("pop3.find", "look for leftovers over POP3", found.facts()) as stage,
        ):
            doomed = await _doomed(session, older_than, found)
            if dry_run:
                found.kept += doomed.values()
            elif doomed:
                await _delete(session, doomed, found)
            stage.facts = found.facts()
    return found


async def _doomed(session: Session, older_than: timedelta, found: Leftovers) -> dict[int, str]:
    """The marker of each message that is to be deleted, by its number."""
    messages = await count(session)
    numbers = both_ends(messages, (MOST_IN_ALL if session.has_top else MOST_READ_WHOLE) // 2)
    found.in_part = len(numbers) < messages
    doomed: dict[int, str] = {}
    for number in await _marked(session, numbers):
        session.job.renew(session.connection)
        answer = await session.talk.command(f"RETR {number}", multiline=True)
        if found.octets > MOST_OCTETS:
            found.in_part = True
            break
        if answer.ok and (marker := due(session.job, raw_of(answer), older_than, found)):
            doomed[number] = marker
    return doomed


async def _marked(session: Session, numbers: list[int]) -> list[int]:
    """Those whose header carries a marker; all, where the server shows no headers."""
    if not session.has_top:
        return numbers
    marked: list[int] = []
    left = iter(numbers)

    def judge(answer: Response) -> None:
        number = next(left)
        if answer.ok and carries_marker(raw_of(answer), MARKER_PREFIX):
            marked.append(number)

    commands = [f"TOP {number} 0" for number in numbers]
    await session.talk.judged(commands, judge, pipelined=session.pipelined, multiline=True)
    return marked


async def _delete(session: Session, doomed: dict[int, str], found: Leftovers) -> None:
    """DELE of what was proven in this session, and QUIT, which is when the server deletes."""
    answers: list[Response] = []
    try:
        await session.talk.judged([*(f"DELE {number}" for number in doomed), "QUIT"], answers.append, pipelined=session.pipelined)
    finally:
        gone = len(answers) > len(doomed) and answers[-1].ok
        for marker, answer in zip(doomed.values(), answers, strict=False):
            (found.deleted if gone and answer.ok else found.kept).append(marker)
