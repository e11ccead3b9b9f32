"""Make the marked message. Clock, key and randomness come in.

The proof is an HMAC-SHA-256 (RFC 2104) by a key that only this installation has, over marker, sender, recipient and instant. It
stands in a header field and in the text, since gateways strip header fields. Little can happen to the text: ASCII, lines of 70
columns at most, no trailing blanks, nothing that a mailer takes for a quotation or a signature.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

MARKER_HEADER = "X-Submission-Probe"
PROOF_HEADER = "X-Submission-Probe-Proof"
SENT_HEADER = "X-Submission-Probe-Sent"
MARKER_PREFIX = "submission-probe-"
MARKER_PATTERN = re.compile(rf"{MARKER_PREFIX}[a-z2-7]{{26}}")


@dataclass(frozen=True, slots=True)
class Sent:
    """What the proof signs of a message: its marker, the addresses, and when it was made (RFC 3339 UTC, whole seconds)."""

    marker: str
    sender: str
    recipient: str
    sent: str


@dataclass(frozen=True, slots=True)
class Draft(Sent):
    """The message to send. `raw` has CRLF line ends and no dot-stuffing."""

    proof: str
    raw: bytes


def new_marker(random_bytes: bytes) -> str:
    """A marker of letters, digits and hyphens only, from 16 random bytes."""
    return MARKER_PREFIX + base64.b32encode(random_bytes).decode().rstrip("=").lower()


def compose(*, marker: str, key: bytes, sender: str, recipient: str, now: datetime) -> Draft:
    """Compose the message: RFC 5322 Date and Message-ID, RFC 3834 Auto-Submitted, ASCII text.

    `key` is this installation's secret (32 octets); `now` must be timezone-aware.
    """
    facts = Sent(marker, sender, recipient, now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    proof = sign(key, facts)
    # RFC 6532 headers only where an address needs them; everything else is ASCII.
    message = EmailMessage(policy=SMTP if (sender + recipient).isascii() else SMTPUTF8)
    message["Date"] = format_datetime(now.astimezone(UTC))
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject_of(marker)
    message["Message-ID"] = message_id_of(marker, sender)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message[MARKER_HEADER] = marker
    message[SENT_HEADER] = facts.sent
    message[PROOF_HEADER] = proof
    message.set_content(text_of(facts, proof), cte="7bit")
    return Draft(marker, sender, recipient, facts.sent, proof, bytes(message))


def sign(key: bytes, facts: Sent) -> str:
    """The keyed proof: 64 lower-case hex digits."""
    signed = "\0".join(("submission-probe/2", facts.marker, facts.sender.lower(), facts.recipient.lower(), facts.sent))
    return hmac.new(key, signed.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def subject_of(marker: str) -> str:
    return f"Submission probe {marker}"


def message_id_of(marker: str, sender: str) -> str:
    return f"<{marker}@{sender.rpartition('@')[2]}>"


def text_of(facts: Sent, proof: str) -> str:
    """The whole text, LF line ends. A line that begins with a dot shows a server that does not unstuff (RFC 5321 section 4.5.2)."""
    return (
        "This message was sent by submission-probe to check that mail can be\n"
        "submitted and read back. It is deleted once it has been read;\n"
        "it needs no answer.\n"
        "\n"
        ".a line that begins with a dot\n"
        "\n"
        f"Marker: {facts.marker}\n"
        f"Sent: {facts.sent}\n"
        f"Proof:\n{proof}\n"
    )
