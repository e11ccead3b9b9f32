"""Make the marked message. Clock, key and randomness come in.

The proof is an HMAC-SHA-256 (RFC 2104) by a key that only this installation has, over marker, sender, recipient and instant. It
stands in a header field and in the text, since gateways strip header fields. Little can happen to the text: ASCII, lines of 70
columns at most (but for a link), no trailing blanks, nothing that a mailer takes for a quotation or a signature.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from probe.message.filling import NAME, encoded, encoded_octets, fitting
from probe.plain import dataclass

MARKER_HEADER = "X-Submission-Probe"
PROOF_HEADER = "X-Submission-Probe-Proof"
SENT_HEADER = "X-Submission-Probe-Sent"
LINK = "Link: "
MARKER_PREFIX = "submission-probe-"
# More than lie between two sizes that base64 in lines can have.
_MOST_DOTS = 16
MARKER_PATTERN = re.compile(rf"{MARKER_PREFIX}[a-z2-7]{{26}}")


@dataclass(frozen=True, slots=True)
class Sent:
    """What the proof signs of a message: its marker, the addresses, and when it was made (RFC 3339 UTC, whole seconds). Not signed:
    the address that its text links to; empty for none."""

    marker: str
    sender: str
    recipient: str
    sent: str
    link: str


@dataclass(frozen=True, slots=True)
class Draft(Sent):
    """The message to send. `raw` has CRLF line ends and no dot-stuffing: the whole message, or of one of a chosen size what stands
    in front of its filling, of `filling` octets before they are encoded, and `tail` what stands behind it."""

    proof: str
    raw: bytes
    filling: int = 0
    tail: bytes = b""

    @property
    def octets(self) -> int:
        """The whole message's size as SIZE counts it (RFC 1870 section 6): CRLF as two octets, nothing stuffed."""
        return len(self.raw) + encoded_octets(self.filling) + len(self.tail)

    def pieces(self) -> Iterator[bytes]:
        """The message in pieces of whole lines, made as they are asked for."""
        yield self.raw
        yield from encoded(self.marker, self.filling)
        if self.tail:
            yield self.tail


def new_marker(random_bytes: bytes) -> str:
    """A marker of letters, digits and hyphens only, from 16 random bytes."""
    return MARKER_PREFIX + base64.b32encode(random_bytes).decode().rstrip("=").lower()


def compose(
    *,
    marker: str,
    key: bytes,
    sender: str,
    recipient: str,
    now: datetime,
    size: int | None = None,
    link: str = "",
    answered: bool = False,
) -> Draft:
    """Compose the message: RFC 5322 Date and Message-ID, RFC 3834 Auto-Submitted, ASCII text.

    `key` is this installation's secret (32 octets); `now` must be timezone-aware. `size`: of so many octets in all, by an
    attachment, where the message alone is smaller. `link`: an address for the last line of the text. `answered`: a report of its
    delivery is wanted (Exchange sends none where X-Auto-Response-Suppress says All).
    """
    facts = Sent(marker, sender, recipient, now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), link)
    proof = sign(key, facts)
    # RFC 6532 headers only where an address needs them; everything else is ASCII.
    message = EmailMessage(policy=SMTP if (sender + recipient).isascii() else SMTPUTF8)
    message["Date"] = format_datetime(now.astimezone(UTC))
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject_of(marker)
    message["Message-ID"] = message_id_of(marker, sender)
    message["Auto-Submitted"] = "auto-generated"
    if not answered:
        message["X-Auto-Response-Suppress"] = "All"
    message[MARKER_HEADER] = marker
    message[SENT_HEADER] = facts.sent
    message[PROOF_HEADER] = proof
    message.set_content(text_of(facts, proof), cte="7bit")
    raw = bytes(message)
    if size is None or (filled := _filled(raw, marker, size)) is None:
        return Draft(marker, sender, recipient, facts.sent, link, proof, raw)
    return Draft(marker, sender, recipient, facts.sent, link, proof, *filled)


def _filled(raw: bytes, marker: str, size: int) -> tuple[bytes, int, bytes] | None:
    """(what stands in front of the filling, its octets, what stands behind) of a message of exactly `size` octets; None where it
    is larger without. The few octets that base64 cannot make up are dots in a Content-Description."""
    head, _, text = raw.partition(b"\r\n\r\n")
    own = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"content-", b"mime-version"))]
    boundary = f"={marker}=".encode()
    outer = [*own, b"MIME-Version: 1.0", b'Content-Type: multipart/mixed; boundary="%s"' % boundary, b""]
    first = [b"--" + boundary, b'Content-Type: text/plain; charset="us-ascii"', b"Content-Transfer-Encoding: 7bit", b"", text]
    name = NAME.encode()
    tail = b"--%s--\r\n" % boundary
    for dots in range(_MOST_DOTS):
        second = [
            b"--" + boundary,
            b'Content-Type: application/octet-stream; name="%s"' % name,
            b"Content-Transfer-Encoding: base64",
            b'Content-Disposition: attachment; filename="%s"' % name,
            b"Content-Description: filling" + b"." * dots,
            b"",
            b"",
        ]
        before = b"\r\n".join([*outer, *first, *second])
        octets = fitting(size - len(before) - len(tail))
        if octets is not None and octets > 0:
            return before, octets, tail
    return None


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
        f"Proof:\n{proof}\n" + (f"{LINK}{facts.link}\n" if facts.link else "")
    )
