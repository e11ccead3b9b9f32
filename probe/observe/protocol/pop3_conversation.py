"""POP3 over the recorded connection: no maintained asyncio client exists, so this small one takes `poplib-aio`'s place.

Lines may be of any length up to the connection's limit; commands go in one flight where the server offers PIPELINING.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from probe.observe import logon
from probe.observe.connection import Connection
from probe.observe.job import Job
from probe.observe.journal import QUOTED, Journal
from probe.observe.protocol.lines import filled_line
from probe.observe.protocol.pop3 import Malformed, Response, response, unstuffed
from probe.observe.trouble import Stopped, stop
from probe.sasl import Answers, Credentials, hidden

# RFC 2449 section 4: a command line has 255 octets at most, its CRLF included.
COMMAND_OCTETS = 253
RESPONSE_OCTETS = 4 * 1024 * 1024
# Of all multi-line responses of a session: 50 whole messages where TOP is missing.
SESSION_OCTETS = 128 * 1024 * 1024
# Of a message of a chosen size, left behind, that may have grown on its way (message.size goes up to 150 MiB).
LARGEST_MESSAGE = 256 * 1024 * 1024
# Lines of one response. RFC 2449 section 6 defines nine capabilities; of a message, 4 MiB in lines of 40 octets are as many.
MOST_LINES = 5_000
MOST_MESSAGE_LINES = 100_000
_ONE_LINE = ("STAT",)


class Pop3Talk:
    """One POP3 conversation."""

    def __init__(self, connection: Connection, journal: Journal) -> None:
        self.connection = connection
        self.ended = False
        # What one message may have; of a larger one than RESPONSE_OCTETS the rest is read and not kept.
        self.message_octets = RESPONSE_OCTETS
        # Sees each line of a message, line end included, as it arrives.
        self.take: Callable[[bytes], None] | None = None
        self._journal = journal
        self._octets = 0

    async def greeting(self) -> Response:
        """The +OK a server begins with (RFC 1939 section 4)."""
        return await self._response("greeting", multiline=False)

    async def command(self, text: str, *, multiline: bool = False, shown: str | None = None) -> Response:
        """Send one command and return its response, whatever its status."""
        return (await self.flight([text], multiline=multiline, shown=shown))[0]

    async def flight(
        self, commands: Sequence[str], *, pipelined: bool = True, multiline: bool = False, shown: str | None = None
    ) -> list[Response]:
        """Send commands, together when `pipelined` (RFC 2449 section 6.6), and return their responses in order."""
        responses: list[Response] = []
        await self.judged(commands, responses.append, pipelined=pipelined, multiline=multiline, shown=shown)
        return responses

    async def judged(
        self,
        commands: Sequence[str],
        judge: Callable[[Response], None],
        *,
        pipelined: bool = True,
        multiline: bool = False,
        shown: str | None = None,
    ) -> None:
        """A flight whose responses are given to `judge` in order as each arrives, and kept nowhere else. STAT's is one line."""
        if pipelined:
            await self._send("".join(f"{command}\r\n" for command in commands), shown)
        for command in commands:
            if not pipelined:
                await self._send(f"{command}\r\n", shown)
            verb = command.split(" ")[0]
            self.ended = self.ended or verb == "QUIT"
            judge(await self._response(verb, multiline=multiline and verb not in _ONE_LINE))

    async def _send(self, text: str, shown: str | None) -> None:
        unread = self.connection.unread()
        # RFC 1939 section 3 wants an idle session closed in silence; Dovecot says `-ERR Disconnected for inactivity.` first.
        if unread.strip() and not unread.upper().startswith(b"-ERR"):
            evidence = self.connection.brief(unread)
            raise stop("protocol.unsolicited", f"{len(unread)} octets came that nothing had asked for", evidence)
        await self.connection.write(text.encode(), shown=shown)

    async def _response(self, verb: str, *, multiline: bool) -> Response:
        first = await filled_line(self.connection, verb)
        try:
            answer = response(first)
        except Malformed as error:
            raise stop("protocol.malformed", f"{verb}: {self._journal.brief(str(error), QUOTED)}", str(error)) from None
        lines = await self._lines(verb) if multiline and answer.ok else ()
        return replace(answer, lines=lines, at=self._journal.now)

    async def _lines(self, verb: str) -> tuple[bytes, ...]:
        lines: list[bytes] = []
        octets = kept = 0
        message = verb in ("TOP", "RETR")
        most = self.message_octets if message else RESPONSE_OCTETS
        most_lines = MOST_MESSAGE_LINES if message else MOST_LINES
        while (line := unstuffed(await self.connection.read_line(verb, recorded=not message))) is not None:
            octets += len(line) + 2
            if message and self.take is not None:
                self.take(line + b"\r\n")
            if octets > most:
                raise stop("protocol.too-long", f"{verb}: a response of more than {most} octets")
            if octets <= RESPONSE_OCTETS:
                lines.append(line)
                kept = octets
            if len(lines) > most_lines:
                raise stop("protocol.too-long", f"{verb}: a response of more than {most_lines} lines")
        self._octets += kept
        if self._octets > SESSION_OCTETS:
            raise stop("protocol.too-long", f"{verb}: more than {SESSION_OCTETS // 2**20} MiB in one session")
        if message:
            self.connection.note(f"{octets} octets of message received")
        return tuple(lines)

    async def authenticate(self, answers: Answers, job: Job) -> Response:
        """AUTH (RFC 5034): one attempt, with an initial response where the mechanism has one that fits into a command line.

        A longer one (every token) goes on a line of its own behind the server's `+`, which is also the one form that
        Exchange Online takes. Nothing goes in the same flight: Courier and Cyrus drop what was read together with AUTH.
        """
        text = shown = f"AUTH {answers.mechanism.name}"
        # RFC 5034 section 4: `=` is an empty initial response, and the line, CRLF included, keeps to 255 octets.
        first = logon.masked(answers.initial, self._journal, answers.username) or "=" if answers.initial is not None else None
        if first is not None and len(text) + 1 + len(first) <= COMMAND_OCTETS:
            answers.take_initial()
            text, shown = f"{text} {first}", f"{shown} {hidden(first)}"
        # `+ ` with the space (RFC 5034 section 4): `+OK` is the outcome, and is to be seen.
        await self._send(f"{text}\r\n", shown)
        with self.connection.hiding(b"+ "):
            line = await self._exchange(answers, job)
        try:
            return replace(response(line), at=self._journal.now)
        except Malformed as error:
            raise stop("protocol.malformed", f"AUTH: {self._journal.brief(str(error), QUOTED)}", str(error)) from None

    async def _exchange(self, answers: Answers, job: Job) -> bytes:
        """Answer each challenge; the line that ends the exchange."""
        while True:
            line = await filled_line(self.connection, "AUTH")
            if not line.startswith(b"+ ") and line != b"+":
                return line
            challenge = line[1:].decode("ascii", "replace").strip()
            text = await logon.respond(answers, challenge, self.connection, self._journal, job)
            await self.connection.write(f"{text}\r\n".encode(), shown=hidden(text) if text != "*" else "*")

    async def login(self, credentials: Credentials) -> Response:
        """USER and PASS (RFC 1939 section 7)."""
        # Many servers say +OK to any name, so as not to give away which exist (RFC 1939 section 7): only PASS decides.
        user = await self.command(f"USER {credentials.username}")
        if not user.ok:
            return user
        # Not quoted: spaces are a part of the password (RFC 1939 section 7, PASS).
        return await self.command(f"PASS {credentials.secret}", shown="PASS [hidden]")

    async def apop(self, credentials: Credentials, timestamp: str) -> Response:
        """APOP (RFC 1939 section 7): an MD5 digest over the greeting's timestamp and the password."""
        import hashlib

        digest = hashlib.md5(timestamp.encode() + credentials.secret.encode(), usedforsecurity=False).hexdigest()
        # Beside the greeting's timestamp a digest that the server quotes would let passwords be tried offline.
        self._journal.mask(digest)
        return await self.command(f"APOP {credentials.username} {digest}", shown=f"APOP {credentials.username} [hidden]")

    async def goodbye(self) -> None:
        """QUIT within a second, unless it was said; what comes back no longer matters.

        Without it nothing that was deleted is gone: the server removes messages behind QUIT only (RFC 1939 section 6).
        """
        if self.ended:
            return
        try:
            self.connection.hurry()
            await self.command("QUIT")
        except Stopped:
            pass

    async def close(self) -> None:
        """Close the connection, without waiting for the server."""
        await self.connection.close()
