"""What Exchange 2016 does otherwise than others, from public facts: words, order, sizes, and the failures its admins know.

Sources: Microsoft's pages on receive connectors, back pressure, client submission and protocol logging; RFC texts for the
rest. No live Exchange was at hand.
"""

import base64
import email
import email.policy
import re
import secrets
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from probe.sandbox.faults import SAYS
from probe.sandbox.mailbox import World

NODE = "EX01"
# Before TLS and after it; STARTTLS stands where it is offered.
_EHLO = (
    "SIZE 37748736", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "AUTH", "8BITMIME", "BINARYMIME", "CHUNKING",
    "SMTPUTF8",
)  # fmt: skip
_BEFORE_TLS = "AUTH GSSAPI NTLM"
MOST_ERRORS = 5
TOO_MANY = "421 4.7.0 Too many errors on this connection, closing transmission channel"


def is_exchange(world: World) -> bool:
    return world.personality == "exchange-2016"


def says(world: World, step: str) -> str | None:
    """What the fault in force answers at this step (`smtp MAIL`, `imap LOGIN`, …); None where all is well."""
    return SAYS.get(world.fault or "", {}).get(step)


def banner() -> str:
    return f"Microsoft ESMTP MAIL Service ready at {format_datetime(datetime.now(UTC))}"


def node_greeting(protocol: str) -> str:
    """IMAP4's and POP3's: the node's name stands at the end, in base64 over UTF-16LE."""
    return f"The Microsoft Exchange {protocol} service is ready. [{base64.b64encode(NODE.encode('utf-16-le')).decode()}]"


def ehlo_lines(world: World, peer: str, *, tls: bool, starttls: bool) -> list[str]:
    """The lines of an EHLO reply, without codes."""
    after = "AUTH " + " ".join(world.mechanisms or ("GSSAPI", "NTLM", "LOGIN"))
    # Somebody took BasicAuthRequireTLS away.
    before = after if world.fault == "auth-before-tls" else _BEFORE_TLS
    words = {"AUTH": after if tls else before, "STARTTLS": "STARTTLS" if starttls else None}
    lines = [words.get(line, line) for line in _EHLO]
    return [f"{world.fqdn} Hello [{peer}]", *(line for line in lines if line)]


def queued(message_id: str) -> str:
    """The final 250, with the node that queued the message."""
    internal = f"[InternalId={secrets.randbelow(10**12)}, Hostname={NODE}.sandbox.test]"
    return f"250 2.6.0 {message_id} {internal} Queued mail for delivery"


def rebuilt(raw: bytes, *, new_message_id: bool) -> bytes:
    """A message as the store gives it back: MIME made anew from its parts, headers in another order, some added."""
    message = email.message_from_bytes(raw, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    received = [(name, value) for name, value in message.raw_items() if name in ("Received", "Return-Path")]
    others = [
        (name, value)
        for name, value in message.raw_items()
        if name not in ("Received", "Return-Path", "MIME-Version") and not name.lower().startswith("content-")
    ]
    body = message.get_body(("plain",))
    text = body.get_content() if body is not None else ""
    fields = [*received, *sorted(others), ("X-MS-Exchange-Organization-AuthSource", f"{NODE}.sandbox.test")]
    if new_message_id:
        fields = [(name, value) for name, value in fields if name != "Message-ID"]
        fields.append(("Message-ID", f"<{secrets.token_hex(16)}@{NODE}.sandbox.test>"))
    fields += [("MIME-Version", "1.0"), ("Content-Type", 'text/plain; charset="utf-8"'), ("Content-Transfer-Encoding", "base64")]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return head.encode("utf-8", "surrogateescape") + b"\r\n" + _base64(text)


def _base64(text: str) -> bytes:
    octets = base64.encodebytes(re.sub(r"\r?\n", "\r\n", text).encode())
    return octets.replace(b"\n", b"\r\n")


def estimated_size(raw: bytes) -> int:
    """RFC822.SIZE is computed before the MIME is made, unless EnableExactRFC822Size is set."""
    return len(raw) + 161
