"""POP3 reader: connect and TLS while the submission is under way, log on after the final 250, prove, delete.

RFC 1939 (POP3), RFC 2449 (CAPA, PIPELINING, response codes), RFC 2595 (STLS), RFC 5034 (AUTH). The maildrop is a
snapshot taken at logon, so each further look is a new session; the password is tried once, and only a logon that
succeeded is repeated, at most MOST_LOOKS times in all and never less than a second apart: Exchange, Gmail, Yandex and
others throttle or lock an account that logs on more often.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import ClassVar, TypeVar

from probe.facts import Connected, Deleted, Found, LoggedOn, Secured, Verified
from probe.message import Filled
from probe.observe import find, in_passing, logon, maildrop, maildrop_in_passing, reach
from probe.observe.find import Candidate
from probe.observe.job import Accepted, Job, Side
from probe.observe.journal import Journal, Stage
from probe.observe.maildrop import Session, raw_of
from probe.observe.protocol import exchange, pop3
from probe.observe.protocol.pop3 import Response
from probe.observe.protocol.pop3_conversation import Pop3Talk
from probe.observe.trouble import Stopped, stop
from probe.profile import Reader
from probe.record import NOTHING_SENT, reader_stages

NAME = "pop3"
STAGES = reader_stages(NAME)
NEEDS = ("filelock",)
MOST_LOOKS = 8
JUST_BEFORE = 0.95
LEAST_INTERVAL = 1.0
# Of these, so many before the delivery is late.
EARLY_LOOKS = 5
# Where LOGIN-DELAY leaves one look only, it waits so long (at most half the time in which a delivery is not late).
SINGLE_LOOK_AFTER = 5.0
# Octets of a large message after which its connection has its whole limit again.
_RENEWED_AFTER = 524_288


class Settings(Reader):
    """`[readback.pop3]`."""

    tls_port: ClassVar[int] = 995
    plain_port: ClassVar[int] = 110


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
    try:
        candidates = await _find(session, accepted)
    except Stopped:
        in_passing.note(session.hunt, "pop3.find")
        raise
    await _verify(session, candidates)
    await _delete(session, candidates)


async def _wait(job: Job, journal: Journal, session: Session) -> Accepted | None:
    """Until the message is accepted and, where another reader watches for it, seen there: one logon then is enough."""
    accepted = await find.accepted(job, journal, STAGES)
    if accepted is None:
        if job.draft is not None:
            journal.skip("pop3.login", f"{NOTHING_SENT}, and POP3 shows only what was there at logon")
        return None
    await job.partners_have_read(NAME, job.conduct.delivery_warning)
    elsewhere = next((seen.value for seen in job.read.values() if seen.value not in (None, "INBOX")), None)
    if elsewhere is not None:
        for name in STAGES[3:]:
            journal.skip(name, f"the message is in {elsewhere}, and POP3 shows the INBOX only")
        return None
    if session.login_delay > LEAST_INTERVAL:
        # A look that comes too soon costs the whole delay (Courier: 10 s), or is the only one (Gmail: 300 s): an ordinary delivery
        # has its time first.
        pause = SINGLE_LOOK_AFTER if session.login_delay > job.conduct.delivery_critical else LEAST_INTERVAL
        await job.sleep(min(pause, job.conduct.delivery_warning / 2))
    job.renew(session.talk.connection)
    return accepted


async def log_on(job: Job, journal: Journal, side: Side) -> None:
    """Connect, secure, log on and leave: a further mechanism is tried on a connection of its own. Raises Stopped."""
    async with open_session(job, journal, side):
        pass


@contextlib.asynccontextmanager
async def open_session(job: Job, journal: Journal, side: Side) -> AsyncIterator[Session]:
    """A session, logged on, for whoever has other business in the maildrop; QUIT and close where it went well. Raises Stopped."""
    session = await reach.secured(lambda verified: _approach(job, journal, side, verified))
    try:
        async with contextlib.AsyncExitStack() as held:
            await _login(session, held)
            yield session
            await session.talk.goodbye()
    finally:
        await session.talk.close()


# -- connect, TLS, certificate ---------------------------------------------------------------------------------


async def _approach(job: Job, journal: Journal, side: Side, verified: bool) -> Session:
    async with journal.stage("pop3.connect", f"connect to {side.host} port {side.port}", Connected()) as stage:
        connection = await reach.connect(job, journal, side, stage)
        session = Session(job, journal, side, Pop3Talk(connection, journal))
        session.talk.message_octets = find.most_octets(job)
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


# A greeting that says "not now" by its code (RFC 2449 section 8.1, RFC 3206).
_GREETS = {
    "IN-USE": "auth.mailbox-in-use",
    "LOGIN-DELAY": "auth.login-delay",
    "SYS/TEMP": "auth.temporary",
    "SYS/PERM": "auth.server-failure",
}
# With implicit TLS the greeting comes behind the handshake.
Greets = TypeVar("Greets", Connected, Secured)


async def _greeting(session: Session, stage: Stage[Greets]) -> None:
    greeting = await session.talk.greeting()
    stage.facts = replace(stage.facts, greeting=greeting.line, node=exchange.node(greeting.line))
    session.greeting = greeting.text
    if not greeting.ok:
        finding = _GREETS.get(greeting.code or "", "greeting.refused")
        raise stop(finding, f"the server greets with a refusal: {greeting.line}", greeting.line)


async def _stls(talk: Pop3Talk, stage: Stage[Secured]) -> None:
    answer = await talk.command("CAPA", multiline=True)
    offered = pop3.capabilities(answer.lines)
    stage.facts = replace(stage.facts, capabilities=_listed(offered))
    # Where there is no CAPA (RFC 2449 is younger than STLS, RFC 2595), STLS is tried.
    if answer.ok and "STLS" not in offered:
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
        answer = await talk.authenticate(answers, job)
    elif timestamp and command == "APOP":
        answer = await talk.apop(credentials, timestamp)
    else:
        answer = await talk.login(credentials)
    session.logons += 1
    stage.facts = replace(stage.facts, reply=answer.line)
    logon.outcome(answers, stage, session.journal)
    if not answer.ok:
        who = f"POP3 logon as {credentials.username}"
        raise logon.refused(job, session.journal, stage, answers, who, answer.line)


# -- find --------------------------------------------------------------------------------------------------------


async def _find(session: Session, accepted: Accepted) -> list[Candidate]:
    async with session.journal.stage("pop3.find", "find the message over POP3", Found(looks=0)) as stage:
        schedule = _schedule(session, accepted)
        last = len(schedule.times)
        candidates = await find.look_until_found(
            session.job, accepted, session.journal, stage, lambda look: _look(session, look, look in (1, last)), None, schedule
        )
        seen = find.found(stage.facts, candidates, accepted)
        stage.facts = replace(seen, number=candidates[0].number, logons=session.logons)
    return candidates


def _schedule(session: Session, accepted: Accepted) -> find.Schedule:
    """When to look, as seconds after the acceptance. A LOGIN-DELAY (RFC 2449 section 6.5) is obeyed by looking less."""
    conduct, delay = session.job.conduct, session.login_delay
    now = session.journal.now - accepted.at
    until = min(conduct.delivery_critical, now + session.job.find_until - asyncio.get_running_loop().time())
    # A little before each limit: what is seen then has kept it.
    warning, until = JUST_BEFORE * conduct.delivery_warning, JUST_BEFORE * until
    times = find.look_times(now, warning, until, EARLY_LOOKS - 1, MOST_LOOKS - EARLY_LOOKS)
    kept = times[:1]
    for each in times[1:]:
        if each >= kept[-1] + delay:
            kept.append(each)
    looked = "once" if len(kept) == 1 else f"{len(kept)} times"
    why = f"the maildrop was looked into {looked}: the server wants {delay:.0f} s between two logons (LOGIN-DELAY)"
    return find.Schedule(kept, why if len(kept) < len(times) else "")


async def _look(session: Session, look: int, thorough: bool) -> list[Candidate]:
    """From the second look on in a session of its own."""
    if look > 1 and not await _reopen(session):
        return []
    session.job.renew(session.talk.connection)
    found = await maildrop.look(session, maildrop.THOROUGHLY if thorough and session.pipelined else maildrop.AT_EACH_END)
    if not any(candidate.ours for candidate in found):
        if look == 1:
            await maildrop_in_passing.sweep(session)
        # Not kept open until the next look: it would lock the maildrop (RFC 1939 section 4) against everybody.
        await session.talk.goodbye()
        await session.talk.close()
    return found


async def _reopen(session: Session) -> bool:
    """A new session, logged on with what worked before; False where the server only says "not now", and the next look may do.

    A refusal now is none of the password, which was right a moment ago: nothing is suspended for it.
    """
    fresh = await reach.secured(lambda verified: _approach(session.job, session.journal, session.side, verified))
    session.talk, session.capabilities, session.greeting = fresh.talk, fresh.capabilities, fresh.greeting
    try:
        await _authenticate(session, Stage("pop3.login", LoggedOn()))
    except Stopped as error:
        if error.trouble.id in ("auth.mailbox-in-use", "auth.temporary"):
            session.connection.note(f"not now: {error.trouble.text}")
            return False
        finding = "auth.temporary" if error.trouble.id == "auth.refused" else error.trouble.id
        raise stop(finding, f"a further look was not possible: {error.trouble.text}", error.trouble.evidence) from None
    return True


# -- verify and delete -------------------------------------------------------------------------------------------


async def _verify(session: Session, candidates: list[Candidate]) -> None:
    """The proof of each copy from the whole of it, read in this session."""
    async with session.journal.stage("pop3.verify", "prove the message read over POP3", Verified()) as stage:
        filled = find.filling_of(session.job)
        first, *others = [each for each in candidates if each.ours]
        candidates[:] = [await _retrieved(session, first, filled), *[await _retrieved(session, each) for each in others]]
        find.verify(session.job, session.journal, stage, candidates, filled)
    session.job.read[NAME].reach(candidates[0].folder)


async def _retrieved(session: Session, shown: Candidate, filled: Filled | None = None) -> Candidate:
    """Every copy is read whole before it may be deleted: as TOP gave it to its end, unharmed; else by RETR, of which
    `filled` sees each line as it comes."""
    if filled is None and shown.number in session.whole and shown.proof.text == "intact":
        return shown
    with _renewing(session, filled):
        answer = await session.talk.command(f"RETR {shown.number}", multiline=True)
    if not answer.ok:
        raise stop("pop3.refused", f"RETR {shown.number}: {answer.line}", answer.line)
    whole = find.candidate(session.job, shown.folder, shown.number, raw_of(answer), shown.seen_at)
    if not whole.ours:
        raise stop("message.forged", "the message retrieved does not hold the proof that TOP showed")
    return whole


@contextlib.contextmanager
def _renewing(session: Session, filled: Filled | None) -> Iterator[None]:
    """Within this block the lines of a large message go to `filled`, and the connection's limit is renewed as they come."""
    talk, job = session.talk, session.job
    if filled is None:
        yield
        return
    renewed = 0

    def take(line: bytes) -> None:
        nonlocal renewed
        filled.feed(line)
        if filled.octets - renewed > _RENEWED_AFTER:
            renewed = filled.octets
            job.renew(talk.connection)

    talk.take = take
    try:
        yield
    finally:
        talk.take = None


async def _delete(session: Session, candidates: list[Candidate]) -> None:
    """DELE of exactly the proven messages, then QUIT, which is when the server deletes."""
    job = session.job
    if not job.conduct.delete:
        session.journal.skip("pop3.delete", "--no-delete: the message stays in the mailbox")
        return
    await job.partners_have_read(NAME)
    leftovers = await maildrop_in_passing.proven(session)
    job.renew(session.talk.connection)
    job.before_deletion()
    async with session.journal.stage("pop3.delete", "delete the message over POP3", Deleted()) as stage:
        with find.cleaning_up(job):
            if leftovers is None:
                candidates = await _again(session)
            await _mark_and_quit(session, candidates, stage, leftovers or {})
    in_passing.note(session.hunt, "pop3.find")


async def _is_still_there(session: Session) -> bool:
    """Another session shows it: the answer to QUIT (RFC 1939 section 6), which would have said so, did not come."""
    await session.job.sleep(LEAST_INTERVAL)
    return not await _reopen(session) or any(candidate.ours for candidate in await maildrop.look(session))


async def _again(session: Session) -> list[Candidate]:
    """The run's own message in a new session: an earlier one could not be read, and ended the session. Raises Stopped."""
    await session.talk.close()
    found = await maildrop.look(session) if await _reopen(session) else []
    return [await _retrieved(session, each) for each in found if each.ours]


async def _mark_and_quit(session: Session, candidates: list[Candidate], stage: Stage[Deleted], leftovers: dict[int, str]) -> None:
    numbers = [candidate.number for candidate in candidates if candidate.ours]
    commands = [*(f"DELE {number}" for number in (*numbers, *leftovers)), "QUIT"]
    stage.facts = Deleted(numbers=numbers)
    answers: list[Response] = []
    try:
        await session.talk.judged(commands, answers.append, pipelined=session.pipelined)
    except Stopped as error:
        # Some servers delete and close without a word; with others that means that nothing was deleted.
        if error.trouble.id != "connect.closed" or len(answers) < len(numbers) or await _is_still_there(session):
            raise
    maildrop_in_passing.note_deleted(session, leftovers, answers[len(numbers) :])
    # Whether an earlier one stays is no fault of this run.
    refused = next((answer for answer in (*answers[: len(numbers)], *answers[len(commands) - 1 :]) if not answer.ok), None)
    if refused is not None:
        raise stop("cleanup.failed", f"the message stays: {refused.line}", refused.line)
