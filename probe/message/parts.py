"""A message taken apart, with a limit on everything: octets, depth, parts, header fields. Never raises.

The email package parses nested messages by recursion, and one mail of 64 KB from anybody is enough to break it; here it parses
one header at a time, and the walk through the parts is a loop.
"""

import codecs
import html
import re
from collections.abc import Iterator
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import getaddresses

from probe.plain import dataclass

# A message of ours is about 2 KiB; a filter's fields in front of it may be many times that. A reader needs no more of any message.
MESSAGE_OCTETS = 262_144
MOST_DEPTH = 6
MOST_PARTS = 40
MOST_FIELDS = 2_000
HEADER_OCTETS = 196_608
MOST_TEXT = 65_536
# Octets of one field that are read. The email package takes minutes over 190 KB of semicolons in a Content-Type.
FIELD_OCTETS = 4_000
# Comments in an address field (RFC 5322 section 3.2.2); each level costs the email package two levels of recursion.
MOST_COMMENTS = 20
# Decoders whose time grows with the square of the text, or that only Python knows.
_NO_CHARSETS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}

_FIELD_LINE = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_FORWARDED = re.compile(r"\s*(re|fwd?|aw|wg|tr|rv|sv|vs|antw|doorst|odp|i)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf or enclosed message. `inside`: how many message/rfc822 parts lie around it; `kind` its content type."""

    header: Message
    body: bytes
    kind: str
    inside: int

    def text(self) -> str:
        """The decoded text; of HTML, what a reader would see."""
        octets = _decoded(self.header, self.body)[: MOST_TEXT * 4]
        try:
            text = octets.decode(_charset(self.header), "replace")
        except (LookupError, ValueError):
            text = octets.decode("utf-8", "replace")
        # A byte order mark is none of the text (Exchange writes one in front of UTF-8).
        text = text.removeprefix("\ufeff")
        return _visible(text[:MOST_TEXT]) if self.kind == "text/html" else text[:MOST_TEXT]


@dataclass(frozen=True, slots=True)
class Letter:
    """A message and its parts. `cut`: it went beyond a limit, so that not all of it was looked at."""

    header: Message
    parts: tuple[Part, ...]
    cut: bool

    def enclosed(self) -> Iterator[Part]:
        """Messages in it (message/rfc822), outermost first."""
        return (part for part in self.parts if part.kind == "message/rfc822")

    def texts(self, kind: str, inside: int) -> str:
        """Every text of that type at that depth of enclosure, in order."""
        return "\n".join(part.text() for part in self.parts if part.kind == kind and part.inside == inside)


def read(raw: bytes) -> Letter:
    """Take a message apart; what lies beyond a limit is left out."""
    header, body, whole = _split(raw[:MESSAGE_OCTETS])
    parts: list[Part] = []
    waiting: list[tuple[Message, bytes, int, int]] = [(header, body, 0, 0)]
    while waiting:
        own, octets, depth, inside = waiting.pop()
        if len(parts) >= MOST_PARTS or depth > MOST_DEPTH:
            return Letter(header, tuple(parts), True)
        below = _below(own, octets, inside)
        if below is None:
            parts.append(Part(own, octets, own.get_content_type(), inside))
            continue
        if own.get_content_type() == "message/rfc822":
            parts.append(Part(below[0][0], below[0][1], "message/rfc822", inside))
        # A stack: the last one pushed comes first.
        waiting += [(each, inner, depth + 1, more) for each, inner, more in reversed(below[: MOST_PARTS + 1])]
    return Letter(header, tuple(parts), len(raw) > MESSAGE_OCTETS or not whole)


def _below(header: Message, body: bytes, inside: int) -> list[tuple[Message, bytes, int]] | None:
    """The parts of a multipart, or the message in a message/rfc822; None for a leaf."""
    kind = header.get_content_type()
    if kind == "message/rfc822":
        own, inner, _ = _split(_decoded(header, body).lstrip(b"\r\n"))
        return [(own, inner, inside + 1)]
    boundary = _boundary(header)
    if not kind.startswith("multipart/") or not boundary or len(boundary) > 200:
        return None
    line = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(?:--)?[ \t]*(?=\r?\n|$)")
    pieces = line.split(body, MOST_PARTS + 2)[1:]
    splits = (_split(re.sub(rb"^\r?\n", b"", piece)) for piece in pieces if piece.strip())
    return [(own, inner, inside) for own, inner, _ in splits]


def _split(octets: bytes) -> tuple[Message, bytes, bool]:
    """(header, body, whether the header is within its limits). Lines before the first field (mbox's `From `) are passed over."""
    if octets.startswith((b"\r\n", b"\n")):
        return Message(), octets, True
    start = 0
    for _ in range(5):
        end = octets.find(b"\n", start)
        if end < 0 or _FIELD_LINE.match(octets, start):
            break
        start = end + 1
    found = _BLANK_LINE.search(octets, start)
    head, body = (octets[start : found.start()], octets[found.end() :]) if found else (octets[start:], b"")
    if len(head) > HEADER_OCTETS or head.count(b"\n") > MOST_FIELDS * 2:
        return Message(), body, False
    # compat32 never raises on rubbish in headers, where the modern policy's header registry may.
    header = BytesHeaderParser(policy=compat32).parsebytes(head)
    if len(str(header.get("Content-Type", ""))) > FIELD_OCTETS:
        del header["Content-Type"]
        return header, body, False
    return header, body, True


def _boundary(header: Message) -> str | None:
    """The boundary of a multipart; None where there is none, or its parameters cannot be read (RFC 2231)."""
    try:
        return header.get_boundary()
    except (ValueError, LookupError):
        return None


def _charset(header: Message) -> str:
    """The charset to decode with. Raises LookupError or ValueError for one that is unknown or costs too much."""
    charset = (header.get_content_charset() or "utf-8")[:40]
    if codecs.lookup(charset).name.replace("_", "-") in _NO_CHARSETS:
        raise LookupError(charset)
    return charset


def _decoded(header: Message, body: bytes) -> bytes:
    """Base64 and quoted-printable taken off (RFC 2045 section 6)."""
    import binascii
    import quopri

    encoding = str(header.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoding == "quoted-printable":
        return quopri.decodestring(body)
    if encoding != "base64":
        return body
    kept = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
    try:
        return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))
    except binascii.Error:  # one character too many: the rest is whole
        return binascii.a2b_base64(kept[: len(kept) // 4 * 4])


# Bounded, so that a page of "<a <a <a" costs no more than its length (the standard library's parser is quadratic there).
_TAG = re.compile(r"<[^<>]{0,2000}>")


def _visible(markup: str) -> str:
    """What is between tags, each tag a blank, character references resolved."""
    return html.unescape(_TAG.sub(" ", markup))


def value(header: Message, name: str) -> str:
    """The first field of that name: encoded words decoded (RFC 2047), UTF-8 as it stands (RFC 6532), blanks folded into one; empty
    where there is none."""
    given = next((str(raw) for field, raw in header.raw_items() if field.lower() == name.lower()), "")
    octets = given[:FIELD_OCTETS].encode("utf-8", "surrogateescape")
    folded = " ".join(octets.decode("utf-8", "replace").split())
    try:
        pieces = decode_header(folded) if "=?" in folded else [(folded, None)]
        text = "".join(
            piece if isinstance(piece, str) else piece.decode(charset or "utf-8", "replace") for piece, charset in pieces
        )
    except (ValueError, LookupError, IndexError, MessageError):
        return folded
    return " ".join(text.split())


def addresses(header: Message, name: str) -> set[str]:
    """The addresses of a field, lower case; none of a field with more comments than people write."""
    given = value(header, name)
    if given.count("(") > MOST_COMMENTS:
        return set()
    return {address.lower() for _, address in getaddresses([given])[:50] if address}


def is_forwarded(header: Message) -> bool:
    """Whether it is an answer or a forward: the fields that programs add (RFC 5322 section 3.6.4), the Subject's prefix."""
    return bool(value(header, "In-Reply-To") or value(header, "References") or _FORWARDED.match(value(header, "Subject")))
