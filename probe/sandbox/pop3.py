"""POP3 (RFC 1939, 2449, 2595, 5034): the maildrop is a snapshot taken at logon."""

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
from collections.abc import Awaitable, Callable

from probe.sandbox.exchange import estimated_size, is_exchange, node_greeting, says
from probe.sandbox.login import OFFERED, Attempt, authenticate, certificate_name, decoded
from probe.sandbox.mailbox import Mailbox, StoredMessage, World
from probe.sandbox.stream import Closed, Lines

_ANY_STATE = {"CAPA", "QUIT", "NOOP"}
_BEFORE_LOGON = {"STLS", "USER", "PASS", "APOP", "AUTH"}


class Pop3:
    """One connection."""

    def __init__(self, world: World, context: ssl.SSLContext, lines: Lines) -> None:
        self.world, self.context, self.lines = world, context, lines
        self.stamp = f"<{secrets.token_hex(8)}@{world.fqdn}>"
        self.user: str | None = None
        self.mailbox: Mailbox | None = None
        self.maildrop: list[StoredMessage] = []
        self.deleted: set[int] = set()
        self.open = True

    async def serve(self) -> None:
        """Talk until the client leaves."""
        greeting = node_greeting("POP3") if is_exchange(self.world) else f"Sandbox ready {self.stamp}"
        try:
            await self._ok(greeting)
            while self.open:
                await self._command((await self.lines.line()).decode("utf-8", "replace"))
        except Closed:
            pass
        finally:
            if self.mailbox is not None:
                self.mailbox.pop3_open = False

    async def _command(self, line: str) -> None:
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        method = _COMMANDS.get(verb)
        allowed = verb in _ANY_STATE or (verb in _BEFORE_LOGON) == (self.mailbox is None)
        if method is None:
            await self._err("unknown command")
        elif not allowed:
            await self._err(f"{verb} is not allowed now")
        else:
            await method(self, argument)

    async def _ok(self, text: str = "") -> None:
        await self.lines.send(f"+OK {text}".rstrip().encode() + b"\r\n")

    async def _err(self, text: str) -> None:
        await self.lines.send(f"-ERR {text}\r\n".encode())

    # -- any state ---------------------------------------------------------------------------------------------

    async def _capa(self, _: str) -> None:
        tags = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE"]
        tags += ["PIPELINING"] if self.world.fault != "no-pipelining" else []
        tags += ["USER", f"SASL {' '.join(self.world.mechanisms or OFFERED)}"] if self.lines.tls else ["STLS"]
        await self.lines.send(b"+OK\r\n" + "".join(f"{tag}\r\n" for tag in tags).encode() + b".\r\n")

    async def _noop(self, _: str) -> None:
        await self._ok()

    async def _quit(self, _: str) -> None:
        if self.mailbox is not None:
            doomed = [self.maildrop[index] for index in self.deleted]
            inbox = self.mailbox.folders["INBOX"]
            inbox.messages = [message for message in inbox.messages if message not in doomed]
        self.open = False
        await self._ok("bye")

    # -- logon -------------------------------------------------------------------------------------------------

    async def _stls(self, _: str) -> None:
        if self.lines.tls:
            await self._err("TLS is on")
            return
        await self._ok("begin TLS")
        await self.lines.start_tls(self.context)

    async def _user(self, argument: str) -> None:
        if not self.lines.tls:
            await self._err("[AUTH] TLS first")
            return
        self.user = argument
        await self._ok()

    async def _pass(self, argument: str) -> None:
        if self.user is None:
            await self._err("USER first")
            return
        user, self.user = self.user, None
        ok = self.world.check("pop3", user, argument, tls=self.lines.tls)
        await asyncio.sleep(0 if ok else self.world.tarpit)
        await self._enter(user if ok else None)

    async def _apop(self, argument: str) -> None:
        user, _, digest = argument.partition(" ")
        known = self.world.accounts.get(user, "")
        expected = hashlib.md5((self.stamp + known).encode(), usedforsecurity=False).hexdigest()
        right = bool(known) and hmac.compare_digest(digest, expected)
        await self._enter(user if self.world.check("pop3", user, known if right else "", tls=self.lines.tls) else None)

    async def _auth(self, argument: str) -> None:
        words = argument.split(" ")
        mechanism = words[0].upper()
        if not self.lines.tls or mechanism not in (self.world.mechanisms or OFFERED):
            await self._err("[AUTH] mechanism not available")
            return
        initial = decoded(words[1]) if len(words) > 1 else None
        attempt = Attempt(self.world, "pop3", initial, self._ask, True, certificate_name(self.lines.ssl_object))
        await self._enter(await authenticate(mechanism, attempt))

    async def _ask(self, challenge: bytes) -> bytes | None:
        await self.lines.send(b"+ " + base64.b64encode(challenge) + b"\r\n")
        return decoded((await self.lines.line()).decode("ascii", "replace"))

    async def _enter(self, user: str | None) -> None:
        refusal = says(self.world, "pop3 PASS")
        if user is None or refusal:
            exchange = "Logon failure: unknown user name or bad password."
            await self._err(refusal or (exchange if is_exchange(self.world) else "[AUTH] logon refused"))
            return
        mailbox = self.world.mailbox(user)
        if mailbox.pop3_open or self.world.fault == "in-use":
            await self._err("[IN-USE] the maildrop is open in another session")
            return
        mailbox.pop3_open = True
        self.mailbox, self.maildrop = mailbox, list(mailbox.folders["INBOX"].messages)
        if is_exchange(self.world):
            # MessageRetrievalSortOrder Descending: the newest is number 1.
            self.maildrop.reverse()
        await self._ok("logged on")

    # -- transaction -------------------------------------------------------------------------------------------

    def _number(self, text: str) -> int | None:
        """The index of a message that is there and not deleted."""
        index = int(text) - 1 if text.isascii() and text.isdigit() and len(text) < 8 else -1
        return index if 0 <= index < len(self.maildrop) and index not in self.deleted else None

    def _kept(self) -> list[int]:
        return [index for index in range(len(self.maildrop)) if index not in self.deleted]

    def _size(self, message: StoredMessage) -> int:
        return estimated_size(message.raw) if is_exchange(self.world) else len(message.raw)

    async def _stat(self, _: str) -> None:
        kept = self._kept()
        await self._ok(f"{len(kept)} {sum(self._size(self.maildrop[index]) for index in kept)}")

    async def _list(self, argument: str) -> None:
        await self._listing(argument, lambda message: str(self._size(message)))

    async def _uidl(self, argument: str) -> None:
        await self._listing(argument, lambda message: f"uid{message.uid}")

    async def _listing(self, argument: str, tell: Callable[[StoredMessage], str]) -> None:
        if argument:
            index = self._number(argument)
            if index is None:
                await self._err("no such message")
            else:
                await self._ok(f"{index + 1} {tell(self.maildrop[index])}")
            return
        rows = "".join(f"{index + 1} {tell(self.maildrop[index])}\r\n" for index in self._kept())
        await self.lines.send(b"+OK\r\n" + rows.encode() + b".\r\n")

    async def _retr(self, argument: str) -> None:
        index = self._number(argument)
        if index is None:
            await self._err("no such message")
        else:
            await self._message(self.maildrop[index].raw.removesuffix(b"\r\n").split(b"\r\n"))

    async def _top(self, argument: str) -> None:
        words = argument.split()
        index = self._number(words[0]) if len(words) == 2 and words[1].isdigit() else None
        if index is None:
            await self._err("no such message")
            return
        head, _, body = self.maildrop[index].raw.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        await self._message([*head.split(b"\r\n"), b"", *body.split(b"\r\n")[: int(words[1])]])

    async def _message(self, lines: list[bytes]) -> None:
        """Lines dot-stuffed (RFC 1939 section 3)."""
        stuffed = [b"." + line if line.startswith(b".") else line for line in lines]
        await self.lines.send(b"+OK message follows\r\n" + b"".join(line + b"\r\n" for line in stuffed) + b".\r\n")

    async def _dele(self, argument: str) -> None:
        index = self._number(argument)
        if index is None:
            await self._err("no such message")
        else:
            self.deleted.add(index)
            await self._ok("marked")

    async def _rset(self, _: str) -> None:
        self.deleted.clear()
        await self._ok()


_COMMANDS: dict[str, Callable[[Pop3, str], Awaitable[None]]] = {
    "CAPA": Pop3._capa,
    "NOOP": Pop3._noop,
    "QUIT": Pop3._quit,
    "STLS": Pop3._stls,
    "USER": Pop3._user,
    "PASS": Pop3._pass,
    "APOP": Pop3._apop,
    "AUTH": Pop3._auth,
    "STAT": Pop3._stat,
    "LIST": Pop3._list,
    "UIDL": Pop3._uidl,
    "RETR": Pop3._retr,
    "TOP": Pop3._top,
    "DELE": Pop3._dele,
    "RSET": Pop3._rset,
}
