"""Mail programs at one port: a handshake with each program's offer, and its mechanisms compared with what is advertised after TLS.

Nobody logs on. Programs with one offer share a handshake; handshakes go one after the other, spaced, so that no limit on rates is
met; and where the server does not answer any more, the rest is left alone and said to be undecided.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from probe.clients import Client, Offer
from probe.observe.audit._scene import Scene
from probe.observe.certified import certified
from probe.observe.connection import Connection
from probe.observe.connection.imitated import Agreed, imitate, why_not_trusted
from probe.observe.job import Side
from probe.observe.protocol import imap, pop3, smtp
from probe.observe.protocol.imap_conversation import ImapTalk
from probe.observe.protocol.pop3_conversation import Pop3Talk
from probe.observe.reach import trust_of
from probe.observe.trouble import Stopped, stop
from probe.record import Trouble
from probe.report.clients import Service, Used

SPACING_SECONDS = 0.1
HANDSHAKE_SECONDS = 15.0
# So many connections in a row that fail before the handshake: a limit, or the server has gone.
MOST_FAILURES = 3
# The troubles of a handshake itself; any other says nothing about a program.
_OF_THE_OFFER = ("tls.handshake-failed", "tls.version")


async def service(scene: Scene, side: Side, clients: Sequence[Client]) -> Service:
    """Each program's row at this port. Never raises for what a server does."""
    if side.security == "plaintext":
        rows = [_row(client, side, "undecided", why="the profile uses this port without TLS") for client in clients]
        return Service(side.leg, side.host, side.port, side.security, None, tuple(rows))
    try:
        mechanisms: Sequence[str] | None = await advertised(scene, side)
    except Stopped:
        mechanisms = None
    fit = [client for client in clients if _mode(side) in client.services]
    agreed = await _handshakes(scene, side, dict.fromkeys(client.offer for client in fit))
    rows = [_used(scene, client, side, agreed.get(client.offer), mechanisms) for client in clients]
    return Service(side.leg, side.host, side.port, side.security, mechanisms, tuple(rows))


def _mode(side: Side) -> str:
    return f"{side.leg}-{side.security}"


async def _handshakes(scene: Scene, side: Side, offers: Iterable[Offer]) -> dict[Offer, Agreed | Trouble]:
    found: dict[Offer, Agreed | Trouble] = {}
    failures = 0
    for offer in offers:
        if failures >= MOST_FAILURES:
            found[offer] = Trouble(
                "connect.closed", f"not tried: {failures} connections in a row failed; a limit on connections may hold"
            )
            continue
        try:
            found[offer] = await _handshake(scene, side, offer)
        except Stopped as error:
            found[offer] = error.trouble
        seen = found[offer]
        failures = failures + 1 if isinstance(seen, Trouble) and seen.id not in _OF_THE_OFFER else 0
        await scene.job.sleep(SPACING_SECONDS)
    return found


async def _handshake(scene: Scene, side: Side, offer: Offer) -> Agreed:
    async with _ready(scene, side) as connection:
        connection.limit(asyncio.get_running_loop().time() + HANDSHAKE_SECONDS)
        return await imitate(connection, offer, side.host)


@asynccontextmanager
async def _ready(scene: Scene, side: Side) -> AsyncIterator[Connection]:
    """A connection on which the next octets are the ClientHello. Raises Stopped."""
    if side.security == "tls":
        connection = await scene.connect(side)
        try:
            yield connection
        finally:
            await connection.close()
    elif side.leg == "smtp":
        async with scene.smtp(tls=False, side=side) as conversation:
            reply = await conversation.say("STARTTLS")
            if reply.code != 220:
                raise stop("starttls.refused", f"STARTTLS: {reply}", str(reply))
            yield conversation.connection
    else:
        async with scene.in_clear(side.leg) as talk:
            answer = await talk.command("STARTTLS" if isinstance(talk, ImapTalk) else "STLS")
            if not answer.ok:
                raise stop("starttls.refused", f"STARTTLS: {answer.text}", answer.text)
            yield talk.connection


async def advertised(scene: Scene, side: Side) -> list[str]:
    """The ways to log on that the server names after TLS, as offers.toml writes them. Raises Stopped."""
    trust = scene.trust(side, minimum_version="TLSv1")
    if side.leg == "smtp":
        async with scene.smtp(tls=True, side=side) as conversation:
            return smtp.mechanisms(conversation.words)
    if side.security == "tls":
        connection = await scene.connect(side)
        talk = ImapTalk(connection, scene.journal, tls_wanted=True) if side.leg == "imap" else Pop3Talk(connection, scene.journal)
        try:
            await connection.start_tls(trust, side.host)
            greeting = await talk.greeting()
            return await _asked(talk, getattr(greeting, "text", ""))
        finally:
            await talk.close()
    async with scene.in_clear(side.leg) as talk:
        await talk.command("STARTTLS" if isinstance(talk, ImapTalk) else "STLS")
        await talk.connection.start_tls(trust, side.host)
        return await _asked(talk, "")


async def _asked(talk: ImapTalk | Pop3Talk, greeting: str) -> list[str]:
    if isinstance(talk, ImapTalk):
        answer = await talk.command("CAPABILITY")
        words = imap.capabilities(answer.untagged, answer.text) or []
        named = [word.removeprefix("AUTH=") for word in words if word.startswith("AUTH=")]
        return named if "LOGINDISABLED" in words else [*named, "login"]
    response = await talk.command("CAPA", multiline=True)
    capable = pop3.capabilities(response.lines) if response.ok else {"USER": []}
    named = [word.upper() for word in capable.get("SASL", [])]
    return [*named, *(["user"] if "USER" in capable else []), *(["apop"] if pop3.timestamp(greeting) else [])]


def _used(scene: Scene, client: Client, side: Side, agreed: Agreed | Trouble | None, mechanisms: Sequence[str] | None) -> Used:
    if not client.speaks(side.leg):
        return _row(client, side, "unused", why=f"does not use {side.leg}")
    if agreed is None:
        return _row(
            client, side, "no", why="cannot use " + ("STARTTLS" if side.security == "starttls" else "TLS from the first octet")
        )
    if isinstance(agreed, Trouble):
        text = scene.journal.redacted(agreed.text)
        return _row(client, side, "no" if agreed.id in _OF_THE_OFFER else "undecided", why=text)
    chain = _why_not_accepted(scene, side, agreed)
    known = client.mechanisms[side.leg]
    mechanism = next((name for name in known if name in (mechanisms or ())), "")
    why = f"certificate: {chain}" if chain else ""
    if not mechanism and mechanisms is not None:
        offered = scene.journal.redacted(" ".join(mechanisms)) or "none"
        why = "; ".join(filter(None, (why, f"no mechanism in common: the server has {offered}, the program {' '.join(known)}")))
    elif not mechanism:
        why = why or "which mechanisms the server has is not known"
    outcome = "yes" if not why else "undecided" if mechanisms is None and not chain else "no"
    return _row(
        client, side, outcome, why=why, version=agreed.version, cipher=agreed.cipher, group=agreed.group or "",
        chain=chain, mechanism=mechanism,
    )  # fmt: skip


def _row(client: Client, side: Side, outcome: str, **more: str) -> Used:
    return Used(client.id, client.name, side.leg, outcome, doubts=client.doubts, logon_doubts=client.unsure, **more)  # type: ignore[arg-type]


def _why_not_accepted(scene: Scene, side: Side, agreed: Agreed) -> str:
    """Why our own trust refuses the chain that this program is shown; empty where it accepts it."""
    refused = why_not_trusted(agreed.chain, trust_of(side))
    seen = certified(agreed.chain, host=side.host, openssl_code=0, openssl_text="", now=scene.job.utc_now())
    wrong_name = "" if seen.name_matches or not agreed.chain else f"its names do not match {side.host}"
    return "; ".join(filter(None, (refused, wrong_name)))
