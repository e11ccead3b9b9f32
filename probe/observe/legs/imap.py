"""IMAP4 reader: log on while the submission is under way, then look, prove and delete.

RFC 3501/9051 (IMAP4), RFC 2595 (STARTTLS), RFC 4315 (UIDPLUS: without it nothing is expunged), RFC 4959 (SASL-IR).
"""

import re
from dataclasses import replace
from typing import ClassVar, TypeVar

from probe.facts import Connected, Deleted, LoggedOn, Secured, Verified
from probe.message import Filled
from probe.observe import find, in_passing, logon, reach
from probe.observe.fetching import fetch_in_pieces, hits
from probe.observe.find import Candidate
from probe.observe.job import Accepted, Job, Side
from probe.observe.journal import Journal, Stage
from probe.observe.mailbox import Folder, Session, find_message, look_ahead, look_into
from probe.observe.protocol import exchange, imap
from probe.observe.protocol.imap import Answer, Untagged
from probe.observe.protocol.imap_conversation import ImapTalk
from probe.observe.trouble import Stopped, stop
from probe.profile import Reader
from probe.profile.values import Text
from probe.record import reader_stages

NAME = "imap"
STAGES = reader_stages(NAME)
# Imported while the first packets travel.
NEEDS = ("imapclient.response_parser",)
# What we say of ourselves, where a server wants to know (RFC 2971).
IDENTITY = 'ID ("name" "submission-probe")'


class Settings(Reader):
    """`[readback.imap]`: folders are looked into in this order; finding the message in the first is the healthy case."""

    tls_port: ClassVar[int] = 993
    plain_port: ClassVar[int] = 143
    folders: tuple[Text, ...] = ("INBOX", "Junk")


async def read(job: Job, journal: Journal, side: Side, settings: Settings) -> None:
    """Carry the whole leg out. Never raises for what a server or network does: that is in the journal."""
    talk: ImapTalk | None = None
    try:
        talk = await reach.secured(lambda verified: _approach(job, journal, side, verified))
        session = await _login(job, journal, side, talk, settings)
        await look_ahead(job, session)
        accepted = await find.accepted(job, journal, STAGES)
        if accepted is None:
            return
        candidates = await _found(job, journal, session, accepted)
        await _verify(job, journal, session, candidates)
        await job.partners_are_done(NAME)
        await _delete(job, journal, session, candidates)
    except Stopped:
        pass
    finally:
        job.read[NAME].give_up()
        if talk is not None:
            await talk.goodbye()
            await talk.close()
        job.done[NAME].give_up()


async def open_session(job: Job, journal: Journal, side: Side, settings: Settings) -> Session:
    """Connect, secure and log on, for whoever has other business in the mailbox. Raises Stopped."""
    talk = await reach.secured(lambda verified: _approach(job, journal, side, verified))
    return await _login(job, journal, side, talk, settings)


async def log_on(job: Job, journal: Journal, side: Side) -> None:
    """Connect, secure, log on and leave: a further mechanism is tried on a connection of its own. Raises Stopped."""
    talk = await reach.secured(lambda verified: _approach(job, journal, side, verified))
    try:
        async with journal.stage("imap.login", f"log on to {side.host} over IMAP4", LoggedOn()) as stage:
            session = Session(talk, await _capabilities_after_tls(side, talk, stage))
            await _authenticate(job, journal, side, session, stage)
    finally:
        await talk.goodbye()
        await talk.close()


# -- connect, TLS, certificate ---------------------------------------------------------------------------------


async def _approach(job: Job, journal: Journal, side: Side, verified: bool) -> ImapTalk:
    async with journal.stage("imap.connect", f"connect to {side.host} port {side.port}", Connected()) as stage:
        connection = await reach.connect(job, journal, side, stage)
        talk = ImapTalk(connection, journal, tls_wanted=side.security != "plaintext", pipelined=job.conduct.pipelining)
        if side.security != "tls":
            await _greeting(talk, stage)
    try:
        await _secure(job, journal, side, talk, verified)
    except BaseException:
        await talk.close()
        raise
    return talk


async def _secure(job: Job, journal: Journal, side: Side, talk: ImapTalk, verified: bool) -> None:
    if side.security == "plaintext":
        for name in ("imap.tls", "imap.certificate"):
            journal.skip(name, "the profile says plaintext")
        return
    async with journal.stage("imap.tls", f"start TLS with {side.host}", Secured(implicit=side.security == "tls")) as stage:
        if side.security == "starttls":
            await _starttls(talk, stage)
        await reach.shake_hands(talk.connection, side, stage, verified=verified)
    await reach.certify(job, journal, side, talk.connection)


# With implicit TLS the greeting comes with the logon.
Greets = TypeVar("Greets", Connected, LoggedOn)


async def _greeting(talk: ImapTalk, stage: Stage[Greets]) -> Untagged:
    greeting = await talk.greeting()
    stage.facts = replace(stage.facts, greeting=f"* {greeting.kind} {greeting.text}", node=exchange.node(greeting.text))
    if greeting.kind == "BYE":
        raise stop("imap.unavailable", f"the server greets with good-bye: {greeting.text}", greeting.text)
    if greeting.kind != "OK":
        # PREAUTH too: a client that goes on from there sends mail commands in clear, into whose mailbox it knows not.
        raise stop("greeting.refused", f"the server greets with {greeting.kind} instead of OK: {greeting.text}", greeting.text)
    talk.greeted = imap.capabilities([greeting])
    return greeting


async def _starttls(talk: ImapTalk, stage: Stage[Secured]) -> None:
    offered = talk.greeted or await _capability(talk)
    stage.facts = replace(stage.facts, capabilities=offered)
    if "STARTTLS" not in offered:
        listed = " ".join(offered) or "nothing"
        raise stop("starttls.not-offered", f"the server does not offer STARTTLS (it offers {listed})", listed)
    answer = await talk.command("STARTTLS")
    stage.facts = replace(stage.facts, reply=f"{answer.status} {answer.text}")
    if not answer.ok:
        raise stop("starttls.refused", f"STARTTLS is offered, but refused: {answer.status} {answer.text}", answer.text)
    reach.refuse_injected(talk.connection, f"{answer.status} {answer.text}")


async def _capability(talk: ImapTalk) -> list[str]:
    answer = await talk.command("CAPABILITY")
    return imap.capabilities(answer.untagged, answer.text) or []


# -- logon and the point before the message --------------------------------------------------------------------


async def _login(job: Job, journal: Journal, side: Side, talk: ImapTalk, settings: Settings) -> Session:
    async with journal.stage("imap.login", f"log on to {side.host} over IMAP4", LoggedOn()) as stage:
        session = Session(talk, await _capabilities_after_tls(side, talk, stage))
        stage.facts = replace(stage.facts, capabilities=session.capabilities)
        await _authenticate(job, journal, side, session, stage)
        try:
            await _note_folders(job, session, settings, stage)
        except Stopped as error:
            raise _sent_away(job, journal, stage, error) from None
    return session


async def _capabilities_after_tls(side: Side, talk: ImapTalk, stage: Stage[LoggedOn]) -> list[str]:
    """Capabilities from before TLS are forgotten; with implicit TLS the greeting comes now and usually has them."""
    if side.security == "tls":
        talk.greeted = None
        await _greeting(talk, stage)
        return talk.greeted or await _capability(talk)
    if side.security == "plaintext" and talk.greeted:
        return talk.greeted
    return await _capability(talk)


async def _authenticate(job: Job, journal: Journal, side: Side, session: Session, stage: Stage[LoggedOn]) -> None:
    talk, capabilities = session.talk, session.capabilities
    offered = [item.removeprefix("AUTH=") for item in capabilities if item.startswith("AUTH=")]
    command = None if "LOGINDISABLED" in capabilities else "LOGIN"
    credentials, answers = await logon.begin(job, journal, side, talk.connection, stage, offered, command)
    try:
        if answers is None:
            answer = await talk.login(credentials)
        else:
            answer = await talk.authenticate(answers, job, initial="SASL-IR" in capabilities)
    except Stopped as error:
        if error.trouble.id != "imap.unavailable":
            raise
        # Courier without authdaemond says BYE to a logon.
        answer = Answer("BYE", error.trouble.evidence)
    said = f"{answer.status} {answer.text}"
    stage.facts = replace(stage.facts, reply=said)
    logon.outcome(answers, stage, journal)
    if not answer.ok:
        raise logon.refused(job, journal, stage, answers, f"IMAP4 logon as {credentials.username}", said)
    session.capabilities = imap.capabilities(answer.untagged, answer.text) or capabilities


def _sent_away(job: Job, journal: Journal, stage: Stage[LoggedOn], error: Stopped) -> Stopped:
    """Courier lets everybody log on, and says BYE to the next command where IMAP4 is switched off for the mailbox."""
    if error.trouble.id != "imap.unavailable":
        return error
    who = f"the first command after the logon as {stage.facts.username}"
    meant = logon.refused(job, journal, stage, None, who, f"BYE {error.trouble.evidence}")
    return meant if meant.trouble.id == "auth.not-allowed" else error


async def _note_folders(job: Job, session: Session, settings: Settings, stage: Stage[LoggedOn]) -> None:
    """Note UIDNEXT of each folder, so that finding costs the same in a mailbox of any size."""
    first, *others = [Folder(name) for name in settings.folders]
    id_sent, selected, answered = await _opened(session, first, others)
    session.noted_before = not job.content_sent
    if not selected.ok:
        raise _cannot_open(first, selected)
    session.selected = first.name
    _note_selected(first, selected)
    for folder, answer in zip(others, answered, strict=False):
        _note_status(folder, answer)
    session.folders = [first, *others]
    missing = [folder.name for folder in others if not folder.exists]
    if missing and "SPECIAL-USE" in session.capabilities:
        session.folders += await _junk(session)
    stage.facts = replace(
        stage.facts,
        capabilities_after=session.capabilities,
        folders=[folder.name for folder in session.folders if folder.exists],
        folders_missing=missing,
        id_sent=id_sent,
        messages=session.room.messages,
        quota=session.room.quota,
    )


async def _opened(session: Session, first: Folder, others: list[Folder]) -> tuple[str | None, Answer, list[Answer]]:
    """(the ID that was sent, the answer to SELECT, those to STATUS), and the capabilities after the logon, in one flight."""
    select = f"SELECT {imap.mailbox(first.name)}"
    status = [f"STATUS {imap.mailbox(folder.name)} (UIDNEXT UIDVALIDITY)" for folder in others]
    # NetEase opens no mailbox before it has seen an ID (RFC 2971): "Unsafe Login".
    identify = [IDENTITY] if "ID" in session.capabilities else []
    quota = [f"GETQUOTAROOT {imap.mailbox(first.name)}"] if "QUOTA" in session.capabilities else []
    commands = [*identify, *status, select, "CAPABILITY", *quota]
    answers = (await session.talk.flight(commands))[len(identify) :]
    answered, selected, listed = answers[: len(status)], answers[len(status)], answers[len(status) + 1]
    session.room = imap.room(selected, answers[-1])
    session.capabilities = imap.capabilities(listed.untagged) or session.capabilities
    if selected.ok or identify:
        return next(iter(identify), None), selected, answered
    # Some want it and do not list it.
    _, selected, *answered = await session.talk.flight([IDENTITY, select, *status])
    return IDENTITY, selected, answered


def _cannot_open(folder: Folder, answer: Answer) -> Stopped:
    """A folder that is not there is the profile's fault; one that cannot be opened now is the server's."""
    said = f"{answer.status} {answer.text}"
    code = answer.code[0] if answer.code else ""
    absent = answer.status == "NO" and (code in ("NONEXISTENT", "TRYCREATE") or (not code and _ABSENT.search(answer.text)))
    return stop("imap.no-folder" if absent else "imap.refused", f"SELECT {folder.name}: {said}", said)


_ABSENT = re.compile(
    r"not exist|n.t exist|no such|non-?exist|not found|unknown (mailbox|folder)|no mailbox|invalid mailbox", re.IGNORECASE
)


async def _junk(session: Session) -> list[Folder]:
    """The folder for junk, whatever its name (RFC 6154), where the profile's own is not there."""
    answer = await session.talk.command('LIST "" "*"')
    names = [imap.listed(item) for item in answer.of("LIST") if "\\JUNK" in item.text.partition(")")[0].upper()]
    known = {folder.name for folder in session.folders if folder.exists}
    return [Folder(name) for name in names[:1] if name and name not in known]


def _note_status(folder: Folder, answer: Answer) -> None:
    folder.exists = answer.ok
    for item in answer.of("STATUS"):
        words = item.text[item.text.rfind("(") + 1 :].rstrip(")").upper().split()
        values = dict(zip(words[::2], words[1::2], strict=False))
        folder.first_uid = _number(values.get("UIDNEXT"))
        folder.uid_validity = values.get("UIDVALIDITY")


def _note_selected(folder: Folder, answer: Answer) -> None:
    folder.first_uid = _number(answer.coded("UIDNEXT"))
    folder.uid_validity = answer.coded("UIDVALIDITY")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) <= 10 else None


async def _found(job: Job, journal: Journal, session: Session, accepted: Accepted) -> list[Candidate]:
    """The message; where it did not come, what came of earlier ones is deleted all the same. Raises Stopped."""
    try:
        return await find_message(job, journal, session, accepted)
    except Stopped as error:
        if error.trouble.id in ("delivery.missing", "delivery.bounced"):
            await in_passing.sweep_all(job, journal, session)
        raise


# -- verify and delete -------------------------------------------------------------------------------------------


async def _verify(job: Job, journal: Journal, session: Session, candidates: list[Candidate]) -> None:
    async with journal.stage("imap.verify", "prove the message read over IMAP4", Verified()) as stage:
        find.verify(job, journal, stage, candidates, await _filled(job, session, candidates[0]))
    job.read[NAME].reach(candidates[0].folder)


async def _filled(job: Job, session: Session, first: Candidate) -> Filled | None:
    """What became of the attachment of a message of a chosen size. Raises Stopped."""
    filled = find.filling_of(job)
    if filled is None or job.draft is None:
        return None
    connection = session.talk.connection

    def take(octets: bytes) -> None:
        job.renew(connection)
        filled.feed(octets)

    if session.selected != first.folder:
        await session.talk.command(f"SELECT {imap.mailbox(first.folder)}")
        session.selected = first.folder
    await fetch_in_pieces(session.talk, first.number, take, find.most_octets(job))
    return filled


async def _delete(job: Job, journal: Journal, session: Session, candidates: list[Candidate]) -> None:
    """UID STORE and UID EXPUNGE of exactly the proven UIDs; without UIDPLUS they stay (a plain EXPUNGE would take
    other people's deleted mail along)."""
    if not job.conduct.delete:
        journal.skip("imap.delete", "--no-delete: the message stays in the mailbox")
        return
    job.renew(session.talk.connection)
    job.before_deletion()
    async with journal.stage("imap.delete", "delete the message over IMAP4", Deleted()) as stage:
        with find.cleaning_up(job):
            await _expunge(job, session, candidates, stage)
    await in_passing.sweep(job, journal, session, candidates[0].folder, [each.number for each in candidates if each.ours])
    await session.talk.flight([], ending="LOGOUT")


async def _expunge(job: Job, session: Session, candidates: list[Candidate], stage: Stage[Deleted]) -> None:
    uids = [candidate.number for candidate in candidates if candidate.ours]
    folder, listed = candidates[0].folder, ",".join(map(str, uids))
    select = [] if session.selected == folder else [f"SELECT {imap.mailbox(folder)}"]
    can = session.can_expunge
    # Without UIDPLUS: another reader may have deleted it meanwhile, and a SELECT alone may show old counts.
    commands = imap.expunging(listed) if can else ["NOOP"]
    answers = await session.talk.flight([*select, *commands], besides=in_passing.search(job, session, folder))
    session.selected = folder
    left = await _left(session, answers, uids, listed)
    if left and can:
        # Dovecot does nothing on an EXPUNGE in the flight of its STORE, where another session has just changed the flags.
        answers = [(await session.talk.flight([command]))[0] for command in commands]
        left = await _left(session, answers, uids, listed)
    await _empty_trash(job, session)
    stage.facts = Deleted(uids=listed, folder=folder, left=len(left))
    refused = next((answer for answer in answers if not answer.ok), None)
    if left and not can:
        raise stop("cleanup.failed", "the message stays: the server has no UIDPLUS, and EXPUNGE would take other mail along")
    if left and refused is not None:
        raise stop("cleanup.failed", f"the message stays: {refused.status} {refused.text}", refused.text)
    if left:
        text = "the message stays, although UID EXPUNGE was answered with OK: likely this account may not delete (ACL rights t, e)"
        raise stop("cleanup.failed", text, answers[-1].text)


async def _empty_trash(job: Job, session: Session) -> None:
    if session.trash is None:
        return
    uids = [found.number for found in await look_into(job, session, session.trash) if found.ours]
    if uids:
        listed = ",".join(map(str, uids))
        await session.talk.flight([f"UID STORE {listed} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {listed}"])


async def _left(session: Session, answers: list[Answer], uids: list[int], listed: str) -> set[int]:
    """Which are still there. Only asked where the server did not say that they went: an account without the right to expunge
    (RFC 4314) gets OK all the same. Not in the flight before: Dovecot answers it first."""
    gone = sum(len(answer.of("EXPUNGE")) + len(answer.of("VANISHED")) for answer in answers)
    if gone >= len(uids) and all(answer.ok for answer in answers):
        return set()
    answer = await session.talk.command(f"UID SEARCH UID {listed}")
    if not answer.ok:
        return set(uids)
    return set(uids) & set(hits(answer))
