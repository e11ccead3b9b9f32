"""What an audit check works with: fresh connections to the profile's servers, in clear or after TLS, one command at a time."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from probe.facts import Connected, trusts_this_machine
from probe.observe import reach
from probe.observe.connection import Address, Connection, Handshake, Trust
from probe.observe.job import Job, Side
from probe.observe.journal import Journal, Stage
from probe.observe.protocol import imap, smtp
from probe.observe.protocol.imap_conversation import ImapTalk
from probe.observe.protocol.pop3_conversation import Pop3Talk
from probe.observe.protocol.smtp import Reply
from probe.observe.protocol.smtp_conversation import Answered, SmtpTalk
from probe.observe.trouble import stop
from probe.plain import dataclass

# Reserved by RFC 2606: mail for it can go nowhere.
FOREIGN_DOMAIN = "example.net"
# Some servers delay a refusal on purpose (Exchange: 5 s).
TARPIT_SECONDS = 15.0


class Smtp:
    """One SMTP connection, greeted; `handshake` is set after TLS."""

    def __init__(self, talk: SmtpTalk) -> None:
        self.talk = talk
        self.connection = talk.connection
        self.words: dict[str, list[str]] = {}
        self.greeting = ""

    async def say(self, command: str) -> Reply:
        """Send one command, return its reply."""
        return (await self.say_all([command], pipelined=False))[0]

    async def say_all(self, commands: list[str], *, pipelined: bool) -> list[Reply]:
        answered: list[Answered] = []
        await self.talk.flight(commands, answered, pipelined=pipelined)
        return [item.reply for item in answered]

    async def ehlo(self) -> Reply:
        reply = await self.say(f"EHLO {self.talk.ehlo}")
        self.words = smtp.keywords(reply)
        return reply

    async def start_tls(self, scene: "Scene", trust: Trust) -> Handshake:
        """STARTTLS and the handshake. Raises Stopped."""
        reply = await self.say("STARTTLS")
        if reply.code != 220:
            raise stop("starttls.refused", f"STARTTLS: {reply}", str(reply))
        return await self.connection.start_tls(trust, scene.submission.host)


def trusted_peer(connection: Connection, greeting: str) -> str | None:
    """Why a check in clear says nothing: Dovecot takes a peer of its own address for secured. None where it does say something."""
    if not trusts_this_machine(connection.local, str(connection.address), greeting):
        return None
    return f"Dovecot trusts peers of its own address ({connection.local.rpartition(':')[0]}): run the audit from another machine"


@dataclass(frozen=True, slots=True)
class Scene:
    """The servers under audit."""

    job: Job
    journal: Journal
    submission: Side
    readers: Mapping[str, Side]
    # Reads the message of a job back by the reader of that name, as a run does.
    read_back: Callable[[str, Job], Awaitable[None]] | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """Every server: the submission's, then the readers'."""
        return (self.submission, *self.readers.values())

    @property
    def stranger(self) -> str:
        """A user that does not exist, so that no account is locked by a check."""
        return f"no-such-user-{secrets.token_hex(6)}"

    def trust(self, side: Side, **changes: str) -> Trust:
        """For looking only: no secret follows on a connection made with it."""
        versions = {"minimum_version": side.minimum_version, **changes}
        return Trust(side.ca_file, verified=False, **versions)

    def at(self, address: Address) -> Side:
        """The submission at one address."""
        return replace(self.submission, connect=(str(address),))

    async def connect(self, side: Side) -> Connection:
        """A fresh connection. Raises Stopped."""
        return await reach.connect(self.job, self.journal, side, Stage(side.leg, Connected()))

    @asynccontextmanager
    async def smtp(self, *, tls: bool, side: Side | None = None) -> AsyncIterator[Smtp]:
        """An SMTP connection that has said EHLO; after TLS (STARTTLS or implicit) when `tls`. Raises Stopped."""
        side = side or self.submission
        connection = await self.connect(side)
        connection.limit(asyncio.get_running_loop().time() + self.job.conduct.per_connection + TARPIT_SECONDS)
        talk = SmtpTalk(connection, self.journal, self.job.conduct.ehlo)
        conversation = Smtp(talk)
        try:
            if side.security == "tls":
                await connection.start_tls(self.trust(side), side.host)
            conversation.greeting = str(await talk.greeting())
            await conversation.ehlo()
            if tls and side.security == "starttls":
                await conversation.start_tls(self, self.trust(side))
                await conversation.ehlo()
            yield conversation
        finally:
            await talk.close()

    @asynccontextmanager
    async def in_clear(self, leg: str) -> AsyncIterator[ImapTalk | Pop3Talk]:
        """A reader's connection before STARTTLS, greeted. Raises Stopped; `not-applicable` is the caller's to say."""
        side = self.readers[leg]
        connection = await self.connect(side)
        talk = ImapTalk(connection, self.journal, tls_wanted=False) if leg == "imap" else Pop3Talk(connection, self.journal)
        try:
            greeting = await talk.greeting()
            if isinstance(talk, ImapTalk) and isinstance(greeting, imap.Untagged):
                talk.greeted = imap.capabilities([greeting])
            yield talk
        finally:
            await talk.close()

    async def handshakes(self) -> dict[str, Handshake]:
        """One look at the certificate of each server that has TLS, by leg. Raises Stopped."""
        sides = {"smtp": self.submission, **self.readers}
        return {leg: await self._handshake(leg, side) for leg, side in sides.items() if side.security != "plaintext"}

    async def _handshake(self, leg: str, side: Side) -> Handshake:
        if leg == "smtp":
            async with self.smtp(tls=True) as conversation:
                assert conversation.connection.handshake is not None  # tls=True
                return conversation.connection.handshake
        if side.security == "tls":
            connection = await self.connect(side)
            try:
                return await connection.start_tls(self.trust(side), side.host)
            finally:
                await connection.close()
        async with self.in_clear(leg) as talk:
            await talk.command("STARTTLS" if isinstance(talk, ImapTalk) else "STLS")
            return await talk.connection.start_tls(self.trust(side), side.host)
