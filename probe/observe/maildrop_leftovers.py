"""Find and delete our own leftovers over POP3 (RFC 1939): where IMAP4 is not read, or cannot delete single messages (no UIDPLUS),
and where a collection reads by both.

There is no search: the header of each message is asked for, newest first, and what carries a marker is read whole and proven.
"""

import contextlib
from collections.abc import Iterator

from probe.facts import Deleted
from probe.message import MARKER_PATTERN, MARKER_PREFIX, carries_marker, may_quote
from probe.observe import find
from probe.observe.by_uid import MOST_AT_ONCE
from probe.observe.hunt import MOST_OCTETS, Hunt, Leftovers, due
from probe.observe.job import Side
from probe.observe.legs.pop3 import open_session
from probe.observe.maildrop import MOST_REPORTS, Session, both_ends, count, raw_of
from probe.observe.protocol.pop3 import Response
from probe.observe.protocol.pop3_conversation import LARGEST_MESSAGE
from probe.observe.trouble import Stopped
from probe.record import TO_STAY

# At each end of the maildrop. Another installation that shares it may have left as many as it likes.
MOST_AT_EACH_END = 1_000
# Without TOP a message is to be read whole, of other people too.
MOST_READ_WHOLE = 50


async def sweep(hunt: Hunt, side: Side, *, dry_run: bool) -> Leftovers:
    """Look through the maildrop, and delete what is claimed. Troubles are in the journal's stages; what was done until then is
    returned."""
    found, journal = hunt.found, hunt.journal
    with contextlib.suppress(Stopped):
        async with open_session(hunt.job, journal, side) as session:
            async with journal.stage("pop3.find", "look for leftovers over POP3", found.facts()) as stage:
                doomed = await _doomed(session, hunt)
                stage.facts = found.facts()
            await _clear(session, hunt, doomed, dry_run=dry_run)
    return found


async def _clear(session: Session, hunt: Hunt, doomed: dict[int, str], *, dry_run: bool) -> None:
    journal, found = hunt.journal, hunt.found
    if not doomed or dry_run:
        journal.skip("pop3.delete", TO_STAY if doomed else "there is nothing of ours to delete")
        found.kept += dict.fromkeys(doomed.values())
    else:
        async with journal.stage("pop3.delete", "delete leftovers over POP3", Deleted(numbers=list(doomed))):
            with find.cleaning_up(hunt.job):
                await _delete(session, doomed, found)
    journal.see("pop3.find", found.facts())


async def _doomed(session: Session, hunt: Hunt) -> dict[int, str]:
    """The marker of each message that is to be deleted, by its number."""
    found = hunt.found
    messages = await count(session)
    found.folders.append("INBOX")
    if session.has_top:
        # Only what carries a marker is read whole then, and one of a chosen size may be among it.
        session.talk.message_octets = LARGEST_MESSAGE
    numbers = both_ends(messages, MOST_AT_EACH_END if session.has_top else MOST_READ_WHOLE // 2)
    found.in_part = len(numbers) < messages
    doomed: dict[int, str] = {}
    for some in _in_pieces(await _marked(session, numbers)):
        session.job.renew(session.connection)
        if found.octets > MOST_OCTETS:
            found.in_part = True
            break
        await _judge_some(session, hunt, some, doomed)
    return doomed


def _in_pieces(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[start : start + MOST_AT_ONCE] for start in range(0, len(numbers), MOST_AT_ONCE))


async def _judge_some(session: Session, hunt: Hunt, numbers: list[int], doomed: dict[int, str]) -> None:
    left = iter(numbers)

    def judge(answer: Response) -> None:
        number = next(left)
        if answer.ok and (marker := due(hunt, raw_of(answer), "INBOX")):
            doomed[number] = marker

    commands = [f"RETR {number}" for number in numbers]
    await session.talk.judged(commands, judge, pipelined=session.pipelined, multiline=True)


async def _marked(session: Session, numbers: list[int]) -> list[int]:
    """Those whose header carries a marker, what is awaited first; all, where the server shows no headers. A few reports too: the
    marker of the message that they are about stands in their text."""
    if not session.has_top:
        return numbers
    awaited: list[int] = []
    marked: list[int] = []
    reports: list[int] = []
    left = iter(numbers)

    def judge(answer: Response) -> None:
        number, raw = next(left), raw_of(answer) if answer.ok else b""
        if any(marker in session.job.known for marker in MARKER_PATTERN.findall(raw.decode("latin-1"))):
            awaited.append(number)
        elif carries_marker(raw, MARKER_PREFIX):
            marked.append(number)
        elif answer.ok and len(reports) < MOST_REPORTS and may_quote(raw):
            reports.append(number)

    commands = [f"TOP {number} 0" for number in numbers]
    await session.talk.judged(commands, judge, pipelined=session.pipelined, multiline=True)
    return [*awaited, *reports, *marked]


async def _delete(session: Session, doomed: dict[int, str], found: Leftovers) -> None:
    """DELE of what was proven in this session, and QUIT, which is when the server deletes."""
    answers: list[Response] = []
    try:
        await session.talk.judged([*(f"DELE {number}" for number in doomed), "QUIT"], answers.append, pipelined=session.pipelined)
    finally:
        gone = len(answers) > len(doomed) and answers[-1].ok
        # Of copies all are to be gone.
        went = dict.fromkeys(doomed.values(), True)
        for index, marker in enumerate(doomed.values()):
            went[marker] &= gone and index < len(answers) and answers[index].ok
        found.kept += [marker for marker, ok in went.items() if not ok]
        found.deleted += [marker for marker, ok in went.items() if ok]
