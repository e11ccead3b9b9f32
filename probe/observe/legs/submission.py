"""The submission leg: resolve, connect, greeting, EHLO, STARTTLS, certificate, EHLO again, AUTH, MAIL/RCPT and the message.

RFC 6409 (submission), RFC 3207 (STARTTLS), RFC 8314 (implicit TLS), RFC 4954 (AUTH), RFC 2920 (PIPELINING), RFC 3030 (CHUNKING).
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from probe.facts import Connected, Ehlo, Greeted, LoggedOn, Resolved, Secured, Submitted
from probe.facts.parts import CommandReply, Difference, Lookup
from probe.message import Draft
from probe.observe import logon, reach
from probe.observe.connection import Connection
from probe.observe.connection.nameserver import ask_each
from probe.observe.connection.resolve import literal
from probe.observe.job import Accepted, Job, Side
from probe.observe.journal import Journal, Stage
from probe.observe.protocol import smtp
from probe.observe.protocol.smtp import Reply
from probe.observe.protocol.smtp_conversation import Answered, SmtpTalk
from probe.observe.trouble import Stopped, stop

_LOOKUP_TEXT = 300


async def submit(job: Job, journal: Journal) -> None:
    """Carry the whole leg out. Never raises for what a server or network does: that is in the journal."""
    talk: SmtpTalk | None = None
    try:
        await _resolve(job, journal)
        talk = await reach.secured(lambda verified: _approach(job, journal, verified))
        words = await _ehlo_tls(job, journal, talk)
        await _authenticate(job, journal, talk, words)
        if job.draft is None:
            journal.skip("smtp.submit", job.conduct.unsent)
        else:
            await _submit(job, journal, talk, words, job.draft)
    except Stopped:
        pass
    except Exception:
        if job.content_sent:
            # An error of our own behind the final dot: the message has left, and the readers are to find and delete it.
            job.accepted.reach(Accepted(journal.now, certain=False))
        raise
    finally:
        job.leaving.give_up()
        job.accepted.give_up()
        if talk is not None:
            await _goodbye(talk)


async def log_on(job: Job, journal: Journal, side: Side) -> None:
    """Connect, secure, log on and leave: a further mechanism is tried on a connection of its own. Raises Stopped."""
    await _goodbye(await open_authenticated(replace(job, submission=side), journal))


async def open_authenticated(job: Job, journal: Journal) -> SmtpTalk:
    """Connect, secure and log on, for whoever has other business with the server. Raises Stopped."""
    talk = await reach.secured(lambda verified: _approach(job, journal, verified))
    words = await _ehlo_tls(job, journal, talk)
    await _authenticate(job, journal, talk, words)
    return talk


async def _resolve(job: Job, journal: Journal) -> None:
    side = job.submission
    if side.proxy is not None:
        journal.skip("smtp.resolve", f"the proxy {side.proxy.place} looks names up; DNS is not asked from here")
        return
    if side.connect:
        journal.skip("smtp.resolve", "the profile's `connect` names the addresses; DNS is not asked")
        return
    async with journal.stage("smtp.resolve", f"look up {side.host}", Resolved()) as stage:
        stage.facts = Resolved(name=side.host, source="literal" if literal(side.host) else "system")
        if job.conduct.resolvers and not literal(side.host):
            async with job.deadline.limit():
                hosts = [host for host in job.conduct.reader_hosts if not literal(host)]
                said, *others = await asyncio.gather(*(_ask_each(job, journal, host, side.family) for host in (side.host, *hosts)))
            readers = dict(zip(hosts, others, strict=True))
            stage.facts = replace(stage.facts, resolvers=said, reader_hosts=readers)
        resolution = await reach.addresses(job, side)
        stage.facts = replace(stage.facts, addresses=[address.ip for address in resolution.addresses])


async def _ask_each(job: Job, journal: Journal, host: str, family: str) -> dict[str, Lookup]:
    said = await ask_each(job.conduct.resolvers, host, family)
    return {name: _brief(one, journal) for name, one in said.items()}


def _brief(answer: Lookup, journal: Journal) -> Lookup:
    return {**answer, "text": journal.brief(answer["text"], _LOOKUP_TEXT)}


async def _approach(job: Job, journal: Journal, verified: bool) -> SmtpTalk:
    """TCP, greeting, plaintext EHLO, STARTTLS and certificate; for implicit TLS the handshake comes first."""
    side = job.submission
    async with journal.stage("smtp.connect", f"connect to {side.host} port {side.port}", Connected()) as stage:
        connection = await reach.connect(job, journal, side, stage)
        talk = await _talk_on(connection, journal, job.conduct.ehlo)
    try:
        if side.security == "tls":
            journal.skip("smtp.ehlo", "implicit TLS: there is no plaintext EHLO")
            await _handshake(job, journal, talk, None, verified)
            if connection.is_tls:
                await _greeting(journal, talk)
        else:
            await _greeting(journal, talk)
            words = await _ehlo(journal, talk, "smtp.ehlo")
            if side.security == "starttls":
                await _handshake(job, journal, talk, words, verified)
            else:
                for name in ("smtp.starttls", "smtp.certificate"):
                    journal.skip(name, "the profile says plaintext")
    except BaseException:
        await talk.close()
        raise
    return talk


async def _talk_on(connection: Connection, journal: Journal, ehlo: str) -> SmtpTalk:
    try:
        return SmtpTalk(connection, journal, ehlo)
    except OSError:
        # No descriptors left for the bridge: the stage says so.
        await connection.close()
        raise


async def _greeting(journal: Journal, talk: SmtpTalk) -> None:
    async with journal.stage("smtp.greeting", "read the greeting", Greeted()) as stage:
        reply = await talk.greeting()
        stage.facts = Greeted(lines=list(reply.lines), code=reply.code, name=smtp.name_given(reply))
        if reply.code != 220:
            finding = "smtp.unavailable" if reply.code == 421 else "greeting.refused"
            raise stop(finding, f"the server greets with a refusal: {reply}", str(reply))


async def _ehlo(journal: Journal, talk: SmtpTalk, name: str) -> dict[str, list[str]]:
    async with journal.stage(name, f"EHLO {talk.ehlo}", Ehlo()) as stage:
        reply = await talk.command("EHLO", talk.ehlo)
        words = smtp.keywords(reply)
        stage.facts = Ehlo(
            lines=list(reply.lines),
            code=reply.code,
            name=smtp.name_given(reply),
            keywords=words,
            mechanisms=smtp.mechanisms(words),
        )
        if reply.code != 250:
            finding = "smtp.unavailable" if reply.code == 421 else "ehlo.refused"
            if "client certificate" in reply.text.lower():
                # Postfix looks at it after the handshake: "Client certificate not trusted", "No client certificate presented".
                finding = "tls.client-certificate-refused"
            raise stop(finding, f"EHLO {talk.ehlo}: refused: {reply}", str(reply))
    return words


async def _handshake(job: Job, journal: Journal, talk: SmtpTalk, words: Mapping[str, list[str]] | None, verified: bool) -> None:
    """STARTTLS when `words` (what EHLO offered) is given, implicit TLS when it is None; then the certificate."""
    async with journal.stage("smtp.starttls", f"start TLS with {job.submission.host}", Secured(implicit=words is None)) as stage:
        if words is not None:
            await _starttls(talk, stage, words)
        await reach.shake_hands(talk.connection, job.submission, stage, verified=verified)
    await reach.certify(job, journal, job.submission, talk.connection)


async def _starttls(talk: SmtpTalk, stage: Stage[Secured], words: Mapping[str, list[str]]) -> None:
    if "STARTTLS" not in words:
        offered = " ".join(words) or "nothing"
        raise stop("starttls.not-offered", f"the server does not offer STARTTLS (it offers {offered})", offered)
    reply = await talk.command("STARTTLS")
    stage.facts = replace(stage.facts, reply=list(reply.lines))
    if reply.code != 220:
        finding = "smtp.unavailable" if reply.code == 421 else "starttls.refused"
        raise stop(finding, f"STARTTLS is offered, but refused: {reply}", str(reply))
    reach.refuse_injected(talk.connection, str(reply))


async def _ehlo_tls(job: Job, journal: Journal, talk: SmtpTalk) -> dict[str, list[str]]:
    """EHLO after TLS, with what differs from the one before; in plaintext mode the first EHLO is all there is."""
    if not talk.connection.is_tls:
        journal.skip("smtp.ehlo_tls", "the profile says plaintext")
        return {name: list(given) for name, given in journal.seen("smtp.ehlo", Ehlo).keywords.items()}
    words = await _ehlo(journal, talk, "smtp.ehlo_tls")
    before, after = journal.seen("smtp.ehlo", Ehlo), journal.seen("smtp.ehlo_tls", Ehlo)
    if before.lines:
        journal.see("smtp.ehlo_tls", replace(after, differs=_difference(before.lines, after.lines)))
    return words


def _difference(before: Sequence[str], after: Sequence[str]) -> Difference:
    """Lines gone and new, without code and separator: only the last line of a reply has a space there."""
    old, new = [line[4:] for line in before], [line[4:] for line in after]
    return {"removed": [text for text in old if text not in new], "added": [text for text in new if text not in old]}


async def _authenticate(job: Job, journal: Journal, talk: SmtpTalk, words: dict[str, list[str]]) -> None:
    side = job.submission
    if side.credentials is None:
        journal.skip("smtp.auth", "the profile has no credentials")
        return
    async with journal.stage("smtp.auth", f"log on to {side.host} as {side.credentials.username}", LoggedOn()) as stage:
        credentials, answers = await logon.begin(job, journal, side, talk.connection, stage, smtp.mechanisms(words))
        assert answers is not None
        reply = await talk.authenticate(answers, job)
        stage.facts = replace(stage.facts, reply=list(reply.lines), enhanced=reply.enhanced)
        logon.outcome(answers, stage, journal)
        if reply.code // 100 != 2:
            raise logon.refused(
                job, journal, stage, answers, f"AUTH {answers.mechanism.name} as {credentials.username}", str(reply)
            )


async def _submit(job: Job, journal: Journal, talk: SmtpTalk, words: Mapping[str, list[str]], draft: Draft) -> None:
    """MAIL, RCPT and the message: in one flight where PIPELINING and CHUNKING are offered, else behind DATA's go-ahead."""
    pipelined = job.conduct.pipelining and "PIPELINING" in words
    size = f" SIZE={draft.octets}" if "SIZE" in words else ""
    international = not (draft.sender + draft.recipient).isascii()
    utf8 = " BODY=8BITMIME SMTPUTF8" if international else ""
    envelope = [f"MAIL FROM:<{draft.sender}>{size}{utf8}", f"RCPT TO:<{draft.recipient}>"]
    async with journal.stage("smtp.submit", f"submit a message to {draft.recipient}", Submitted()) as stage:
        if international and "SMTPUTF8" not in words:
            raise stop("submit.smtputf8-missing", "an address is not ASCII, and the server does not offer SMTPUTF8 (RFC 6531)")
        most, limits = smtp.most_octets(words), smtp.limits(words)
        stage.facts = Submitted(marker=draft.marker, octets=draft.octets, pipelined=pipelined, size_limit=most, limits=limits)
        if most is not None and draft.octets > most:
            text = f"the message has {draft.octets} octets, and the server takes no more than {most}; nothing was sent"
            raise stop("submit.too-large", text, f"SIZE {most}")
        # What is large is sent only when it is known that its envelope was taken.
        at_once = pipelined and "CHUNKING" in words and not draft.filling
        last = await _in_one_flight(job, journal, talk, stage, envelope, draft) if at_once else None
        if last is None:
            last = await _behind_data(job, journal, talk, stage, envelope, draft)
        reply = last.reply
        stage.facts = replace(
            stage.facts,
            reply=list(reply.lines),
            enhanced=reply.enhanced,
            queue_id=smtp.queue_id(reply.text),
            hostname=smtp.node(reply.text),
        )
        # 251 and 252 too: RFC 5321 section 4.2.1, the first digit decides.
        if reply.code // 100 != 2:
            raise _refused("the message", reply)
        job.accepted.reach(Accepted(last.at, certain=True))


async def _in_one_flight(
    job: Job, journal: Journal, talk: SmtpTalk, stage: Stage[Submitted], envelope: list[str], draft: Draft
) -> Answered | None:
    """The reply to MAIL, RCPT and the message as one chunk (BDAT, RFC 3030); None where BDAT is offered and not known in truth.

    A server that refuses MAIL or RCPT reads the chunk all the same, and refuses it. Raises Stopped.
    """
    commands = [*envelope, f"BDAT {len(draft.raw)} LAST"]
    answered: list[Answered] = []
    began = journal.now
    job.before_message()
    job.content_sent = True
    await talk.launch(commands, draft.raw)
    job.leaving.reach(journal.now)
    try:
        await talk.answers(commands, answered)
    except Stopped as error:
        # What was refused is not delivered, whatever came behind the refusal.
        _raise_refusal(answered)
        raise _fate_unknown(job, journal, error) from None
    finally:
        stage.facts = replace(stage.facts, replies=_replies(answered, began))
    *before, last = answered
    _raise_refusal(before)
    try:
        _raise_unexpected(before)
    except Stopped:
        # The message has left, and whether it was taken these replies do not say.
        job.accepted.reach(Accepted(journal.now, certain=False))
        raise
    if last.reply.code not in _NOT_KNOWN:
        return last
    try:
        await talk.reset(draft.raw.count(b"\n"))
    except Stopped as error:
        text = f"the server offers CHUNKING, refuses BDAT ({last.reply}), and is then of no use: {error.trouble.text}"
        raise stop("submit.chunking-broken", text, error.trouble.evidence) from None
    return None


# Replies to a command that a server does not know, or not here (RFC 5321 section 4.2.2).
_NOT_KNOWN = range(500, 505)


async def _behind_data(
    job: Job, journal: Journal, talk: SmtpTalk, stage: Stage[Submitted], envelope: list[str], draft: Draft
) -> Answered:
    """The reply to the message, sent behind DATA's go-ahead; MAIL, RCPT and DATA in one flight where pipelined. Raises Stopped."""
    answered: list[Answered] = []
    earlier, began = list(stage.facts.replies), journal.now
    try:
        await talk.flight([*envelope, "DATA"], answered, pipelined=bool(stage.facts.pipelined))
    finally:
        stage.facts = replace(stage.facts, replies=[*earlier, *_replies(answered, began)])
    await _refuse_envelope(talk, answered)
    if not job.content_sent:
        job.before_message()
        job.content_sent = True
    reply = await _content(job, journal, talk, draft)
    last = Answered("message", reply, journal.now)
    stage.facts = replace(stage.facts, replies=[*stage.facts.replies, *_replies([last], answered[-1].at)])
    return last


def _replies(answered: Sequence[Answered], began: float) -> list[CommandReply]:
    """Each command with its reply and seconds. Pipelined, `seconds` is when its reply came after the flight left."""
    return [{"command": item.command, "reply": list(item.reply.lines), "seconds": round(item.at - began, 6)} for item in answered]


async def _refuse_envelope(talk: SmtpTalk, answered: Sequence[Answered]) -> None:
    """Raise for the first refusal. A pipelined DATA that got its 354 all the same is ended with an empty message, which
    a server without valid recipients refuses (RFC 2920 section 3.1)."""
    if answered[-1].command == "DATA" and answered[-1].reply.code == 354 and any(item.reply.code >= 400 for item in answered):
        await talk.flight(["."], [], pipelined=False)
    _raise_refusal(answered)
    _raise_unexpected(answered)


def _raise_refusal(answered: Sequence[Answered]) -> None:
    refused = next((item for item in answered if item.reply.code >= 400), None)
    if refused is not None:
        raise _refused(refused.command, refused.reply)


def _raise_unexpected(answered: Sequence[Answered]) -> None:
    unexpected = next((item for item in answered if item.reply.code // 100 != _EXPECTED[item.command.split(" ")[0]]), None)
    if unexpected is not None:
        reply = unexpected.reply
        raise stop("protocol.malformed", f"{unexpected.command}: a reply that makes no sense here: {reply}", str(reply))


_EXPECTED = {"MAIL": 2, "RCPT": 2, "DATA": 3}
_FINDINGS = {"MAIL": "submit.sender-refused", "RCPT": "submit.recipient-refused"}


def _refused(command: str, reply: Reply) -> Stopped:
    if reply.code == 421:
        return stop("smtp.unavailable", f"{command}: the server said good-bye: {reply}", str(reply))
    if 400 <= reply.code < 500:
        return stop("submit.temporary", f"{command}: refused for now: {reply}", str(reply))
    return stop(_refused_what(command, reply), f"{command}: refused: {reply}", str(reply))


def _refused_what(command: str, reply: Reply) -> str:
    """The words count more than the command: many servers judge the sender at RCPT, and the size at MAIL (RFC 1870)."""
    if command.startswith("RCPT") and _OF_SENDER.search(reply.text):
        return "submit.sender-refused"
    if command.startswith("MAIL") and (reply.code == 552 or reply.enhanced == "5.3.4"):
        return "submit.refused"
    return _FINDINGS.get(command[:4], "submit.refused")


_OF_SENDER = re.compile(
    r"sender address rejected|not owned by user|sender (address )?(is )?not|as this sender|MAIL FROM", re.IGNORECASE
)


async def _content(job: Job, journal: Journal, talk: SmtpTalk, draft: Draft) -> Reply:
    """The message behind the 354. Without a final reply its fate is unknown: readers look for it, nothing is sent again."""
    try:
        return await talk.content(draft, lambda: job.renew(talk.connection), lambda: job.leaving.reach(journal.now))
    except Stopped as error:
        if error.trouble.id == "submit.cut":
            raise
        raise _fate_unknown(job, journal, error) from None


def _fate_unknown(job: Job, journal: Journal, error: Stopped) -> Stopped:
    job.accepted.reach(Accepted(journal.now, certain=False))
    text = f"the message was sent, but no final reply came ({error.trouble.text}): its fate is unknown"
    return stop("delivery.fate-unknown", text, error.trouble.evidence)


async def _goodbye(talk: SmtpTalk) -> None:
    """QUIT, without waiting for its reply: everything to be proven is proven, and waiting would cost a round trip."""
    try:
        if talk.is_open:
            talk.connection.hurry()
            await talk.connection.write(b"QUIT\r\n")
    except Stopped:
        pass
    finally:
        await talk.close()
