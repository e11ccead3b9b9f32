"""IMAP4 reader: log on while the submission is under way, then look, prove and delete.

RFC 3501/9051 (IMAP4), RFC 2595 (STARTTLS), RFC 4315 (UIDPLUS: without it nothing is expunged), RFC 4959 (SASL-IR).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

from probe.facts import Connected, Deleted, Found, LoggedOn, Secured, Verified
from probe.message import MESSAGE_OCTETS
from probe.observe import find, logon, reach
from probe.observe.fetching import fetch_whole, uid_and_octets, wanted
from probe.observe.find import Candidate
from probe.observe.job import Accepted, Job, Side
from probe.observe.journal import Journal, Stage
from probe.observe.protocol import exchange, imap
from probe.observe.protocol.imap import Answer, Untagged
from probe.observe.protocol.imap_conversation import ImapTalk
from probe.observe.trouble import Stopped, stop
from probe.profile import Reader
from probe.profile.values import Text
from probe.record import reader_stages
from probe.sasl import Answers, Credentials

NAME = "imap"
STAGES = reader_stages(NAME)
# Imported while the first packets travel.
NEEDS = ("imapclient.response_parser",)
# When the message was accepted before UIDNEXT was noted, so many UIDs below it are looked at too.
UIDS_BEFORE = 50
# Other folders are looked into from this look on: the first ones are for the common case.
OTHER_FOLDERS_FROM_LOOK = 3
# UIDs noted before may not hold what came since (a server that was renumbering): now and then the marker is searched for.
SEARCH_AT_LOOK, SEARCH_EVERY = 8, 10


class Settings(Reader):
    """`[readback.imap]`: folders are looked into in this order; finding the message in the first is the healthy case."""

    tls_port: ClassVar[int] = 993
    plain_port: ClassVar[int] = 143
    folders: tuple[Text, ...] = ("INBOX", "Junk")


@dataclass(slots=True)
class Folder:
    """A mailbox to look into. `first_uid` is UIDNEXT as noted, None when the server did not say."""

    name: str
    first_uid: int | None = None
    uid_validity: str | None = None
    exists: bool = True


@dataclass(slots=True)
class Session:
    """A logged-on conversation and what was learned on it."""

    talk: ImapTalk
    capabilities: list[str]
    folders: list[Folder] = field(default_factory=list)
    noted_before: bool = False
    selected: str | None = None


async def read(job: Job, journal: Journal, side: Side, settings: Settings) -> None:
    """Carry the whole leg out. Never raises for what a server or network does: that is in the journal."""
    talk: ImapTalk | None = None
    try:
        talk = await reach.secured(lambda verified: _approach(job, journal, side, verified))
        session = await _login(job, journal, side, talk, settings)
        accepted = await find.accepted(job, journal, STAGES)
        if accepted is None:
            return
        candidates = await _find(job, journal, session, accepted)
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
        talk = ImapTalk(connection, journal, tls_wanted=side.security != "plaintext")
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
        await _note_folders(job, session, settings, stage)
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
    if answers is None:
        answer = await talk.login(credentials)
    else:
        answer = await talk.authenticate(answers, job, initial="SASL-IR" in capabilities)
    stage.facts = replace(stage.facts, reply=f"{answer.status} {answer.text}")
    logon.outcome(answers, stage, journal)
    _judge_logon(answer, answers, credentials)
    session.capabilities = imap.capabilities(answer.untagged, answer.text) or capabilities


_TEMPORARY = {"UNAVAILABLE": "auth.temporary", "INUSE": "auth.mailbox-in-use", "LIMIT": "auth.temporary"}


def _judge_logon(answer: Answer, answers: Answers | None, credentials: Credentials) -> None:
    if answer.ok:
        return
    said = f"{answer.status} {answer.text}"
    who = f"IMAP4 logon as {credentials.username}"
    finding = _TEMPORARY.get(answer.code[0] if answer.code else "")
    if finding is not None:
        raise stop(finding, f"{who}: not possible at the moment: {said}", said)
    raise logon.refusal(answers, who, said) or stop("auth.refused", f"{who}: refused: {said}", said)


async def _note_folders(job: Job, session: Session, settings: Settings, stage: Stage[LoggedOn]) -> None:
    """Note UIDNEXT of each folder, so that finding costs the same in a mailbox of any size."""
    first, *others = [Folder(name) for name in settings.folders]
    commands = [f"STATUS {imap.mailbox(folder.name)} (UIDNEXT UIDVALIDITY)" for folder in others]
    answers = await session.talk.flight([*commands, f"SELECT {imap.mailbox(first.name)}", "CAPABILITY"])
    session.noted_before = not job.content_sent
    for folder, answer in zip(others, answers, strict=False):
        _note_status(folder, answer)
    selected = answers[-2]
    if not selected.ok:
        raise stop("imap.no-folder", f"SELECT {first.name}: {selected.status} {selected.text}", selected.text)
    session.selected = first.name
    _note_selected(first, selected)
    session.capabilities = imap.capabilities(answers[-1].untagged) or session.capabilities
    session.folders = [folder for folder in (first, *others) if folder.exists]
    stage.facts = replace(
        stage.facts,
        capabilities_after=session.capabilities,
        folders=[folder.name for folder in session.folders],
        folders_missing=[folder.name for folder in others if not folder.exists],
    )


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


# -- find --------------------------------------------------------------------------------------------------------


async def _find(job: Job, journal: Journal, session: Session, accepted: Accepted) -> list[Candidate]:
    """Look straight after the final reply, then at growing intervals."""
    async with journal.stage("imap.find", "find the message over IMAP4", Found()) as stage:
        stage.facts = Found(looks=0, folders=[folder.name for folder in session.folders])
        candidates = await find.look_until_found(
            job, accepted, journal, stage, lambda look: _look(job, session, look), session.talk.connection
        )
        stage.facts = replace(find.found(stage.facts, candidates, accepted), uid=candidates[0].number)
    return candidates


async def _look(job: Job, session: Session, look: int) -> list[Candidate]:
    folders = session.folders if look >= OTHER_FOLDERS_FROM_LOOK else session.folders[:1]
    found: list[Candidate] = []
    for folder in folders:
        search = look % SEARCH_EVERY == SEARCH_AT_LOOK
        found += await _look_into(job, session, folder, search=search)
        # A report about the message, or somebody's answer that quotes it, is no reason to stop looking.
        if any(candidate.ours for candidate in found):
            break
    return found


async def _look_into(job: Job, session: Session, folder: Folder, *, search: bool) -> list[Candidate]:
    """SELECT again and fetch what is new, in one flight: on Dovecot a pipelined NOOP and FETCH misses new mail."""
    assert job.draft is not None
    fetch, whole = (None, False) if search else _fetch_command(session, folder)
    commands = [f"SELECT {imap.mailbox(folder.name)}", *([fetch] if fetch else [])]
    answers = await session.talk.flight(commands, keep=wanted(lambda octets: find.marked(octets, job)))
    session.selected = folder.name
    if not answers[0].ok:
        return []
    refused = whole and not answers[-1].ok
    if _renewed(folder, answers[0]) or fetch is None or refused:
        return await _search(job, session, folder, answers[0])
    return await _candidates(job, session, folder, answers[-1].of("FETCH"), answers[-1].at, whole)


def _fetch_command(session: Session, folder: Folder) -> tuple[str | None, bool]:
    """The FETCH for what is new, and whether it fetches whole messages; None when only SEARCH can know.

    No `*` in the set: where nothing is new it would mean the last message of somebody else.
    """
    if folder.first_uid is None:
        return None, False
    if session.noted_before:
        return f"UID FETCH {folder.first_uid}:4294967295 (UID BODY.PEEK[]<0.{MESSAGE_OCTETS}>)", True
    first = max(1, folder.first_uid - UIDS_BEFORE)
    return f"UID FETCH {first}:4294967295 (UID BODY.PEEK[HEADER.FIELDS (SUBJECT X-SUBMISSION-PROBE)])", False


def _renewed(folder: Folder, selected: Answer) -> bool:
    """Whether UIDVALIDITY changed: then the UIDs noted mean nothing any more."""
    validity = selected.coded("UIDVALIDITY")
    return folder.uid_validity is not None and validity is not None and validity != folder.uid_validity


async def _search(job: Job, session: Session, folder: Folder, selected: Answer) -> list[Candidate]:
    """By marker, without CHARSET (Exchange answers BADCHARSET); then the newest headers where SEARCH is no help."""
    assert job.draft is not None
    answer = await session.talk.command(f"UID SEARCH HEADER X-Submission-Probe {job.draft.marker}")
    uids = [uid for item in answer.of("SEARCH") for uid in imap.search_numbers(item)] if answer.ok else []
    if uids:
        chosen = ",".join(map(str, sorted(uids)[-find.MOST_CANDIDATES :]))
        command = f"UID FETCH {chosen} (UID BODY.PEEK[HEADER.FIELDS (SUBJECT X-SUBMISSION-PROBE)])"
    else:
        exists = next((item.number or 0 for item in selected.of("EXISTS")), 0)
        if not exists:
            return []
        newest = f"{max(1, exists - UIDS_BEFORE + 1)}:{exists}"
        command = f"FETCH {newest} (UID BODY.PEEK[HEADER.FIELDS (SUBJECT X-SUBMISSION-PROBE)])"
    fetched = await session.talk.command(command, keep=wanted(lambda octets: find.marked(octets, job)))
    return await _candidates(job, session, folder, fetched.of("FETCH"), fetched.at, whole=False)


async def _candidates(
    job: Job, session: Session, folder: Folder, items: Sequence[Untagged], at: float, whole: bool
) -> list[Candidate]:
    """The messages that carry our marker, each fetched whole and proven or not."""
    assert job.draft is not None
    found = []
    for item in items:
        uid, octets = uid_and_octets(item)
        if uid is None or octets is None or not find.marked(octets, job):
            continue
        raw = octets if whole else await _whole(session, uid)
        found.append(find.candidate(job, folder.name, uid, raw, at))
        if len(found) >= find.MOST_CANDIDATES:
            break
    return found


async def _whole(session: Session, uid: int) -> bytes:
    answer = await fetch_whole(session.talk, [uid])
    pairs = [uid_and_octets(item) for item in answer.of("FETCH")]
    return next((octets for answered, octets in pairs if answered == uid and octets is not None), b"")


# -- verify and delete -------------------------------------------------------------------------------------------


async def _verify(job: Job, journal: Journal, session: Session, candidates: list[Candidate]) -> None:
    async with journal.stage("imap.verify", "prove the message read over IMAP4", Verified()) as stage:
        find.verify(job, stage, candidates)
    job.read[NAME].reach(candidates[0].folder)


async def _delete(job: Job, journal: Journal, session: Session, candidates: list[Candidate]) -> None:
    """UID STORE and UID EXPUNGE of exactly the proven UIDs; without UIDPLUS they stay (a plain EXPUNGE would take
    other people's deleted mail along)."""
    if not job.conduct.delete:
        journal.skip("imap.delete", "--no-delete: the message stays in the mailbox")
        return
    job.renew(session.talk.connection)
    async with journal.stage("imap.delete", "delete the message over IMAP4", Deleted()) as stage:
        with find.cleaning_up():
            await _expunge(session, candidates, stage)


async def _expunge(session: Session, candidates: list[Candidate], stage: Stage[Deleted]) -> None:
    if "UIDPLUS" not in session.capabilities and "IMAP4REV2" not in session.capabilities:
        stage.facts = Deleted(left=len([c for c in candidates if c.ours]))
        raise stop("cleanup.failed", "the message stays: the server has no UIDPLUS, and EXPUNGE would take other mail along")
    uids = ",".join(str(c.number) for c in candidates if c.ours)
    folder = candidates[0].folder
    select = [] if session.selected == folder else [f"SELECT {imap.mailbox(folder)}"]
    commands = [*select, f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {uids}"]
    answers = await session.talk.flight(commands, ending="LOGOUT")
    stage.facts = Deleted(uids=uids, folder=folder)
    refused = next((answer for answer in answers if not answer.ok), None)
    if refused is not None:
        raise stop("cleanup.failed", f"the message stays: {refused.status} {refused.text}", refused.text)
