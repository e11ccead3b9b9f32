"""The scripted server: in front of a healthy sandbox, ending TLS itself, departing from health where the story says so."""

import asyncio
import base64
import re
import socket
import ssl
import struct
from collections.abc import Callable

from probe.sandbox import Sandbox
from tests.hostile.story import Play

DRIP_SECONDS = 0.2

GREETING = {
    "smtp": "220 mail.hostile.test ESMTP",
    "imap": "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready",
    "pop3": "+OK ready",
}
CAPABILITIES = {
    "smtp": ["250-mail.hostile.test", "250-PIPELINING", "250-SIZE 1000000", "250-STARTTLS", "250 8BITMIME"],
    "imap": ["* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED", "{tag} OK done"],
    "pop3": ["+OK", "USER", "STLS", "PIPELINING", "."],
}
GO_AHEAD = {"smtp": "220 go ahead", "imap": "{tag} OK go ahead", "pop3": "+OK go ahead"}
GOODBYE = {"smtp": "221 bye", "imap": "* BYE bye", "pop3": "+OK bye"}
BACKEND = {"smtp": "submissions", "imap": "imaps", "pop3": "pop3s"}
COMPLETION = {
    "smtp": re.compile(rb"\d{3} "),
    "imap": re.compile(rb"[A-Z]{4}\d+ (OK|NO|BAD)|\+ "),
    "pop3": re.compile(rb"\+OK|-ERR|\+ "),
}
UPGRADE = {"smtp": "STARTTLS", "imap": "STARTTLS", "pop3": "STLS"}
CAPABILITY = {"smtp": ("EHLO", "ehlo"), "imap": ("CAPABILITY", "capability"), "pop3": ("CAPA", "capa")}


class Done(Exception):
    """This connection's story has ended."""


class HostileServer:
    """Plays one Play on one port. `clear` is everything that came before TLS, `received` everything."""

    def __init__(self, play: Play, sandbox: Sandbox, context: ssl.SSLContext, change: Callable[[bytes], bytes]) -> None:
        self.play, self.sandbox, self.context, self.change = play, sandbox, context, change
        self.clear, self.received = bytearray(), bytearray()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "HostileServer":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = _Conversation(self, reader, writer)
        try:
            await conversation.run()
        except (Done, OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            conversation.close()


class _Conversation:
    """One connection: in clear by the tables above, after TLS by the sandbox, except where a step is scripted."""

    def __init__(self, server: HostileServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.play, self.protocol = server, server.play, server.play.protocol
        self.reader, self.writer = reader, writer
        self.backend: asyncio.StreamWriter | None = None
        self.pump: asyncio.Task[None] | None = None
        self.tls = False
        self.tag = "*"
        self.message = b""
        self.line = b""
        self.pending = 0
        self.answered = asyncio.Event()
        self.answered.set()

    def close(self) -> None:
        if self.pump:
            self.pump.cancel()
        if self.backend:
            self.backend.close()
        self.writer.close()

    async def run(self) -> None:
        if "implicit" in self.play.settings:
            await self._handshake()
            await self._connect_backend(greet=True)
        else:
            await self._step("greeting", lambda: self._say([GREETING[self.protocol]]))
        while line := await self.reader.readline():
            self._note(line)
            await self._command(line)

    def _note(self, line: bytes) -> None:
        self.server.received += line
        if not self.tls:
            self.server.clear += line

    async def _command(self, line: bytes) -> None:
        self.line = line
        words = line.decode("utf-8", "replace").split()
        if self.protocol == "imap" and words:
            self.tag, words = words[0], words[1:]
        verb = words[0].upper() if words else ""
        if self.tls:
            await self._after_tls(verb, words, line)
        elif verb == UPGRADE[self.protocol]:
            await self._step(verb.lower(), lambda: self._say([GO_AHEAD[self.protocol]]))
            await self._handshake()
            await self._connect_backend(greet=False)
        elif verb == CAPABILITY[self.protocol][0]:
            await self._step(CAPABILITY[self.protocol][1], lambda: self._say(CAPABILITIES[self.protocol]))
        elif verb in ("QUIT", "LOGOUT"):
            await self._say([GOODBYE[self.protocol]])
            raise Done
        else:
            await self._say([{"smtp": "530 no", "imap": "{tag} NO no", "pop3": "-ERR no"}[self.protocol]])

    async def _after_tls(self, verb: str, words: list[str], line: bytes) -> None:
        name = verb.lower()
        if name == "uid" and len(words) > 1:
            name = words[1].lower()
        name = {"ehlo": "ehlo-tls", "capability": "capability-tls", "capa": "capa-tls", "authenticate": "auth"}.get(name, name)
        if name == "bdat":
            await self._chunk(words)
            return
        await self._step(name, lambda: self._forward(line))
        if name == "data" and "data" not in self.play.steps:
            await self._message()

    async def _chunk(self, words: list[str]) -> None:
        """The message behind BDAT (RFC 3030): as many octets as it says, which are read whatever the answer is."""
        raw = await self.reader.readexactly(int(words[1]))
        self.message = changed = self.server.change(raw)
        await self._step("bdat", lambda: self._forward(b"BDAT %d LAST\r\n%s" % (len(changed), changed)))

    async def _message(self) -> None:
        """The message behind DATA: changed as the story says, then on to the sandbox."""
        raw = b""
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise Done
            raw += line
        self.message = self.server.change(raw)
        await self._step("message", lambda: self._forward(self.server.change(raw) + b".\r\n"))

    async def _step(self, name: str, healthy: Callable[[], "asyncio.Future[None] | object"]) -> None:
        """Do what the story says at this step, or what a healthy server does."""
        script = self.play.steps.get(name)
        if script is None:
            await healthy()  # type: ignore[misc]
            return
        # A server answers pipelined commands in order: what was passed on is answered first.
        await self.answered.wait()
        for line in script:
            if line.startswith("! "):
                await self._act(*line[2:].partition(" ")[::2], healthy)
            else:
                await self._say([line])

    async def _say(self, lines: list[str]) -> None:
        await self._send("".join(f"{line.replace('{tag}', self.tag)}\r\n" for line in lines).encode())

    async def _send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def _forward(self, data: bytes) -> None:
        if self.backend is None:
            raise Done
        self.pending += 1
        self.answered.clear()
        self.backend.write(data)
        await self.backend.drain()

    async def _act(self, action: str, argument: str, healthy: Callable[[], object]) -> None:
        if action == "healthy":
            await healthy()  # type: ignore[misc]
            await self.answered.wait()
        elif action == "raw":
            await self._send(argument.encode().decode("unicode_escape").encode("latin-1"))
        elif action == "inject":
            await self._send(f"{self.tag} OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n".encode())
        elif action == "skip-uid-range":
            # Nothing is found by a range that begins at a UID noted before; a FETCH of what SEARCH gave is answered.
            if b":4294967295" in self.line:
                await self._send(f"{self.tag} OK done\r\n".encode())
            else:
                await healthy()  # type: ignore[misc]
        elif action == "deliver":
            self.server.sandbox._world.deliver(self.server.sandbox.username, self.message)
        elif action == "brackets":
            await self._send(b"* 1 FETCH " + b"(" * 60_000 + b"\r\n")
        elif action == "secret":
            await self._say([argument.replace("{secret}", self.server.sandbox.password)])
        elif action == "secret64":
            blob = base64.b64encode(f"\0{self.server.sandbox.username}\0{self.server.sandbox.password}".encode()).decode()
            await self._say([argument.replace("{secret}", blob)])
        else:
            await self._break(action, argument)

    async def _break(self, action: str, argument: str) -> None:
        if action == "silence":
            await asyncio.Event().wait()
        elif action == "flood":
            count, _, text = argument.partition(" ")
            for _ in range(int(count) // 65536):
                await self._send(text.encode() * (65536 // len(text)))
            await asyncio.Event().wait()
        elif action == "lines":
            count, _, text = argument.partition(" ")
            block = f"{text.replace('{tag}', self.tag)}\r\n".encode() * 100
            for _ in range(int(count) // 100):
                await self._send(block)
        elif action == "drip":
            while True:
                for octet in argument.encode():
                    await self._send(bytes([octet]))
                    await asyncio.sleep(DRIP_SECONDS)
        elif action == "plaintext":
            self.tls = True
            await asyncio.Event().wait()
        elif action == "garbage":
            await self._send(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)
            await asyncio.Event().wait()
        elif action == "reset":
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
            raise Done
        elif action == "half-close":
            self.writer.write_eof()
            await asyncio.Event().wait()
        elif action == "close":
            raise Done
        else:
            raise AssertionError(f"{self.play}: no action {action}")

    async def _handshake(self) -> None:
        await self._step("tls", self._tls)

    async def _tls(self) -> None:
        await self.writer.start_tls(self.server.context)
        self.tls = True

    async def _connect_backend(self, *, greet: bool) -> None:
        """The healthy server behind, over TLS; its greeting is passed on only where the client has had none."""
        address = self.server.sandbox.addresses[BACKEND[self.protocol]]
        trust = ssl.create_default_context(cafile=str(self.server.sandbox.ca_file))
        trust.check_hostname = False
        reader, self.backend = await asyncio.open_connection(address.host, address.port, ssl=trust)
        greeting = await reader.readline()
        if self.protocol == "smtp":
            # So that a scripted EHLO need not be passed on.
            self.backend.write(b"EHLO proxy.hostile.test\r\n")
            while not (await reader.readline()).startswith(b"250 "):
                pass
        if greet:
            await self._step("greeting", lambda: self._send(greeting))
        self.pump = asyncio.get_running_loop().create_task(self._back(reader))

    async def _back(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            await self._send(line)
            if self.pending and COMPLETION[self.protocol].match(line):
                self.pending -= 1
                if not self.pending:
                    self.answered.set()
        self.answered.set()
        self.writer.close()


def message_changes() -> dict[str, Callable[[bytes], bytes]]:
    """How a message may be changed on its way, by name."""

    def split(raw: bytes) -> tuple[bytes, bytes]:
        head, _, body = raw.partition(b"\r\n\r\n")
        return head, body

    def encoded(raw: bytes) -> bytes:
        head, body = split(raw)
        head = head.replace(b"Transfer-Encoding: 7bit", b"Transfer-Encoding: base64")
        # What DATA carries is dot-stuffed; a gateway takes that off before it encodes.
        return head + b"\r\n\r\n" + base64.encodebytes(body.replace(b"\r\n..", b"\r\n.")).replace(b"\n", b"\r\n")

    def reordered(raw: bytes) -> bytes:
        head, body = split(raw)
        fields = re.split(rb"\r\n(?![ \t])", head)
        return b"\r\n".join(reversed(fields)) + b"\r\n\r\n" + body

    def stripped(raw: bytes) -> bytes:
        head, body = split(raw)
        fields = [field for field in re.split(rb"\r\n(?![ \t])", head) if not field.startswith(b"X-")]
        return b"\r\n".join(fields) + b"\r\n\r\n" + body

    def forged(raw: bytes) -> bytes:
        return re.sub(rb"[0-9a-f]{64}", b"0" * 64, raw)

    return {
        "": lambda raw: raw,
        "footer": lambda raw: raw + b"-- \r\nConfidential.\r\n",
        "subject": lambda raw: raw.replace(b"Subject: ", b"Subject: [EXTERNAL] "),
        "base64": encoded,
        "reorder": reordered,
        "message-id": lambda raw: raw.replace(b"Message-ID: <", b"Message-ID: <other."),
        "strip": stripped,
        "truncate": lambda raw: raw[: raw.find(b"Marker:")],
        "forge": forged,
        "clock": lambda raw: b"Received: by ahead.test; Fri, 01 Jan 2100 00:00:00 +0000\r\n" + raw,
    }
