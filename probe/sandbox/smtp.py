"""Submission (RFC 6409) on aiosmtpd, bent to a personality."""

import base64
import secrets
import ssl
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session, TLSSetupException

from probe.sandbox.exchange import MOST_ERRORS, NODE, TOO_MANY, banner, ehlo_lines, is_exchange, queued, rebuilt, says
from probe.sandbox.login import MECHANISMS, OFFERED, Attempt, authenticate, certificate_name, decoded
from probe.sandbox.mailbox import World

SIZE = 37_748_736
# Replies of aiosmtpd that each personality words in its own way.
_WORDS = {
    "postfix": {
        "220 Ready to start TLS": "220 2.0.0 Ready to start TLS",
        "504 5.5.4 Unrecognized authentication type": "535 5.7.8 Error: authentication failed: Invalid authentication mechanism",
        "221 Bye": "221 2.0.0 Bye",
    },
    "exchange-2016": {
        "220 Ready to start TLS": "220 2.0.0 SMTP server ready",
        "504 5.5.4 Unrecognized authentication type": "504 5.7.4 Unrecognized authentication type",
        "530 5.7.0 Authentication required": "530 5.7.57 SMTP; Client was not authenticated to send mail",
        "221 Bye": "221 2.0.0 Service closing transmission channel",
    },
}
_OFFERED = {"postfix": OFFERED, "exchange-2016": ("NTLM", "LOGIN")}


class Submission(SMTP):
    """One connection. `implicit` TLS was done by the listener."""

    def __init__(self, world: World, context: ssl.SSLContext, *, implicit: bool) -> None:
        self.words = _WORDS[world.personality]
        self.implicit = implicit
        self.world = world
        self.errors = 0
        self.chunks = bytearray()
        super().__init__(
            _Handler(world),
            hostname=world.fqdn,
            ident=banner() if is_exchange(world) else "ESMTP Postfix (sandbox)",
            tls_context=None if implicit or world.fault in ("no-starttls", "no-certificate") else context,
            data_size_limit=SIZE,
            # With implicit TLS aiosmtpd does not know that TLS is on; it then warns of AUTH without TLS, wrongly.
            auth_required=not implicit,
            auth_require_tls=not implicit,
            auth_exclude_mechanism=set(MECHANISMS) - set(world.mechanisms or _OFFERED[world.personality]),
        )
        if world.fault == "chunking-broken":
            del self._smtp_methods["BDAT"]

    @property
    def is_tls(self) -> bool:
        return self.implicit or self._tls_protocol is not None

    async def push(self, status: Any) -> None:
        if self.transport is None or self.transport.is_closing():
            return  # lines that came before the connection was ended
        if str(status).startswith("220 ") and (refusal := says(self.world, "smtp greeting")):
            await self._leave(refusal)
            return
        self.errors += str(status).startswith(("500 ", "501 ", "502 ", "503 "))
        if is_exchange(self.world) and self.errors >= MOST_ERRORS:
            await self._leave(TOO_MANY)
            return
        await super().push(self.words.get(status, status))

    async def _leave(self, last: str) -> None:
        await super().push(last)
        if self.transport is not None:
            self.transport.close()

    async def smtp_BDAT(self, arg: str | None) -> None:
        """A chunk (RFC 3030). Its octets are read whatever the answer is: they are no commands."""
        count, _, last = (arg or "").partition(" ")
        if not count.isdigit() or last.upper() not in ("", "LAST"):
            await self.push("501 5.5.4 Syntax: BDAT count [LAST]")
            return
        octets = await self._read_chunk(int(count))
        if await self.check_helo_needed() or await self.check_auth_needed("BDAT"):
            return
        assert self.envelope is not None
        if self.world.fault == "chunking-refused":
            await self.push("502 5.5.1 BDAT not implemented")
        elif not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Error: need RCPT command")
        elif len(self.chunks) + len(octets) > SIZE:
            await self.push("552 5.3.4 Message size exceeds fixed limit")
        else:
            self.chunks += octets
            await self._chunk_taken(self.envelope, is_last=bool(last), octets=len(octets))

    async def _read_chunk(self, octets: int) -> bytes:
        """So many octets; of more than a message may have, the rest is dropped."""
        kept = await self._reader.readexactly(min(octets, SIZE + 1))
        left = octets - len(kept)
        while left:
            left -= len(await self._reader.readexactly(min(left, 65_536)))
        return kept

    async def _chunk_taken(self, envelope: Envelope, *, is_last: bool, octets: int) -> None:
        if not is_last:
            await self.push(f"250 2.0.0 Ok: {octets} bytes")
            return
        envelope.content = envelope.original_content = bytes(self.chunks)
        self.chunks.clear()
        status = await self._call_handler_hook("DATA")
        self.envelope = self._create_envelope()
        await self.push(status)

    async def smtp_RSET(self, arg: str | None) -> None:
        """As aiosmtpd has it, chunks included."""
        self.chunks.clear()
        await super().smtp_RSET(arg)

    async def ask(self, challenge: bytes) -> bytes | None:
        """Send a challenge and read the response (RFC 4954 section 4)."""
        await self.push(f"334 {base64.b64encode(challenge).decode()}")
        line = await self._reader.readline()
        return decoded(line.decode("ascii", "replace").strip())


async def _never_called(server: Any, arguments: Any) -> None:
    """aiosmtpd offers what has an auth_ method; handle_AUTH does the work for all of them."""


class _Handler:
    """aiosmtpd's hooks: what a personality says and does."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def handle_exception(self, error: Exception) -> str:
        """What goes to the client when a command fails. A client that refuses our certificate is no error here: nothing is sent.

        Raises the error where it is one of ours; aiosmtpd logs it.
        """
        if isinstance(error, TLSSetupException):
            return ""
        raise error

    async def handle_EHLO(
        self, server: Submission, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        peer = session.peer[0] if session.peer else "unknown"
        starttls = server.tls_context is not None and not server.is_tls
        if is_exchange(self.world):
            lines = ehlo_lines(self.world, peer, tls=server.is_tls, starttls=starttls)
        else:
            lines = self._postfix(server, starttls)
        if self.world.fault == "no-pipelining":
            lines = [line for line in lines if line != "PIPELINING"]
        return [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]

    def _worded(self, ours: str, postfix: str) -> str:
        return ours if is_exchange(self.world) else postfix

    def _postfix(self, server: Submission, starttls: bool) -> list[str]:
        tls = [f"AUTH {' '.join(self.world.mechanisms or OFFERED)}"] if server.is_tls else []
        offered = ["STARTTLS"] if starttls else []
        chunking = ["CHUNKING"] if self.world.chunking or (self.world.fault or "").startswith("chunking-") else []
        return [self.world.fqdn, "PIPELINING", f"SIZE {SIZE}", *offered, *tls, "ENHANCEDSTATUSCODES", "8BITMIME", *chunking]

    async def handle_AUTH(self, server: Submission, session: Session, envelope: Envelope, args: list[str]) -> str:
        initial = decoded(args[1]) if len(args) > 1 else None
        name = certificate_name(server.transport.get_extra_info("ssl_object") if server.transport else None)
        user = await authenticate(args[0], Attempt(self.world, "smtp", initial, server.ask, server.is_tls, name))
        if refusal := says(self.world, "smtp AUTH"):
            return refusal
        if user is None:
            return self._worded("535 5.7.3 Authentication unsuccessful", "535 5.7.8 Error: authentication failed")
        session.authenticated = True
        return "235 2.7.0 Authentication successful"

    async def handle_MAIL(self, server: Submission, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if not session.authenticated:
            return self._worded("530 5.7.57 SMTP; Client was not authenticated to send mail", "530 5.7.0 Authentication required")
        if refusal := says(self.world, "smtp MAIL"):
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(self, server: Submission, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if address not in self.world.accounts:
            return f"550 5.1.1 <{address}>: Recipient address rejected: User unknown"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Submission, session: Session, envelope: Envelope) -> str:
        if self.world.fault == "mailbox-full":
            return "552 5.2.2 Mailbox full"
        if refusal := says(self.world, "smtp DATA"):
            return refusal
        queue_id = secrets.token_hex(6).upper()
        raw = envelope.original_content or b""
        if self.world.fault == "footer":
            raw += b"-- \r\nThis message is confidential.\r\n"
        peer = session.peer[0] if session.peer else "unknown"
        received = (
            f"Return-Path: <{envelope.mail_from}>\r\n"
            f"Received: from {session.host_name} ([{peer}])\r\n\tby {self.world.fqdn} (sandbox) with ESMTPSA id {queue_id};\r\n"
            f"\t{format_datetime(datetime.now(UTC))}\r\n"
        )
        raw = received.encode() + raw
        if is_exchange(self.world):
            raw = rebuilt(raw, new_message_id=self.world.fault == "new-message-id")
        for recipient in envelope.rcpt_tos:
            self.world.deliver(recipient, raw)
        if is_exchange(self.world):
            return queued(f"<{queue_id}@{NODE}.sandbox.test>")
        return f"250 2.0.0 Ok: queued as {queue_id}"


for _name in MECHANISMS:
    setattr(_Handler, f"auth_{_name.replace('-', '__')}", staticmethod(_never_called))
