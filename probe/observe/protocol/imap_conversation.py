"""IMAP4 over the recorded connection: tags, literals, continuations; several commands in one flight."""

import secrets
import string
from collections.abc import Callable, Sequence

from probe.observe import logon
from probe.observe.connection import Connection
from probe.observe.job import Job
from probe.observe.journal import QUOTED, Journal
from probe.observe.protocol.imap import (
    Answer,
    Malformed,
    Part,
    Untagged,
    literal_octets,
    most_of_literal,
    tagged,
    text_of,
    untagged,
)
from probe.observe.protocol.lines import filled_line
from probe.observe.trouble import Stopped, stop
from probe.sasl import Answers, Credentials, hidden

# Untagged responses to one command: one for each of 20 000 messages, should a server send them all.
MOST_UNTAGGED = 20_000
# What the responses to one flight may take: a piece of a sweep asks for 20 messages of 256 KiB.
MOST_KEPT = 8 * 1024 * 1024
# Whether an untagged response is kept; asked as each arrives, so that what is judged then takes no memory.
Keep = Callable[[Untagged], bool]
# What a greeting, CAPABILITY and STARTTLS may give: mail data here is injected ("Why TLS Is Better Without STARTTLS", USENIX 2021).
_BEFORE_TLS = frozenset({"OK", "NO", "BAD", "BYE", "CAPABILITY"})
# What a SEARCH that goes along is answered with.
_SEARCHED = ("SEARCH", "ESEARCH")


class ImapTalk:
    """One IMAP4 conversation. Tags begin with a random prefix, so that no reply can be made up in advance."""

    def __init__(self, connection: Connection, journal: Journal, *, tls_wanted: bool, pipelined: bool = True) -> None:
        self._pipelined = pipelined
        self.connection = connection
        self._journal = journal
        self._tls_wanted = tls_wanted
        self._prefix = "".join(secrets.choice(string.ascii_uppercase) for _ in range(4))
        self._count = 0
        self._waiting: tuple[str | None, str] | None = None
        self._besides: Answer | None = None
        self._kept = 0
        self.greeted: list[str] | None = None
        self.ended = False
        self.greeting_text = ""

    async def greeting(self) -> Untagged:
        """The untagged OK, PREAUTH or BYE a server begins with (RFC 3501 section 7.1)."""
        parts = await self._response("greeting")
        greeting = self._untagged(parts, "greeting")
        self.greeting_text = greeting.text
        return greeting

    async def command(self, text: str, *, keep: Keep | None = None) -> Answer:
        """Send one command and return its completion, whatever its status."""
        return (await self.flight([text], keep=keep))[0]

    async def flight(
        self, commands: Sequence[str], *, keep: Keep | None = None, ending: str | None = None, besides: str | None = None
    ) -> list[Answer]:
        """Send commands together and return their completions in order, with the FETCH responses that `keep` wants.

        `ending` is a last command (LOGOUT) that goes along and whose completion nobody waits for; `besides` is one whose completion
        is waited for later (`besides()`). Without pipelining each waits for the one before.
        """
        await self._settle()
        self._kept = 0
        if not self._pipelined:
            self._waiting = (None, besides) if besides is not None else None
            return await self._one_by_one(commands, keep, ending)
        tags = [self._tag() for _ in commands]
        # Several commands may be under way where none changes what another means (RFC 3501 section 5.5).
        lines = [f"{tag} {command}\r\n" for tag, command in zip(tags, commands, strict=True)]
        if besides is not None:
            self._waiting = (self._tag(), besides)
            lines.append(f"{self._waiting[0]} {besides}\r\n")
        if ending is not None:
            lines.append(f"{self._tag()} {ending}\r\n")
            self.ended = True
        await self.connection.write("".join(lines).encode())
        return [await self._completion(tag, command, keep) for tag, command in zip(tags, commands, strict=True)]

    async def besides(self) -> Answer | None:
        """The completion of the command that went along with an earlier flight, once; None where none did."""
        await self._settle()
        answer, self._besides = self._besides, None
        return answer

    async def _settle(self) -> None:
        if self._waiting is not None:
            (tag, command), self._waiting = self._waiting, None
            if tag is None:
                (self._besides,) = await self._one_by_one([command], None, None)
            else:
                self._besides = await self._completion(tag, command, None)

    async def _one_by_one(self, commands: Sequence[str], keep: Keep | None, ending: str | None) -> list[Answer]:
        answers: list[Answer] = []
        for command in commands:
            tag = self._tag()
            await self.connection.write(f"{tag} {command}\r\n".encode())
            answers.append(await self._completion(tag, command, keep))
        if ending is not None:
            self.ended = True
            await self.connection.write(f"{self._tag()} {ending}\r\n".encode())
        return answers

    async def authenticate(self, answers: Answers, job: Job, *, initial: bool) -> Answer:
        """AUTHENTICATE (RFC 3501 section 6.2.2; `initial` with SASL-IR, RFC 4959): one attempt."""
        text = shown = f"AUTHENTICATE {answers.mechanism.name}"
        first = logon.initial(answers, self._journal) if initial else None
        if first is not None:
            text, shown = f"{text} {first}", f"{shown} {hidden(first)}"
        tag = self._tag()
        items: list[Untagged] = []
        with self.connection.hiding(b"+"):
            await self.connection.write(f"{tag} {text}\r\n".encode(), shown=f"{tag} {shown}")
            while True:
                line = await self._line("AUTHENTICATE", items)
                if not line.startswith(b"+"):
                    return self._completed(line, tag, "AUTHENTICATE", items)
                challenge = text_of(line[1:]).strip()
                # `*` cancels; the server answers BAD, and the connection stays of use (RFC 3501 section 6.2.2).
                response = await logon.respond(answers, challenge, self.connection, self._journal, job)
                await self.connection.write(f"{response}\r\n".encode(), shown=hidden(response) if response != "*" else "*")

    async def login(self, credentials: Credentials) -> Answer:
        """LOGIN (RFC 3501 section 6.2.3), the arguments as literals where they need to be."""
        tag = self._tag()
        logon.masked(credentials.secret.encode(), self._journal, credentials.username)
        chunks = _chunks(f"{tag} LOGIN", credentials.username.encode(), credentials.secret.encode())
        items: list[Untagged] = []
        for index, chunk in enumerate(chunks):
            await self.connection.write(chunk, shown=f"{tag} LOGIN [{sum(map(len, chunks))} octets hidden]")
            line = await self._line("LOGIN", items)
            # Anything but `+` refuses the literal: nothing more of the password may be sent (RFC 3501 section 7.5).
            if index == len(chunks) - 1:
                return self._completed(line, tag, "LOGIN", items)
            if not line.startswith(b"+"):
                said = self._completed(line, tag, "LOGIN", items)
                text = f"LOGIN: the server takes no literal, which this user name or password needs: {said.status} {said.text}"
                raise stop("auth.mechanism-failed", text, f"{said.status} {said.text}")
        raise AssertionError("LOGIN has at least one chunk")

    def _tag(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"

    async def _completion(self, tag: str, command: str, keep: Keep | None) -> Answer:
        items: list[Untagged] = []
        verb = " ".join(command.split(" ")[:2])
        return self._completed(await self._line(verb, items, keep), tag, verb, items)

    async def _line(self, verb: str, items: list[Untagged], keep: Keep | None = None) -> bytes:
        """The next line that is no untagged response; those are collected in `items`.

        Servers may send them at any time, asked for or not (RFC 3501 section 2.2.2): under TLS none is a fault for being there.
        """
        for _ in range(MOST_UNTAGGED + 1):
            parts = await self._response_or_bye(verb, items)
            first = parts[0]
            if isinstance(first, bytes) and not first.startswith(b"* "):
                if not self._is_besides(first, items):
                    return first
                continue
            item = self._untagged(parts, verb)
            if keep is None or item.kind != "FETCH" or keep(item):
                self._keep(item, verb, items)
        raise stop("protocol.too-long", f"{verb}: more than {MOST_UNTAGGED} untagged responses")

    def _is_besides(self, line: bytes, items: list[Untagged]) -> bool:
        """Whether the line completes the SEARCH that went along: Dovecot answers it before the EXPUNGE that was sent before it."""
        tag, command = self._waiting or (None, "")
        found = tagged(line) if tag is not None else None
        if tag is None or found is None or found[0] != tag:
            return False
        self._waiting = None
        self._besides = self._completed(line, tag, command, [item for item in items if item.kind in _SEARCHED])
        items[:] = [item for item in items if item.kind not in _SEARCHED]
        return True

    def _keep(self, item: Untagged, verb: str, items: list[Untagged]) -> None:
        self._kept += item.octets
        if self._kept > MOST_KEPT:
            raise stop("protocol.too-long", f"{verb}: untagged responses of more than {MOST_KEPT // 2**20} MiB")
        items.append(item)

    async def _response_or_bye(self, verb: str, items: list[Untagged]) -> list[Part]:
        """A response; when the server ends the connection instead, its BYE says why, or an untagged BAD or NO (nginx)."""
        try:
            return await self._response(verb)
        except Stopped as error:
            _raise_bye(verb, items)
            if error.trouble.id == "connect.closed":
                _raise_bye(verb, items, "BAD", "NO")
            raise

    def _completed(self, line: bytes, tag: str, verb: str, items: list[Untagged]) -> Answer:
        found = tagged(line)
        if found is None or found[0] != tag:
            _raise_bye(verb, items)
            raise stop(
                "protocol.malformed",
                f"{verb}: not the answer to {tag}: {self._journal.brief(text_of(line), QUOTED)!r}",
                text_of(line),
            )
        return Answer(found[1], found[2], tuple(items), self._journal.now)

    def _untagged(self, parts: Sequence[Part], verb: str) -> Untagged:
        try:
            item = untagged(parts)
        except Malformed as error:
            raise stop("protocol.malformed", f"{verb}: {self._journal.brief(str(error), QUOTED)}", str(error)) from None
        if self._tls_wanted and not self.connection.is_tls and item.kind not in _BEFORE_TLS | {"PREAUTH"}:
            raise stop("protocol.unsolicited", f"{verb}: the server sent {item.kind} data before TLS", item.text)
        return item

    async def _response(self, verb: str) -> list[Part]:
        """One whole response: a line, and for each literal in it its octets and the line that goes on behind it."""
        parts: list[Part] = []
        total = 0
        while True:
            line = await filled_line(self.connection, verb)
            octets = self._announced(line, parts, verb)
            if octets is None:
                return [*parts, line]
            total += octets + len(line)
            if total > 4 * 1024 * 1024 or len(parts) > 1000:
                raise stop("protocol.too-long", f"{verb}: a response of more than 4 MiB")
            parts.append((line, await self.connection.read_exactly(octets, verb)))

    def _announced(self, line: bytes, before: Sequence[Part], verb: str) -> int | None:
        """The octets of the literal behind this line, or None. Raises Stopped where none may be, or none so large."""
        first = before[0][0] if before else line
        assert isinstance(first, bytes)
        most = most_of_literal(first)
        try:
            octets = literal_octets(line) if most is not None else None
        except Malformed as error:
            raise stop("protocol.too-long", f"{verb}: {error}") from None
        if octets is None or most is None:
            return None
        kind = self._untagged([first], verb).kind
        if not most:
            raise stop("protocol.malformed", f"{verb}: a literal in a {kind} response", text_of(line))
        if octets > most:
            raise stop("protocol.too-long", f"{verb}: a literal of {octets} octets in a {kind} response")
        return octets

    async def goodbye(self) -> None:
        """LOGOUT within a second, unless it was said; what comes back no longer matters."""
        if self.ended:
            return
        try:
            self.connection.hurry()
            await self.command("LOGOUT")
        except Stopped:
            pass

    async def close(self) -> None:
        """Close the connection, without waiting for the server."""
        await self.connection.close()


def _raise_bye(verb: str, items: Sequence[Untagged], *kinds: str) -> None:
    # A server that shuts down says BYE in place of the completion (RFC 3501 section 7.1.5); its words explain the end.
    said = next((item for item in items if item.kind in (kinds or ("BYE",))), None)
    if said is not None:
        how = "the server said good-bye" if said.kind == "BYE" else f"the server closed the connection after {said.kind}"
        raise stop("imap.unavailable", f"{verb}: {how}: {said.text}", said.text)


def _chunks(verb: str, *arguments: bytes) -> list[bytes]:
    """A command cut where a literal's continuation has to be waited for (RFC 3501 section 7.5)."""
    chunks = [verb.encode()]
    for argument in arguments:
        # 8-bit octets need a literal (RFC 3501 section 4.3), which waits for `+`: sent at once it needs LITERAL+ (RFC 7888).
        if all(32 <= octet < 127 for octet in argument):
            chunks[-1] += b' "' + argument.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        else:
            chunks[-1] += b" {%d}\r\n" % len(argument)
            chunks.append(argument)
    chunks[-1] += b"\r\n"
    return chunks
