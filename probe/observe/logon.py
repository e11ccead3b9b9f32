"""The steps of a logon that every leg shares: choose the mechanism, pass the gate, answer challenges, read the outcome."""

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from probe.facts import LoggedOn, greetings
from probe.observe import reach
from probe.observe.aside import beside
from probe.observe.binding import end_point
from probe.observe.connection import Connection
from probe.observe.job import Job, Side
from probe.observe.journal import Journal, Stage
from probe.observe.token import claims
from probe.observe.trouble import Stopped, stop
from probe.sasl import Answers, ChallengeError, Credentials, Mechanism, Service, choose, decoded, encoded, usable

# GSSAPI service names (IANA registry): POP3's is "pop".
_SERVICES = {"smtp": "smtp", "imap": "imap", "pop3": "pop"}
T = TypeVar("T")


async def begin(
    job: Job,
    journal: Journal,
    side: Side,
    connection: Connection,
    stage: Stage[LoggedOn],
    offered: list[str],
    command: str | None = None,
) -> tuple[Credentials, Answers | None]:
    """Choose a mechanism and make ready for the one attempt.

    `command`: the mechanism whose work a command of the protocol's own does when nothing better is offered (IMAP4
    `LOGIN`, POP3 `USER`, `APOP`); then there are no Answers. Raises Stopped when no logon can be tried; the stage says why.
    """
    if side.credentials is None:
        raise stop("auth.no-credentials", f"the profile has no credentials for {side.leg}")
    service = Service(_SERVICES[side.leg], side.host, side.port, end_point(connection), secrets.token_hex(16))
    stage.facts = replace(stage.facts, offered=offered, attempts=0, username=side.credentials.username)
    if side.over:
        raise stop("auth.secret-expired", side.over)
    permission = reach.ask_gate(journal, side, connection)
    mechanism = _chosen(side, side.credentials, service, offered, command, verified=permission.of_the_server)
    others = [item.name for item in usable(offered, side.credentials, service) if item is not mechanism]
    stage.facts = replace(stage.facts, alternatives=others)
    reach.pass_gate(permission, side, stage)
    if side.credentials.kind == "token":
        _look_at(side.credentials.secret, stage, job, journal)
    answers = await _ready(mechanism, side.credentials, service, job) if mechanism else None
    stage.facts = replace(stage.facts, mechanism=mechanism.name if mechanism else command, attempts=1)
    return side.credentials, answers


def _chosen(
    side: Side, credentials: Credentials, service: Service, offered: list[str], command: str | None, *, verified: bool
) -> Mechanism | None:
    wanted = side.mechanism
    if wanted == "APOP" == command:
        return None
    mechanism = choose(wanted, offered, credentials, service, verified=verified)
    if mechanism or (command and credentials.kind == "password" and wanted in ("AUTO", command, _SAME.get(command))):
        return mechanism
    listed = " ".join(offered) or "none"
    if wanted in offered and service.binding is None:
        raise stop("auth.mechanism-not-offered", f"{wanted} needs channel binding, which this connection cannot give", listed)
    what = f"any that takes a {credentials.kind}" if wanted == "AUTO" else wanted
    raise stop("auth.mechanism-not-offered", f"no mechanism to log on with: wanted {what}, offered {listed}", listed)


# A protocol's own command does what this mechanism does.
_SAME = {"USER": "LOGIN"}


def _look_at(token: str, stage: Stage[LoggedOn], job: Job, journal: Journal) -> None:
    """What a JWT says of itself, before it is used: one that has expired is not sent."""
    said = claims(token, journal.brief)
    stage.facts = replace(stage.facts, token=said)
    now = job.utc_now().timestamp()
    expires = said.get("expires")
    ends = said.get("expires_at")
    if isinstance(ends, (int, float)) and ends <= now:
        raise stop("auth.token-expired", f"the token expired at {expires}; it was not sent", str(expires))


async def _ready(mechanism: Mechanism, credentials: Credentials, service: Service, job: Job) -> Answers:
    try:
        return await _aside(mechanism, job, lambda: Answers(mechanism, credentials, service))
    except ChallengeError as error:
        raise stop(error.finding, str(error)) from None


async def respond(answers: Answers, challenge: str, connection: Connection, journal: Journal, job: Job) -> str:
    """The response to a challenge as it goes over the wire; `*` cancels, when there is none."""
    if not answers.mechanism.says_why:
        conceal(challenge, journal)
    try:
        octets = await _aside(answers.mechanism, job, lambda: answers.answer(challenge))
    except ChallengeError as error:
        connection.note("authentication cancelled", str(error))
        return "*"
    return masked(octets, journal, answers.username)


def initial(answers: Answers, journal: Journal) -> str | None:
    """The initial response as it goes over the wire (`=` for an empty one, RFC 4954); None where there is none."""
    octets = answers.take_initial()
    return None if octets is None else masked(octets, journal, answers.username) or "="


def masked(octets: bytes, journal: Journal, username: str) -> str:
    """A response in base64, kept out of every output from now on: as it is, and as the server may quote it.

    The user's name alone (LOGIN's first response) is no secret, and a report without it helps nobody.
    """
    text = encoded(octets)
    if octets == username.encode():
        return text
    journal.mask(text)
    if octets.isascii() and len(octets) >= 16:
        whole = octets.decode()
        for part in (whole, *_PROOFS.findall(whole)):
            journal.mask(part)
    return text


# What a server may say again without the rest: CRAM-MD5's and DIGEST-MD5's digests, SCRAM's proof and nonce.
_PROOFS = re.compile(r"\b[0-9a-f]{32,}\b|(?<=\bp=)[A-Za-z0-9+/=]{16,}|(?<=\br=)[^,]{16,}")
# Shorter parts of a challenge (`i=4096`, a realm) identify nothing, and masking them would spoil the report.
_TELLING = 12


def conceal(challenge: str, journal: Journal) -> None:
    """Keep a challenge out of every output from now on: a server may say it again where its line is not expected.

    As it came, decoded, and each value in it: SCRAM's `r=…,s=…` and `v=…`, DIGEST-MD5's `nonce="…"` (RFC 5802, RFC 2831).
    """
    if len(challenge) >= _TELLING:
        journal.mask(challenge)
    try:
        text = decoded(challenge).decode("ascii")
    except (ChallengeError, UnicodeDecodeError):
        return
    for part in {text, *(value.partition("=")[2].strip('"') for value in text.split(","))}:
        if len(part) >= _TELLING and " " not in part:
            journal.mask(part)


async def _aside(mechanism: Mechanism, job: Job, work: Callable[[], T]) -> T:
    """Do what may be slow beside the loop, until the run's deadline."""
    if not mechanism.slow:
        return work()
    async with job.deadline.limit():
        return await beside(work, f"sasl {mechanism.name}")


def outcome(answers: Answers | None, stage: Stage[LoggedOn], journal: Journal) -> None:
    """Put what the exchange showed into the stage, once the server has said its last word."""
    if answers is None:
        return
    if answers.reason is not None:
        stage.facts = replace(stage.facts, reason=journal.briefly(answers.reason))
    if answers.asked_for:
        stage.facts = replace(stage.facts, asked_for=answers.asked_for)
    if answers.mechanism.proof:
        stage.facts = replace(stage.facts, server_proven=answers.server_is_proven)


def refused(job: Job, journal: Journal, stage: Stage[LoggedOn], answers: Answers | None, who: str, said: str) -> Stopped:
    """A refused logon as a trouble: our own cancelling, the reason that the server gave in JSON, or what its words mean."""
    if answers is not None and answers.gave_up is not None:
        return stop(answers.gave_up.finding, f"{who}: given up: {answers.gave_up}", said)
    if answers is not None and answers.reason is not None:
        listed = ", ".join(f"{key}: {value}" for key, value in answers.reason.items())
        return stop("auth.refused", f"{who}: refused: {said} ({listed})", f"{said} ({listed})")
    leg = stage.name.partition(".")[0]
    finding = job.refused_logon(stage.name, said, " ".join(greetings(journal.seen, leg)))
    if finding == "auth.refused" and answers is not None and not (answers.mechanism.reveals or answers.has_answered):
        # Refused before the secret had any part in it: the server knows no such user for this mechanism, or cannot carry it out.
        finding = "auth.mechanism-failed"
    return stop(finding, f"{who}: {_SAID.get(finding, 'refused')}: {said}", said)


_SAID = {
    "auth.temporary": "not possible at the moment",
    "auth.login-delay": "not possible at the moment",
    "auth.mailbox-in-use": "not possible at the moment",
    "auth.not-allowed": "not allowed",
}
