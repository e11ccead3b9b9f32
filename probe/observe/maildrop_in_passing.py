"""The same over POP3: earlier messages of ours among those that a look has seen anyway, read whole, deleted with the run's own."""

from collections.abc import Sequence

from probe.observe import in_passing
from probe.observe.hunt import due
from probe.observe.maildrop import Session, raw_of
from probe.observe.protocol.pop3 import Response
from probe.observe.protocol.pop3_conversation import LARGEST_MESSAGE


async def proven(session: Session) -> dict[int, str] | None:
    """By number, the markers of earlier messages that may be deleted, each read whole; None where that ended the session. Never
    raises Stopped."""
    hunt = session.hunt
    numbers = session.others[: in_passing.MOST_MESSAGES] if in_passing.may(session.job) else []
    hunt.found.folders = ["INBOX"]
    doomed: dict[int, str] = {}
    left = list(numbers)

    def judge(answer: Response) -> None:
        number = left.pop(0)
        if answer.ok and (marker := due(hunt, raw_of(answer), "INBOX")):
            doomed[number] = marker

    if numbers:
        # One of a chosen size may be among them.
        session.talk.message_octets = LARGEST_MESSAGE
        async with in_passing.aside(session.job, session.journal, session.talk.connection):
            commands = [f"RETR {number}" for number in numbers]
            await session.talk.judged(commands, judge, pipelined=session.pipelined, multiline=True)
    return None if left else doomed


async def sweep(session: Session) -> None:
    """Delete them where the run's own message has not come; that ends the session."""
    if doomed := await proven(session):
        answers: list[Response] = []
        async with in_passing.aside(session.job, session.journal, session.talk.connection):
            commands = [*(f"DELE {number}" for number in doomed), "QUIT"]
            await session.talk.judged(commands, answers.append, pipelined=session.pipelined)
        note_deleted(session, doomed, answers)


def note_deleted(session: Session, doomed: dict[int, str], answers: Sequence[Response]) -> None:
    """`answers`: to each DELE, and to QUIT, which is when the server deletes."""
    if len(answers) > len(doomed) and answers[-1].ok:
        session.hunt.found.deleted += [marker for marker, answer in zip(doomed.values(), answers, strict=False) if answer.ok]
