"""Mailboxes in memory, and who may open them."""

import asyncio
import hmac
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

_NUMBERS = itertools.count(1)


@dataclass
class StoredMessage:
    """A message as delivered: CRLF line ends, its UID in the folder, flags as IMAP4 spells them."""

    uid: int
    raw: bytes
    flags: set[str] = field(default_factory=set)
    received: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class Folder:
    """A folder; UIDs are never given twice (RFC 3501 section 2.3.1.1)."""

    name: str
    uid_validity: int = field(default_factory=lambda: 1_700_000_000 + next(_NUMBERS))
    uid_next: int = 1
    messages: list[StoredMessage] = field(default_factory=list)

    def add(self, raw: bytes, flags: set[str] | None = None) -> StoredMessage:
        message = StoredMessage(self.uid_next, raw, flags or set())
        self.uid_next += 1
        self.messages.append(message)
        return message


@dataclass
class Mailbox:
    """One user's folders. `pop3_open` is the lock that RFC 1939 wants for a maildrop."""

    folders: dict[str, Folder] = field(default_factory=lambda: {name: Folder(name) for name in ("INBOX", "Junk")})
    pop3_open: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def folder(self, name: str) -> Folder | None:
        return self.folders.get("INBOX" if name.upper() == "INBOX" else name)


@dataclass(frozen=True)
class Logon:
    """One attempted logon, for tests to count."""

    protocol: str
    user: str
    ok: bool
    tls: bool


@dataclass
class World:
    """What all three protocols share: settings, accounts, mailboxes, and every logon that was tried."""

    fqdn: str
    personality: str
    fault: str | None
    accounts: dict[str, str]
    # Mechanisms offered after TLS; None means the personality's own list.
    mechanisms: tuple[str, ...] | None = None
    # Bearer tokens by user; the tls-server-end-point binding of our certificate; pyspnego's password file.
    tokens: dict[str, str] = field(default_factory=dict)
    binding: bytes = b""
    ntlm_file: Path = Path()
    # How long a failed logon is held back, in seconds (Exchange: TarpitInterval, 5).
    tarpit: float = 0.0
    # Whether the personality `postfix` offers CHUNKING.
    chunking: bool = False
    mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    logons: list[Logon] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    accepted: asyncio.Event = field(default_factory=asyncio.Event)

    def mailbox(self, user: str) -> Mailbox:
        return self.mailboxes.setdefault(user, Mailbox())

    def check(self, protocol: str, user: str, secret: str, *, tls: bool) -> bool:
        """Whether user and password belong together; the attempt is noted."""
        known = self.accounts.get(user, "")
        # Microsoft: the Administrator mailbox cannot be opened over POP3 and IMAP4.
        shut = self.personality == "exchange-2016" and protocol != "smtp" and user.lower().startswith("administrator@")
        ok = self.fault != "wrong-password" and not shut and bool(known) and hmac.compare_digest(known.encode(), secret.encode())
        self.logons.append(Logon(protocol, user, ok, tls))
        return ok

    def deliver(self, recipient: str, raw: bytes) -> None:
        """Put a message where it belongs, as the fault says; `accepted` is set, for tests to wait for."""
        self.accepted.set()
        if self.fault == "never-delivers":
            return
        if self.fault == "late":
            task = asyncio.get_running_loop().create_task(self._later(recipient, raw))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            return
        for _ in range(2 if self.fault == "twice" else 1):
            self._put(recipient, raw)

    async def _later(self, recipient: str, raw: bytes) -> None:
        await asyncio.sleep(3)
        self._put(recipient, raw)

    def _put(self, recipient: str, raw: bytes) -> None:
        mailbox = self.mailbox(recipient)
        mailbox.folders["Junk" if self.fault == "junk" else "INBOX"].add(raw)
        mailbox.changed.set()
