"""SMTP over the recorded connection: aiosmtplib speaks, the connection records, upgrades and limits.

aiosmtplib's connection is a Bridge. What it is shown is a short form of each reply; facts come from our own record of
the raw lines, since its parser merges and strips them. The flight of MAIL, RCPT and the message (or DATA) is written here:
aiosmtplib waits for each reply, which would cost up to three more round trips, and knows no BDAT.
"""

import contextlib
from collections.abc import Callable, Sequence

from probe.message import Draft
from probe.observe import logon
from probe.observe.connection import Connection
from probe.observe.connection.bridge import Bridge
from probe.observe.job import Job
from probe.observe.journal import QUOTED, Journal
from probe.observe.protocol.smtp import Malformed, Reply, ReplyReader, TooLong, dot_stuffed, stuffed
from probe.observe.trouble import Stopped, stop
from probe.plain import dataclass
from probe.sasl import Answers, hidden


@dataclass(frozen=True, slots=True)
class Answered:
    """A command's reply and when it came, in seconds since the run began."""

    command: str
    reply: Reply
    at: float


class SmtpTalk:
    """One SMTP conversation. Made on a fresh connection; `close()` it."""

    def __init__(self, connection: Connection, journal: Journal, ehlo: str) -> None:
        from aiosmtplib.protocol import SMTPProtocol

        self.connection = connection
        # Without a name of our own: the address that this connection comes from (RFC 5321 section 4.1.3).
        self.ehlo = ehlo or connection.own_literal
        self._journal = journal
        self._bridge = Bridge(self._exchange)
        self._client = SMTPProtocol()
        self._shown: str | None = None
        self._reply: Reply | None = None
        # Octets of a message in pieces that have left.
        self._left = 0

    @property
    def is_open(self) -> bool:
        """Whether a command can still be sent: greeted, and not ended by either side."""
        return self._client.is_connected and self._bridge.error is None

    async def greeting(self) -> Reply:
        """Read the greeting (RFC 5321 section 3.1). Raises Stopped when it is not a reply at all."""
        reply = await self._read_reply("greeting")
        # 554 in place of 220: the server takes no mail, and only QUIT may follow (RFC 5321 section 3.1).
        if reply.code == 220:
            self._bridge.start(self._client, b"220 greeting\r\n")
            await self._client.read_response()
        return reply

    async def command(self, *words: str, shown: str | None = None) -> Reply:
        """Send one command and return its reply, whatever its code. `shown` replaces a secret in the transcript."""
        from aiosmtplib import SMTPException

        self._shown, self._reply = shown, None
        try:
            # No time-out of its own: every wait has the connection's deadline.
            await self._client.execute_command(*(word.encode() for word in words))
        except SMTPException:
            if self._bridge.error is not None:
                raise self._bridge.error from None
            raise stop("connect.closed", f"{words[0]}: the connection is closed") from None
        if self._reply is None:
            raise stop("connect.closed", f"{words[0]}: no reply")
        if self._reply.code == 421:
            # The server's good-bye (RFC 5321 section 3.8).
            self._bridge.close()
        return self._reply

    async def _exchange(self, command: bytes) -> bytes:
        """What the bridge does with a command of aiosmtplib's: send it, read and keep the whole reply."""
        verb = command.split(None, 1)[0].decode("ascii", "replace") if self._shown is None else "AUTH"
        self._refuse_unasked(verb)
        await self.connection.write(command, shown=self._shown)
        self._reply = await self._read_reply(verb)
        return b"%d reply\r\n" % self._reply.code

    def _refuse_unasked(self, verb: str) -> None:
        """A reply that came before its command was written answers nothing ("Why TLS Is Better Without STARTTLS", USENIX
        2021); only 421, the server's good-bye, may come at any time (RFC 5321 section 3.8)."""
        unread = self.connection.unread()
        if not unread:
            return
        shown = self.connection.brief(unread)
        if unread.startswith(b"421"):
            raise stop("smtp.unavailable", f"before {verb}: the server said good-bye: {shown.strip()}", shown)
        raise stop("protocol.unsolicited", f"before {verb}: {len(unread)} octets came that nothing had asked for", shown)

    async def _read_reply(self, verb: str) -> Reply:
        reader = ReplyReader()
        try:
            while not reader.add(await self.connection.read_line(verb)):
                pass
        except Malformed as error:
            raise stop("protocol.malformed", f"{verb}: {self._journal.brief(str(error), QUOTED)}", str(error)) from None
        except TooLong as error:
            raise stop("protocol.too-long", f"{verb}: {error}") from None
        return reader.reply()

    async def authenticate(self, answers: Answers, job: Job) -> Reply:
        """AUTH (RFC 4954): one attempt, with an initial response where the mechanism has one."""
        words = ["AUTH", answers.mechanism.name]
        # Tokens go on the AUTH line as Google and Microsoft document it, though RFC 4954 section 4 counts the line (512 octets).
        first = logon.initial(answers, self._journal)
        shown = " ".join([*words, hidden(first)] if first else words)
        with self.connection.hiding(b"334"):
            reply = await self.command(*words, *([first] if first else []), shown=shown)
            while reply.code == 334:
                # `*` cancels, and the server answers 501 (RFC 4954 section 4).
                response = await logon.respond(answers, reply.texts[-1].strip(), self.connection, self._journal, job)
                reply = await self.command(response, shown=hidden(response) if response != "*" else "*")
        return reply

    async def flight(self, commands: Sequence[str], answered: list[Answered], *, pipelined: bool) -> None:
        """Send commands, together when `pipelined` (RFC 2920); `answered` is filled with the replies as they come.

        One by one, the first refusal ends it.
        """
        if pipelined:
            await self.launch(commands)
            await self.answers(commands, answered)
            return
        self._refuse_unasked(commands[0])
        for command in commands:
            await self.connection.write(f"{command}\r\n".encode())
            await self.answers([command], answered)
            if answered[-1].reply.code >= 400:
                break

    async def launch(self, commands: Sequence[str], behind: bytes = b"") -> None:
        """Send commands together, and behind the last one the octets that it announced (BDAT, RFC 3030).

        Raises Stopped where not all of it left, and where a reply was there before.
        """
        self._refuse_unasked(commands[0])
        text = "".join(f"{command}\r\n" for command in commands)
        shown = f"{text}[message of {len(behind)} octets]" if behind else None
        await self.connection.write(text.encode() + behind, shown=shown)

    async def answers(self, commands: Sequence[str], answered: list[Answered]) -> None:
        """Read exactly one reply to each command that was sent; `answered` is filled as they come."""
        for command in commands:
            reply = await self._read_reply(command.split(" ")[0])
            answered.append(Answered(command, reply, self._journal.now))

    async def reset(self, most: int) -> None:
        """RSET, behind at most so many refusals of what was no command: a server that knows no BDAT takes each line of the
        message for one. Raises Stopped where its answer does not come."""
        await self.connection.write(b"RSET\r\n")
        for _ in range(most + 1):
            reply = await self._read_reply("RSET")
            if reply.code < 400:
                break
        if reply.code != 250:
            raise stop("protocol.malformed", f"RSET: a reply that makes no sense here: {reply}", str(reply))

    async def content(self, draft: Draft, renew: Callable[[], None], has_left: Callable[[], None]) -> Reply:
        """Send the message behind a 354, piece by piece, and return the final reply; `renew` is called before each piece,
        `has_left` behind the last.

        Raises Stopped: `submit.cut` where the connection ended before the whole message had left.
        """
        pieces = draft.pieces()
        waiting = next(pieces)
        for piece in pieces:
            await self._piece(stuffed(waiting), draft)
            renew()
            waiting = piece
        data = dot_stuffed(waiting)
        shown = f"[message of {len(data)} octets]" if waiting is draft.raw else f"[the rest, {len(data)} octets]"
        await self.connection.write(data, shown=shown)
        has_left()
        return await self._read_reply("end of message")

    async def _piece(self, data: bytes, draft: Draft) -> None:
        """All but the last piece: where it cannot be sent, the server has not seen the message's end, and may have said why."""
        if self._left == 0:
            self.connection.note(f"message of {draft.octets} octets, sent piece by piece")
        try:
            await self.connection.write(data, recorded=False)
        except Stopped as error:
            text = f"the connection ended when {self._left} of {draft.octets} octets of the message had left"
            self.connection.hurry()
            with contextlib.suppress(Stopped):
                text += f"; the server said {await self._read_reply('message')}"
            raise stop("submit.cut", f"{text} ({error.trouble.text})", error.trouble.evidence) from None
        self._left += len(data)

    async def close(self) -> None:
        """Close the bridge and the connection, without waiting for the server."""
        await self._bridge.end()
        await self.connection.close()
