"""IMAP4rev1 (RFC 3501) with UIDPLUS, SASL-IR, LITERAL+, IDLE, SPECIAL-USE, UNSELECT: as much as mail programs use."""

import asyncio
import base64
import re
import ssl
from collections.abc import Awaitable, Callable

from probe.sandbox.exchange import estimated_size, is_exchange, node_greeting, says
from probe.sandbox.imap_fetch import fetched, items_of, marks_seen, matches
from probe.sandbox.imap_parse import Argument, BadSyntax, numbers, parse, quoted, text_of, within
from probe.sandbox.login import OFFERED, Attempt, authenticate, certificate_name, decoded
from probe.sandbox.mailbox import Folder, Mailbox, StoredMessage, World
from probe.sandbox.stream import Closed, Lines

_LITERAL = re.compile(rb"\{(\d{1,9})(\+?)\}$")
_FLAGS = "\\Answered \\Flagged \\Deleted \\Seen \\Draft"
_UNSELECTED = {"CAPABILITY", "NOOP", "LOGOUT", "ID", "STARTTLS", "LOGIN", "AUTHENTICATE"}
_SELECTED = {"CLOSE", "UNSELECT", "EXPUNGE", "SEARCH", "FETCH", "STORE", "CHECK", "COPY"}


class Refused(Exception):
    """The command is answered NO with this text."""


class Imap:
    """One connection."""

    def __init__(self, world: World, context: ssl.SSLContext, lines: Lines) -> None:
        self.world, self.context, self.lines = world, context, lines
        self.mailbox: Mailbox | None = None
        self.folder: Folder | None = None
        self.read_only = False
        self.seen: list[StoredMessage] = []
        self.open = True

    # -- the loop ----------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Talk until the client leaves."""
        ours = is_exchange(self.world)
        text = node_greeting("IMAP4") if ours else "Sandbox ready."
        code = "" if ours else f"[CAPABILITY {self._capabilities()}] "
        try:
            await self._say(f"* OK {code}{text}")
            while self.open:
                await self._command()
        except Closed:
            pass

    async def _command(self) -> None:
        line = await self._whole_line()
        tag, _, rest = line.partition(b" ")
        name = tag.decode("ascii", "replace")
        try:
            words = parse(rest)
            if not words or not re.fullmatch(r"[A-Za-z0-9.]+", name):
                raise BadSyntax("a command is a tag and a verb")
            verb = text_of(words[0]).upper()
            uid = verb == "UID" and len(words) > 1
            if uid:
                verb, words = text_of(words[1]).upper(), words[1:]
            await self._carry_out(name, verb, words[1:], uid)
        except BadSyntax as error:
            await self._say(f"{name or '*'} BAD {error}")
        except Refused as error:
            await self._say(f"{name} NO {error}")

    async def _carry_out(self, tag: str, verb: str, words: list[Argument], uid: bool) -> None:
        method = _COMMANDS.get(verb)
        if method is None or (uid and verb not in ("FETCH", "STORE", "SEARCH", "EXPUNGE", "COPY")):
            raise BadSyntax(f"unknown command {verb}")
        if self.mailbox is None and verb not in _UNSELECTED:
            raise BadSyntax("log on first")
        if self.mailbox is not None and verb not in _UNSELECTED and (refusal := says(self.world, "imap SELECT")):
            raise BadSyntax(refusal)
        if self.folder is None and verb in _SELECTED:
            raise BadSyntax("select a mailbox first")
        await method(self, tag, words, uid)

    async def _whole_line(self) -> bytes:
        """A command with its literals, each behind its {n} and CRLF (RFC 3501 section 7.5, RFC 7888)."""
        line = await self.lines.line()
        whole = line
        while found := _LITERAL.search(line):
            if not found.group(2):
                await self._say("+ go on")
            literal = await self.lines.exactly(int(found.group(1)))
            line = await self.lines.line()
            whole += b"\r\n" + literal + line
        return whole

    async def _say(self, text: str) -> None:
        await self.lines.send(text.encode("utf-8", "replace") + b"\r\n")

    async def _ok(self, tag: str, text: str) -> None:
        await self._say(f"{tag} OK {text}")

    # -- any state -----------------------------------------------------------------------------------------------

    def _capabilities(self) -> str:
        words = ["IMAP4rev1", "SASL-IR", "LITERAL+", "IDLE", "ID", "NAMESPACE", "UNSELECT", "SPECIAL-USE"]
        words += ["UIDPLUS"] if self.world.fault != "no-uidplus" else []
        words += [f"AUTH={name}" for name in self.world.mechanisms or OFFERED] if self.lines.tls else ["STARTTLS", "LOGINDISABLED"]
        return " ".join(words)

    async def _capability(self, tag: str, words: list[Argument], uid: bool) -> None:
        await self._say(f"* CAPABILITY {self._capabilities()}")
        await self._ok(tag, "done")

    async def _noop(self, tag: str, words: list[Argument], uid: bool) -> None:
        await self._news()
        await self._ok(tag, "done")

    async def _id(self, tag: str, words: list[Argument], uid: bool) -> None:
        await self._say('* ID ("name" "sandbox")')
        await self._ok(tag, "done")

    async def _logout(self, tag: str, words: list[Argument], uid: bool) -> None:
        self.open = False
        await self._say("* BYE logging out")
        await self._ok(tag, "bye")

    async def _starttls(self, tag: str, words: list[Argument], uid: bool) -> None:
        if self.lines.tls:
            raise BadSyntax("TLS is on")
        await self._ok(tag, "begin TLS")
        await self.lines.start_tls(self.context)

    # -- logon -----------------------------------------------------------------------------------------------------

    async def _login(self, tag: str, words: list[Argument], uid: bool) -> None:
        if not self.lines.tls:
            raise Refused("[PRIVACYREQUIRED] TLS first")
        user, secret = _texts(words, 2)
        ok = self.world.check("imap", user, secret, tls=True)
        await asyncio.sleep(0 if ok else self.world.tarpit)
        self._enter(user if ok else None)
        await self._ok(tag, f"[CAPABILITY {self._capabilities()}] logged on")

    async def _authenticate(self, tag: str, words: list[Argument], uid: bool) -> None:
        if not self.lines.tls:
            raise Refused("[PRIVACYREQUIRED] TLS first")
        mechanism, *rest = _texts(words, None)
        if mechanism.upper() not in (self.world.mechanisms or OFFERED):
            raise Refused("[CANNOT] no such mechanism")
        initial = decoded(rest[0]) if rest else None
        attempt = Attempt(self.world, "imap", initial, self._ask, True, certificate_name(self.lines.ssl_object))
        self._enter(await authenticate(mechanism.upper(), attempt))
        await self._ok(tag, f"[CAPABILITY {self._capabilities()}] logged on")

    async def _ask(self, challenge: bytes) -> bytes | None:
        await self._say(f"+ {base64.b64encode(challenge).decode()}")
        return decoded((await self.lines.line()).decode("ascii", "replace"))

    def _enter(self, user: str | None) -> None:
        if refusal := says(self.world, "imap LOGIN"):
            raise Refused(refusal)
        if user is None:
            raise Refused("LOGIN failed." if is_exchange(self.world) else "[AUTHENTICATIONFAILED] logon refused")
        self.mailbox = self.world.mailbox(user)

    # -- folders ---------------------------------------------------------------------------------------------------

    def _named(self, name: str) -> Folder:
        found = self.mailbox.folder(name) if self.mailbox else None
        if found is None:
            raise Refused(f"[NONEXISTENT] no mailbox {name}")
        return found

    async def _select(self, tag: str, words: list[Argument], uid: bool) -> None:
        await self._open(tag, words, read_only=False)

    async def _examine(self, tag: str, words: list[Argument], uid: bool) -> None:
        await self._open(tag, words, read_only=True)

    async def _open(self, tag: str, words: list[Argument], *, read_only: bool) -> None:
        (name,) = _texts(words, 1)
        self.folder = None
        folder = self._named(name)
        self.folder, self.read_only, self.seen = folder, read_only, list(folder.messages)
        for text in (
            f"FLAGS ({_FLAGS})",
            f"{len(self.seen)} EXISTS",
            "0 RECENT",
            f"OK [PERMANENTFLAGS ({'' if read_only else _FLAGS})] flags",
            f"OK [UIDVALIDITY {folder.uid_validity}] valid",
            f"OK [UIDNEXT {folder.uid_next}] next",
        ):
            await self._say(f"* {text}")
        await self._ok(tag, f"[{'READ-ONLY' if read_only else 'READ-WRITE'}] selected")

    async def _status(self, tag: str, words: list[Argument], uid: bool) -> None:
        if len(words) != 2 or not isinstance(words[1], list):
            raise BadSyntax("STATUS mailbox (items)")
        folder = self._named(text_of(words[0]))
        known = {
            "MESSAGES": len(folder.messages),
            "UIDNEXT": folder.uid_next,
            "UIDVALIDITY": folder.uid_validity,
            "UNSEEN": sum("\\Seen" not in message.flags for message in folder.messages),
            "RECENT": 0,
        }
        items = [text_of(item).upper() for item in words[1]]
        shown = " ".join(f"{item} {known[item]}" for item in items if item in known)
        await self._say(f"* STATUS {quoted(folder.name)} ({shown})")
        await self._ok(tag, "done")

    async def _list(self, tag: str, words: list[Argument], uid: bool) -> None:
        for name in self.mailbox.folders if self.mailbox else ():
            use = " \\Junk" if name == "Junk" else ""
            await self._say(f'* LIST (\\HasNoChildren{use}) "/" {quoted(name)}')
        await self._ok(tag, "done")

    async def _namespace(self, tag: str, words: list[Argument], uid: bool) -> None:
        await self._say('* NAMESPACE (("" "/")) NIL NIL')
        await self._ok(tag, "done")

    async def _append(self, tag: str, words: list[Argument], uid: bool) -> None:
        if len(words) < 2 or not isinstance(words[-1], bytes):
            raise BadSyntax("APPEND mailbox [flags] [date] literal")
        folder = self._named(text_of(words[0]))
        flags = {text_of(flag) for item in words[1:-1] if isinstance(item, list) for flag in item}
        message = folder.add(words[-1], flags)
        await self._news()
        await self._ok(tag, f"[APPENDUID {folder.uid_validity} {message.uid}] done")

    async def _unselect(self, tag: str, words: list[Argument], uid: bool) -> None:
        self.folder = None
        await self._ok(tag, "done")

    async def _close(self, tag: str, words: list[Argument], uid: bool) -> None:
        if self.folder is not None and not self.read_only:
            self._remove(lambda message: "\\Deleted" in message.flags)
        self.folder = None
        await self._ok(tag, "done")

    # -- messages --------------------------------------------------------------------------------------------------

    async def _news(self) -> None:
        """Say what changed since the client last heard of the folder."""
        if self.folder is None:
            return
        await self._tell_expunged()
        fresh = [message for message in self.folder.messages if message not in self.seen]
        if fresh:
            self.seen += fresh
            await self._say(f"* {len(self.seen)} EXISTS")

    async def _tell_expunged(self) -> None:
        kept = self.folder.messages if self.folder else []
        for index in range(len(self.seen) - 1, -1, -1):
            if self.seen[index] not in kept:
                del self.seen[index]
                await self._say(f"* {index + 1} EXPUNGE")

    def _chosen(self, text: str, uid: bool) -> list[tuple[int, StoredMessage]]:
        greatest = (self.seen[-1].uid if uid else len(self.seen)) if self.seen else 0
        ranges = numbers(text, greatest)
        numbered = enumerate(self.seen, 1)
        return [(number, message) for number, message in numbered if within(message.uid if uid else number, ranges)]

    async def _fetch(self, tag: str, words: list[Argument], uid: bool) -> None:
        if len(words) != 2:
            raise BadSyntax("FETCH set items")
        items = items_of(words[1])
        if uid and "UID" not in [item.upper() for item in items]:
            items = ["UID", *items]
        for number, message in self._chosen(text_of(words[0]), uid):
            if not self.read_only and any(map(marks_seen, items)):
                message.flags.add("\\Seen")
            values = b" ".join(fetched(message, item, self._size(message)) for item in items)
            await self.lines.send(b"* %d FETCH (" % number + values + b")\r\n")
        await self._ok(tag, "done")

    def _size(self, message: StoredMessage) -> int:
        return estimated_size(message.raw) if is_exchange(self.world) else len(message.raw)

    async def _store(self, tag: str, words: list[Argument], uid: bool) -> None:
        if len(words) != 3:
            raise BadSyntax("STORE set action flags")
        if self.read_only:
            raise Refused("the mailbox is read-only")
        action = text_of(words[1]).upper()
        given = {text_of(flag) for flag in (words[2] if isinstance(words[2], list) else [words[2]])}
        if action.removesuffix(".SILENT") not in ("FLAGS", "+FLAGS", "-FLAGS"):
            raise BadSyntax(f"no such action: {action}")
        for number, message in self._chosen(text_of(words[0]), uid):
            if action.startswith("+"):
                message.flags |= given
            elif action.startswith("-"):
                message.flags -= given
            else:
                message.flags = set(given)
            if not action.endswith(".SILENT"):
                also = f"UID {message.uid} " if uid else ""
                await self._say(f"* {number} FETCH ({also}FLAGS ({' '.join(sorted(message.flags))}))")
        await self._ok(tag, "done")

    async def _search(self, tag: str, words: list[Argument], uid: bool) -> None:
        if words and text_of(words[0]).upper() == "CHARSET":
            if is_exchange(self.world):
                raise Refused("[BADCHARSET (US-ASCII)] The specified charset is not supported.")
            words = words[2:]
        if not words:
            raise BadSyntax("SEARCH needs a key")
        greatest = (len(self.seen), self.seen[-1].uid if self.seen else 0)
        numbered = enumerate(self.seen, 1)
        hits = [message.uid if uid else number for number, message in numbered if matches(message, number, words, greatest)]
        await self._say(" ".join(["* SEARCH", *map(str, hits)]))
        await self._ok(tag, "done")

    async def _expunge(self, tag: str, words: list[Argument], uid: bool) -> None:
        if self.read_only:
            raise Refused("the mailbox is read-only")
        if uid and self.world.fault == "no-uidplus":
            raise BadSyntax("unknown command UID EXPUNGE")
        chosen = [message for _, message in self._chosen(_texts(words, 1)[0], uid=True)] if uid else self.seen
        self._remove(lambda message: "\\Deleted" in message.flags and message in chosen)
        await self._tell_expunged()
        await self._ok(tag, "done")

    def _remove(self, doomed: Callable[[StoredMessage], bool]) -> None:
        if self.folder is not None:
            self.folder.messages = [message for message in self.folder.messages if not doomed(message)]

    async def _idle(self, tag: str, words: list[Argument], uid: bool) -> None:
        """IDLE (RFC 2177): news as they come, until the client says DONE."""
        await self._say("+ idling")
        incoming = asyncio.ensure_future(self.lines.wait_for_input())
        try:
            while not incoming.done():
                changed = self.mailbox.changed if self.mailbox else asyncio.Event()
                changed.clear()
                await self._news()
                event = asyncio.ensure_future(changed.wait())
                await asyncio.wait({incoming, event}, return_when=asyncio.FIRST_COMPLETED)
                event.cancel()
            await incoming
        finally:
            incoming.cancel()
        if (await self.lines.line()).upper() != b"DONE":
            raise BadSyntax("IDLE ends with DONE")
        await self._ok(tag, "done")


def _texts(words: list[Argument], count: int | None) -> list[str]:
    if (count is not None and len(words) != count) or not words:
        raise BadSyntax("wrong number of arguments")
    return [text_of(word) for word in words]


_COMMANDS: dict[str, Callable[[Imap, str, list[Argument], bool], Awaitable[None]]] = {
    "CAPABILITY": Imap._capability,
    "NOOP": Imap._noop,
    "CHECK": Imap._noop,
    "ID": Imap._id,
    "LOGOUT": Imap._logout,
    "STARTTLS": Imap._starttls,
    "LOGIN": Imap._login,
    "AUTHENTICATE": Imap._authenticate,
    "SELECT": Imap._select,
    "EXAMINE": Imap._examine,
    "STATUS": Imap._status,
    "LIST": Imap._list,
    "NAMESPACE": Imap._namespace,
    "APPEND": Imap._append,
    "UNSELECT": Imap._unselect,
    "CLOSE": Imap._close,
    "FETCH": Imap._fetch,
    "STORE": Imap._store,
    "SEARCH": Imap._search,
    "EXPUNGE": Imap._expunge,
    "IDLE": Imap._idle,
}
