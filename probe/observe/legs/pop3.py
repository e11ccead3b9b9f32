"""POP3 reader: connect and TLS while the submission is under way, log on after the final 250, prove, delete.

RFC 1939 (POP3), RFC 2449 (CAPA, PIPELINING, response codes), RFC 2595 (STLS), RFC 5034 (AUTH). The maildrop is a
snapshot taken at logon, so each further look is a new session; the password is tried once, and only a logon that
succeeded is repeated.
"""

import contextlib
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

from probe.facts import Connected, Deleted, Found, LoggedOn, Secured, Verified
from probe.message import MESSAGE_OCTETS, may_quote
from probe.observe import find, logon, reach
from probe.observe.connection import Connection
from probe.observe.find import Candidate
from probe.observe.job import Accepted, Job, Side
from probe.observe.journal import Journal, Stage
from probe.observe.protocol import exchange, pop3
from probe.observe.protocol.pop3 import Response
from probe.observe.protocol.pop3_conversation import Pop3Talk
from probe.observe.trouble import Stopped, stop
from probe.profile import Reader
from probe.record import reader_stages
from probe.sasl import Answers, Credentials

NAME = "pop3"
STAGES = reader_stages(NAME)
NEEDS = ("filelock",)
# Of a report or a filter's wrapping so many lines are read too, of so many such messages a look.
LINES_OF_REPORT, MOST_REPORTS = 500, 5
# Newest last on most servers, newest first on Exchange: both ends of the maildrop are looked at.
AT_EACH_END = (3, 10, 25)


class Settings(Reader):
    """`[readback.pop3]`."""

    tls_port: ClassVar[int] = 995
    plain_port: ClassVar[int] = 110


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

    @property
    def connection(self) -> Connection:
        return self.talk.connection

    async def close(self) -> None:
        await self.talk.close()

    @property
    def pipelined(self) -> bool:
        return self.job.conduct.pipelining and "PIPELINING" in self.capabilities


async def read(job: Job, journal: Journal, side: Side, settings: Settings) -> None:
    """Carry the whole leg out. Never raises for what a server or network does: that is in the journal."""
    session: Session | None = None
    # Held until the session has ended: two sessions on one maildrop would lock each other out.
    async with contextlib.AsyncExitStack() as held:
        try:
            session = await reach.secured(lambda verified: _approach(job, journal, side, verified))
            await _read(job, journal, session, held)
        except Stopped:
            pass
        finally:
            job.read[NAME].give_up()
            if session is not None:
                await session.talk.goodbye()
                await session.talk.close()
            job.done[NAME].give_up()


async def _read(job: Job, journal: Journal, session: Session, held: contextlib.AsyncExitStack) -> None:
    if job.draft is None:
        # Light mode: the logon is all there is to prove.
        await _login(session, held)
    accepted = await _wait(job, journal, session)
    if accepted is None:
        return
    await _login(session, held)
    candidates = await _find(session, accepted)
    await _verify(session, candidates)
    await _delete(session, candidates)


async def _wait(job: Job, journal: Journal, session: Session) -> Accepted | None:
    """Until the message is accepted and, where another reader watches for it, seen there: one logon then is enough."""
    accepted = await find.accepted(job, journal, STAGES)
    if accepted is None:
        if job.draft is not None:
            journal.skip("pop3.login", "no message was submitted, and the maildrop is a snapshot taken at logon")
        return None
    await job.partners_have_read(NAME, job.conduct.delivery_warning)
    elsewhere = next((seen.value for seen in job.read.values() if seen.value not in (None, "INBOX")), None)
    if elsewhere is not None:
        for name in STAGES[3:]:
            journal.skip(name, f"the message is in {elsewhere}, and POP3 shows the INBOX only")
        return None
    job.renew(session.talk.connection)
    return accepted


async def log_on(job: Job, journal: Journal, side: Side) -> None:
    """Connect, secure, log on and leave: a further mechanism is tried on a connection of its own. Raises Stopped."""
    session = await reach.secured(lambda verified: _approach(job, journal, side, verified))
    try:
        async with contextlib.AsyncExitStack() as held:
            await _login(session, held)
            await session.talk.goodbye()
    finally:
        await session.talk.close()


# -- connect, TLS, certificate ---------------------------------------------------------------------------------


async def _approach(job: Job, journal: Journal, side: Side, verified: bool) -> Session:
    async with journal.stage("pop3.connect", f"connect to {side.host} port {side.port}", Connected()) as stage:
        connection = await reach.connect(job, journal, side, stage)
        session = Session(job, journal, side, Pop3Talk(connection, journal))
        if side.security != "tls":
            await _greeting(session, stage)
    try:
        await _secure(job, journal, session, verified)
        if connection.is_tls or side.security == "plaintext":
            await _capabilities(session)
    except BaseException:
        await session.talk.close()
        raise
    return session


async def _secure(job: Job, journal: Journal, session: Session, verified: bool) -> None:
    side, talk = session.side, session.talk
    if side.security == "plaintext":
        for name in ("pop3.tls", "pop3.certificate"):
            journal.skip(name, "the profile says plaintext")
        return
    async with journal.stage("pop3.tls", f"start TLS with {side.host}", Secured(implicit=side.security == "tls")) as stage:
        if side.security == "starttls":
            await _stls(talk, stage)
        await reach.shake_hands(talk.connection, side, stage, verified=verified)
        if side.security == "tls" and talk.connection.is_tls:
            await _greeting(session, stage)
    await reach.certify(job, journal, side, talk.connection)


# With implicit TLS the greeting comes behind the handshake.
Greets = TypeVar("Greets", Connected, Secured)


async def _greeting(session: Session, stage: Stage[Greets]) -> None:
    greeting = await session.talk.greeting()
    stage.facts = replace(stage.facts, greeting=greeting.line, node=exchange.node(greeting.line))
    session.greeting = greeting.text
    if not greeting.ok:
        finding = _NOT_REFUSED.get(greeting.code or "", "greeting.refused")
        raise stop(finding, f"the server greets with a refusal: {greeting.line}", greeting.line)


async def _stls(talk: Pop3Talk, stage: Stage[Secured]) -> None:
    answer = await talk.command("CAPA", multiline=True)
    offered = pop3.capabilities(answer.lines)
    stage.facts = replace(stage.facts, capabilities=_listed(offered))
    if "STLS" not in offered:
        listed = ", ".join(offered) or "nothing"
        raise stop("starttls.not-offered", f"the server does not offer STLS (it offers {listed})", listed)
    reply = await talk.command("STLS")
    stage.facts = replace(stage.facts, reply=reply.line)
    if not reply.ok:
        raise stop("starttls.refused", f"STLS is offered, but refused: {reply.line}", reply.line)
    reach.refuse_injected(talk.connection, reply.line)


async def _capabilities(session: Session) -> None:
    """CAPA again after TLS: what was said before counts no more. It is asked for early; trouble belongs to the logon."""
    try:
        answer = await session.talk.command("CAPA", multiline=True)
    except Stopped as error:
        async with session.journal.stage("pop3.login", "list the capabilities after TLS", LoggedOn()):
            raise error
    session.capabilities = pop3.capabilities(answer.lines)


def _listed(capabilities: dict[str, list[str]]) -> list[str]:
    return [" ".join([name, *arguments]) for name, arguments in capabilities.items()]


# -- logon -------------------------------------------------------------------------------------------------------

_NOT_REFUSED = {
    "IN-USE": "auth.mailbox-in-use",
    "LOGIN-DELAY": "auth.login-delay",
    "SYS/TEMP": "auth.temporary",
    "SYS/PERM": "auth.server-failure",
}


async def _login(session: Session, held: contextlib.AsyncExitStack) -> None:
    side, job = session.side, session.job
    async with session.journal.stage("pop3.login", f"log on to {side.host} over POP3", LoggedOn()) as stage:
        user = side.credentials.username if side.credentials else ""
        async with job.deadline.limit():
            await held.enter_async_context(job.hold(f"{side.host} {user}", job.find_until))
        job.renew(session.talk.connection)
        stage.facts = replace(stage.facts, capabilities=_listed(session.capabilities))
        await _authenticate(session, stage)


async def _authenticate(session: Session, stage: Stage[LoggedOn]) -> None:
    """One logon of this session; raises Stopped when it is refused."""
    side, talk, job = session.side, session.talk, session.job
    offered = [item.upper() for item in session.capabilities.get("SASL", [])]
    timestamp = pop3.timestamp(session.greeting)
    command = "APOP" if side.mechanism == "APOP" and timestamp else "USER"
    credentials, answers = await logon.begin(job, session.journal, side, talk.connection, stage, offered, command)
    if answers is not None:
        answer = await talk.authenticate(answers, job, ahead="STAT" if session.pipelined else None)
    elif timestamp and command == "APOP":
        answer = await talk.apop(credentials, timestamp)
    else:
        answer = await talk.login(credentials)
    session.logons += 1
    stage.facts = replace(stage.facts, reply=answer.line)
    logon.outcome(answers, stage, session.journal)
    _judge_logon(answer, answers, credentials)


def _judge_logon(answer: Response, answers: Answers | None, credentials: Credentials) -> None:
    if answer.ok:
        return
    who = f"POP3 logon as {credentials.username}"
    finding = _NOT_REFUSED.get(answer.code or "")
    if finding is not None:
        raise stop(finding, f"{who}: not possible at the moment: {answer.line}", answer.line)
    raise logon.refusal(answers, who, answer.line) or stop("auth.refused", f"{who}: refused: {answer.line}", answer.line)


# -- find --------------------------------------------------------------------------------------------------------


async def _find(session: Session, accepted: Accepted) -> list[Candidate]:
    async with session.journal.stage("pop3.find", "find the message over POP3", Found(looks=0)) as stage:
        candidates = await find.look_until_found(
            session.job, accepted, session.journal, stage, lambda look: _look(session, look), None
        )
        seen = find.found(stage.facts, candidates, accepted)
        stage.facts = replace(seen, number=candidates[0].number, logons=session.logons)
    return candidates


async def _look(session: Session, look: int) -> list[Candidate]:
    """Look at both ends of the maildrop; from the second look on in a session of its own."""
    if look > 1:
        await _reopen(session)
    session.job.renew(session.talk.connection)
    stat = await (session.talk.awaited("STAT") if session.talk.ahead_sent else session.talk.command("STAT"))
    if not stat.ok:
        raise stop("pop3.refused", f"STAT: {stat.line}", stat.line)
    try:
        messages = pop3.count(stat.text)
    except pop3.Malformed as error:
        raise stop("protocol.malformed", f"STAT: {error}", stat.line) from None
    numbers = _both_ends(messages, AT_EACH_END[min(look, len(AT_EACH_END)) - 1])
    return await _candidates(session, numbers) if numbers else []


def _both_ends(messages: int, each: int) -> list[int]:
    """The numbers to look at, newest first as most servers number."""
    newest = range(messages, max(0, messages - each), -1)
    oldest = range(1, min(each, messages) + 1)
    return list(dict.fromkeys([*newest, *oldest]))


async def _candidates(session: Session, numbers: list[int]) -> list[Candidate]:
    """The messages that carry our marker. TOP shows the header, which is enough and spares other people's mail; without
    TOP the message itself has to be read."""
    verb = "TOP {} 0" if "TOP" in session.capabilities else "RETR {}"
    commands = [verb.format(number) for number in numbers]
    seen: list[tuple[int, bytes, float]] = []
    left = iter(numbers)
    await session.talk.judged(
        commands, lambda answer: _judge(session, next(left), answer, seen), pipelined=session.pipelined, multiline=True
    )
    found = []
    for number, header, at in seen:
        raw = header or await _text_too(session, number)
        if find.marked(raw, session.job):
            found.append(await _proven(session, number, raw, at))
    return found[: find.MOST_CANDIDATES]


def _judge(session: Session, number: int, answer: Response, seen: list[tuple[int, bytes, float]]) -> None:
    """Add what carries our marker, and without its octets what may quote it, a few of each; the rest is dropped as it arrives."""
    raw = _raw(answer) if answer.ok else b""
    reports = sum(not header for _, header, _ in seen)
    if find.marked(raw, session.job):
        if len(seen) - reports < find.MOST_CANDIDATES:
            seen.append((number, raw, answer.at))
    elif answer.ok and reports < MOST_REPORTS and may_quote(raw):
        seen.append((number, b"", answer.at))


def _raw(answer: Response) -> bytes:
    """The message, as much of it as is read, and an octet more where it goes on."""
    return (b"\r\n".join(answer.lines) + b"\r\n")[: MESSAGE_OCTETS + 1]


async def _text_too(session: Session, number: int) -> bytes:
    answer = await session.talk.command(f"TOP {number} {LINES_OF_REPORT}", multiline=True)
    return _raw(answer) if answer.ok else b""


async def _proven(session: Session, number: int, raw: bytes, at: float) -> Candidate:
    """The candidate with its proof tried; where a gateway stripped our header, the text has to prove it."""
    found = find.candidate(session.job, "INBOX", number, raw, at)
    if found.ours:
        return found
    answer = await session.talk.command(f"RETR {number}", multiline=True)
    return find.candidate(session.job, "INBOX", number, _raw(answer), at)


async def _reopen(session: Session) -> None:
    """A new session, logged on with what worked before; waits where the server wants a delay between logons."""
    await session.talk.goodbye()
    await session.talk.close()
    delay = session.capabilities.get("LOGIN-DELAY", ["0"])[0:1]
    if delay and delay[0].isdigit():
        await session.job.sleep(min(int(delay[0]), 60))
    fresh = await reach.secured(lambda verified: _approach(session.job, session.journal, session.side, verified))
    session.talk, session.capabilities, session.greeting = fresh.talk, fresh.capabilities, fresh.greeting
    await _authenticate(session, Stage("pop3.login", LoggedOn()))


# -- verify and delete -------------------------------------------------------------------------------------------


async def _verify(session: Session, candidates: list[Candidate]) -> None:
    """RETR as mail programs do it, and the proof from what it gave."""
    async with session.journal.stage("pop3.verify", "prove the message read over POP3", Verified()) as stage:
        candidates[:] = [await _retrieved(session, each) for each in candidates if each.ours]
        find.verify(session.job, stage, candidates)
    session.job.read[NAME].reach(candidates[0].folder)


async def _retrieved(session: Session, shown: Candidate) -> Candidate:
    """Every copy is read whole before it may be deleted: TOP shows its header only."""
    answer = await session.talk.command(f"RETR {shown.number}", multiline=True)
    if not answer.ok:
        raise stop("pop3.refused", f"RETR {shown.number}: {answer.line}", answer.line)
    whole = find.candidate(session.job, shown.folder, shown.number, _raw(answer), shown.seen_at)
    if not whole.ours:
        raise stop("message.forged", "the message retrieved does not hold the proof that TOP showed")
    return whole


async def _delete(session: Session, candidates: list[Candidate]) -> None:
    """DELE of exactly the proven messages, then QUIT, which is when the server deletes."""
    job = session.job
    if not job.conduct.delete:
        session.journal.skip("pop3.delete", "--no-delete: the message stays in the mailbox")
        return
    await job.partners_have_read(NAME)
    job.renew(session.talk.connection)
    async with session.journal.stage("pop3.delete", "delete the message over POP3", Deleted()) as stage:
        with find.cleaning_up():
            await _mark_and_quit(session, candidates, stage)


async def _mark_and_quit(session: Session, candidates: list[Candidate], stage: Stage[Deleted]) -> None:
    numbers = [candidate.number for candidate in candidates if candidate.ours]
    commands = [*(f"DELE {number}" for number in numbers), "QUIT"]
    answers = await session.talk.flight(commands, pipelined=session.pipelined)
    stage.facts = Deleted(numbers=numbers)
    refused = next((answer for answer in answers if not answer.ok), None)
    if refused is not None:
        raise stop("cleanup.failed", f"the message stays: {refused.line}", refused.line)
