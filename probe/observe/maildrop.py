"""Looking for our message over POP3: TOP at both ends of the maildrop, and what may be ours read whole.

RFC 1939, RFC 2449. There is no search and no order one can rely on, and other people's mail is not to be read: headers first.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from probe.message import MARKER_PREFIX, MESSAGE_OCTETS, may_quote
from probe.observe import find
from probe.observe.connection import Connection
from probe.observe.find import Candidate
from probe.observe.hunt import Hunt
from probe.observe.job import Job, Side
from probe.observe.journal import Journal
from probe.observe.protocol import pop3
from probe.observe.protocol.pop3 import Response
from probe.observe.protocol.pop3_conversation import Pop3Talk
from probe.observe.trouble import stop

# Of a report or a filter's wrapping so many lines are read too, of so many such messages a look.
LINES_OF_REPORT, MOST_REPORTS = 500, 5
# Newest last on most servers, newest first on Exchange, by size on a few: both ends of the maildrop are looked at, further in
# as long as nothing is found.
AT_EACH_END = (3, 10, 25)
# Where all go in one flight, at the first and the last look further in.
THOROUGHLY = (*AT_EACH_END, 100)
# Of those outermost so many lines behind the header are read too, and dropped where they are not ours: our own message has some
# ten, so that finding it is reading it.
LINES_OF_OURS = 100
# Asked for with STAT, before it is known how many there are: in a mailbox of the probe's own there are seldom more.
AT_ONCE = (1, 2)


@dataclass(slots=True)
class Session:
    """One POP3 session after another: `talk` is the one that is open."""

    job: Job
    journal: Journal
    side: Side
    talk: Pop3Talk
    capabilities: dict[str, list[str]] = field(default_factory=dict)
    greeting: str = ""
    logons: int = 0
    top_refused: bool = False
    # Numbers of messages that the last look read to their end.
    whole: set[int] = field(default_factory=set)
    # Numbers of messages that the last look saw and that carry a marker of another run.
    others: list[int] = field(default_factory=list)
    hunt: Hunt = field(init=False)

    def __post_init__(self) -> None:
        self.hunt = Hunt(self.job, self.journal, self.job.claim)

    @property
    def has_top(self) -> bool:
        return "TOP" in self.capabilities and not self.top_refused

    @property
    def lines(self) -> int:
        """How many lines behind the header TOP asks for."""
        return LINES_OF_OURS if self.job.conduct.pipelining else 0

    @property
    def login_delay(self) -> float:
        """Seconds that the server wants between two logons."""
        words = self.capabilities.get("LOGIN-DELAY", ["0"])
        return float(words[0]) if words and words[0].isdigit() and len(words[0]) < 10 else 0.0

    @property
    def connection(self) -> Connection:
        return self.talk.connection

    async def close(self) -> None:
        await self.talk.close()

    @property
    def pipelined(self) -> bool:
        return self.job.conduct.pipelining and "PIPELINING" in self.capabilities


async def look(session: Session, ends: Sequence[int] = AT_EACH_END) -> list[Candidate]:
    """Look at both ends of the maildrop, further in while nothing is found. Raises Stopped."""
    session.others.clear()
    session.whole.clear()
    seen: list[Shown] = []
    messages = await _counted(session, seen)
    looked = {number for number in AT_ONCE if number <= messages} if session.pipelined and session.has_top else set()
    for each in ends:
        numbers = [number for number in both_ends(messages, each) if number not in looked]
        looked.update(numbers)
        if numbers and session.has_top:
            seen += await _shown(session, numbers, session.lines if each == ends[0] else 0)
        if numbers and not session.has_top:
            seen += await _shown(session, numbers, None)
        if found := await _candidates(session, seen):
            return found
        seen.clear()
    return []


# A message's number, its header or more (empty where only a text behind it may be ours), and when it came.
Shown = tuple[int, bytes, float]


async def _counted(session: Session, seen: list[Shown]) -> int:
    """How many messages there are; what TOP shows of the first ones in the same flight, as far as it may be ours, is in `seen`."""
    if not (session.pipelined and session.has_top):
        return await count(session)
    answers: list[Response] = []
    commands = ["STAT", *(f"TOP {number} {session.lines}" for number in AT_ONCE)]
    await session.talk.judged(commands, answers.append, multiline=True)
    messages = _count_in(answers[0])
    there = [(number, answer) for number, answer in zip(AT_ONCE, answers[1:], strict=True) if number <= messages]
    for number, answer in there:
        _judge(session, number, answer, session.lines, seen)
    if there and all(_is_refusal(answer) for _, answer in there):
        session.top_refused = True
        seen += await _shown(session, [number for number, _ in there], None)
    return messages


async def count(session: Session) -> int:
    """How many messages there are (STAT). Raises Stopped."""
    return _count_in(await session.talk.command("STAT"))


def _count_in(stat: Response) -> int:
    if not stat.ok:
        raise stop("pop3.refused", f"STAT: {stat.line}", stat.line)
    try:
        return pop3.count(stat.text)
    except pop3.Malformed as error:
        raise stop("protocol.malformed", f"STAT: {error}", stat.line) from None


def both_ends(messages: int, each: int) -> list[int]:
    """The numbers to look at, newest first as most servers number."""
    newest = range(messages, max(0, messages - each), -1)
    oldest = range(1, min(each, messages) + 1)
    return list(dict.fromkeys([*newest, *oldest]))


async def _candidates(session: Session, seen: Sequence[Shown]) -> list[Candidate]:
    """Those that carry our marker. TOP spares other people's mail; without TOP the messages themselves have to be read."""
    found = []
    for number, header, at in seen:
        raw = header or await _text_too(session, number)
        if find.marked(raw, session.job):
            found.append(await _proven(session, number, raw, at))
    return found[: find.MOST_CANDIDATES]


async def _shown(session: Session, numbers: list[int], lines: int | None) -> list[Shown]:
    """What TOP shows of these messages with so many lines of their text, or RETR (None), as far as it may be ours. TOP that is
    refused is not asked for again."""
    seen: list[Shown] = []
    left = iter(numbers)
    refused: list[bool] = []

    def judge(answer: Response) -> None:
        refused.append(_is_refusal(answer))
        _judge(session, next(left), answer, lines, seen)

    commands = [f"RETR {number}" if lines is None else f"TOP {number} {lines}" for number in numbers]
    await session.talk.judged(commands, judge, pipelined=session.pipelined, multiline=True)
    if lines is not None and all(refused):
        # WildDuck lists TOP and refuses it.
        session.top_refused = True
    return seen


def _is_refusal(answer: Response) -> bool:
    return (not answer.ok or not answer.lines) and not _GONE.search(answer.text)


_GONE = re.compile(r"no such|not exist|deleted|out of range|invalid message", re.IGNORECASE)


def _judge(session: Session, number: int, answer: Response, lines: int | None, seen: list[Shown]) -> None:
    """Add what carries our marker, and without its octets what may quote it, a few of each; the rest is dropped as it arrives."""
    raw = raw_of(answer) if answer.ok else b""
    if answer.ok and (lines is None or _ends_before(answer, lines)):
        session.whole.add(number)
    reports = sum(not header for _, header, _ in seen)
    if find.marked(raw, session.job):
        if len(seen) - reports < find.MOST_CANDIDATES:
            seen.append((number, raw, answer.at))
    elif answer.ok and reports < MOST_REPORTS and may_quote(raw):
        seen.append((number, b"", answer.at))
    elif MARKER_PREFIX.encode() in raw:
        session.others.append(number)


def _ends_before(answer: Response, lines: int) -> bool:
    """Whether TOP, asked for so many lines behind the header, gave the whole message: fewer came."""
    return b"" in answer.lines and len(answer.lines) - answer.lines.index(b"") - 1 < lines


def raw_of(answer: Response) -> bytes:
    """The message, as much of it as is read, and an octet more where it goes on."""
    return (b"\r\n".join(answer.lines) + b"\r\n")[: MESSAGE_OCTETS + 1]


async def _text_too(session: Session, number: int) -> bytes:
    command = f"TOP {number} {LINES_OF_REPORT}" if session.has_top else f"RETR {number}"
    answer = await session.talk.command(command, multiline=True)
    return raw_of(answer) if answer.ok else b""


async def _proven(session: Session, number: int, raw: bytes, at: float) -> Candidate:
    """The candidate with its proof tried; where a gateway stripped our header, the text has to prove it."""
    found = find.candidate(session.job, "INBOX", number, raw, at)
    if found.ours:
        return found
    answer = await session.talk.command(f"RETR {number}", multiline=True)
    return find.candidate(session.job, "INBOX", number, raw_of(answer), at)
