"""Make the marked message; prove that the one read is it and unharmed. Pure: clock, key and randomness come in.

The proof is an HMAC-SHA-256 (RFC 2104) by a key that only this installation has, over the marker, the instant and
the digest of the text. It stands in a header and in the text, since gateways strip headers.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import SMTP, SMTPUTF8, compat32
from email.utils import format_datetime, parsedate_to_datetime

MARKER_HEADER = "X-Submission-Probe"
PROOF_HEADER = "X-Submission-Probe-Proof"
MARKER_PREFIX = "submission-probe-"
MARKER_PATTERN = re.compile(rf"{MARKER_PREFIX}[a-z2-7]{{26}}")

# A message of ours is about 2 KiB with its trace headers; a reader never needs more of one than this.
MESSAGE_OCTETS = 65536

_PROOF_PATTERN = re.compile(r"^Proof: ([0-9a-f]{64})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Draft:
    """The message to send. `raw` has CRLF line ends and no dot-stuffing; `sent` is RFC 3339 UTC."""

    marker: str
    proof: str
    sender: str
    recipient: str
    sent: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Hop:
    """One Received header (RFC 5321 section 4.4), oldest first; seconds since the hop before, negative on clock skew."""

    by: str
    at: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Proof:
    """What reading a message showed. `ours`: the keyed proof holds; `text`: `intact`, `added-to` or `changed`."""

    ours: bool
    proven_by: str | None
    text: str
    subject_changed: bool
    message_id_changed: bool
    hops: tuple[Hop, ...]


def new_marker(random_bytes: bytes) -> str:
    """A marker of letters, digits and hyphens only, from 16 random bytes."""
    return MARKER_PREFIX + base64.b32encode(random_bytes).decode().rstrip("=").lower()


def compose(*, marker: str, key: bytes, sender: str, recipient: str, now: datetime) -> Draft:
    """Compose the message: RFC 5322 Date and Message-ID, RFC 3834 Auto-Submitted, ASCII text.

    `key` is this installation's secret (32 octets); `now` must be timezone-aware.
    """
    sent = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    proof = sign(key, marker)
    # RFC 6532 headers only where an address needs them; everything else is ASCII.
    message = EmailMessage(policy=SMTP if (sender + recipient).isascii() else SMTPUTF8)
    message["Date"] = format_datetime(now.astimezone(UTC))
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = _subject(marker)
    message["Message-ID"] = _message_id(marker, sender)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message[MARKER_HEADER] = marker
    message[PROOF_HEADER] = proof
    message.set_content(_text(marker, proof), cte="7bit")
    return Draft(marker, proof, sender, recipient, sent, bytes(message))


def sign(key: bytes, marker: str) -> str:
    """The keyed proof for a marker: 64 lower-case hex digits."""
    return hmac.new(key, f"submission-probe/1 {marker} {_digest_of_text(marker)}".encode(), hashlib.sha256).hexdigest()


def _subject(marker: str) -> str:
    return f"Submission probe {marker}"


def _message_id(marker: str, sender: str) -> str:
    return f"<{marker}@{sender.rpartition('@')[2]}>"


def _story(marker: str) -> str:
    """The fixed words, whose digest is checked at the other end; the proof line follows them."""
    return (
        "This message was sent by submission-probe to check that mail can be\n"
        "submitted and read back. It is deleted when it has been read; it needs no answer.\n"
        "\n"
        ".a line that begins with a dot\n"
        f"Marker: {marker}\n"
    )


def _text(marker: str, proof: str) -> str:
    return f"{_story(marker)}Proof: {proof}\n"


def _digest_of_text(marker: str) -> str:
    return hashlib.sha256(_normalised(_story(marker)).encode()).hexdigest()


def _normalised(text: str) -> str:
    """Text with the changes taken out that transport may rightly make: line ends, trailing white space."""
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").strip().split("\n"))


def carries_marker(raw: bytes, marker: str) -> bool:
    """Whether the marker stands anywhere in these octets, or in text that a gateway encoded as base64."""
    return marker.encode() in raw or marker in _plain_text(_parse(raw))


def prove(raw: bytes, *, marker: str, key: bytes, sender: str) -> Proof:
    """Say whether these octets are our message of that marker, and what became of it on the way.

    Never raises: octets that are no message at all are simply not ours.
    """
    message = _parse(raw)
    text = _plain_text(message)
    proven_by = _proven_by(message, text, marker, sign(key, marker))
    return Proof(
        ours=proven_by is not None,
        proven_by=proven_by,
        text=_state_of_text(text, _text(marker, sign(key, marker))),
        subject_changed=_header(message, "Subject") != _subject(marker),
        message_id_changed=_header(message, "Message-ID") != _message_id(marker, sender),
        hops=_hops(message),
    )


def _parse(raw: bytes) -> Message:
    # compat32 never raises on rubbish in headers, where the modern policy's header registry may.
    return BytesParser(policy=compat32).parsebytes(raw)


def _header(message: Message, name: str) -> str:
    value = message.get(name)
    return " ".join(str(value).split()) if value is not None else ""


def _proven_by(message: Message, text: str, marker: str, proof: str) -> str | None:
    header = _header(message, PROOF_HEADER)
    if _header(message, MARKER_HEADER) == marker and _same(header, proof):
        return "header"
    in_text = _PROOF_PATTERN.search(text.replace("\r\n", "\n"))
    if marker in text and in_text and _same(in_text.group(1), proof):
        return "text"
    return None


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _plain_text(message: Message) -> str:
    """The first text/plain part, decoded; empty when there is none."""
    for part in message.walk():
        if part.get_content_type() == "text/plain" and not part.is_multipart():
            payload = part.get_payload(decode=True)
            return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return ""


def _state_of_text(received: str, sent: str) -> str:
    got, expected = _normalised(received), _normalised(sent)
    if hashlib.sha256(got.encode()).digest() == hashlib.sha256(expected.encode()).digest():
        return "intact"
    return "added-to" if expected in got else "changed"


def _hops(message: Message) -> tuple[Hop, ...]:
    headers: Sequence[object] = message.get_all("Received") or ()
    hops: list[Hop] = []
    before: datetime | None = None
    for header in list(reversed(headers))[:50]:
        words, _, date = " ".join(str(header).split()).rpartition(";")
        at = _instant(date)
        seconds = (at - before).total_seconds() if at and before else None
        hops.append(Hop(_by(words), at.isoformat().replace("+00:00", "Z") if at else None, seconds))
        before = at or before
    return tuple(hops)


def _by(words: str) -> str:
    found = re.search(r"\bby ([^\s;]+)", words)
    return found.group(1)[:255] if found else ""


def _instant(date: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(date.strip())
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
