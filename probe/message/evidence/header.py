"""The header fields of a delivered message as they came, octet by octet: signatures are made over those, and order is evidence.

The email package folds and decodes; here nothing is changed but line ends, which some servers store as LF (a signature is always
over CRLF, RFC 6376 section 2.8 after RFC 5322).
"""

import re
from collections.abc import Iterator

from probe.message.parts import FIELD_OCTETS, HEADER_OCTETS, MESSAGE_OCTETS, MOST_FIELDS
from probe.plain import dataclass

_LINE_END = re.compile(rb"\r?\n")
_NAME = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")
_MOST_LINES_BEFORE = 5


@dataclass(frozen=True, slots=True)
class Field:
    """One header field. `name` in lower case; `raw` from the name to the last CRLF."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, folds and final CRLF included."""
        return self.raw.partition(b":")[2]

    @property
    def text(self) -> str:
        """The same unfolded, blanks folded into one, as far as a field is read (FIELD_OCTETS)."""
        return " ".join(self.value[:FIELD_OCTETS].decode("utf-8", "replace").split())


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message as it lay in the mailbox: fields from the top (the newest first), body with CRLF line ends. `limits`: what was not
    read, and why, one plain phrase each."""

    fields: tuple[Field, ...]
    body: bytes
    limits: tuple[str, ...] = ()
    whole: bool = True

    def named(self, *names: str) -> Iterator[Field]:
        """Every field of these names (lower case), from the top."""
        return (field for field in self.fields if field.name in names)


def delivered(raw: bytes) -> Delivered:
    """Take header and body apart. Never raises; a header beyond the limits is not read at all."""
    whole = len(raw) <= MESSAGE_OCTETS
    limits = [] if whole else [f"the message is longer than is read ({MESSAGE_OCTETS} octets)"]
    octets = _LINE_END.sub(b"\r\n", raw[:MESSAGE_OCTETS])
    head, _, body = (b"", b"", octets[2:]) if octets.startswith(b"\r\n") else octets.partition(b"\r\n\r\n")
    if len(head) > HEADER_OCTETS:
        return Delivered((), body, (*limits, f"the header is longer than is read ({HEADER_OCTETS} octets)"), whole)
    fields = tuple(_fields(head.split(b"\r\n")))
    if len(fields) > MOST_FIELDS:
        return Delivered((), body, (*limits, f"the header has {len(fields)} fields, more than are read ({MOST_FIELDS})"), whole)
    return Delivered(fields, body, tuple(limits), whole)


def _fields(lines: list[bytes]) -> Iterator[Field]:
    """Lines before the first field (mbox's `From `) are passed over, and so is a line that is none."""
    start = next((at for at, line in enumerate(lines[:_MOST_LINES_BEFORE]) if _NAME.match(line)), 0)
    pieces: list[bytes] = []
    for line in [*lines[start:], b"x:"]:
        if line[:1] in (b" ", b"\t") and pieces:
            pieces.append(line)
            continue
        if pieces and _NAME.match(pieces[0]):
            raw = b"\r\n".join(pieces) + b"\r\n"
            yield Field(raw.partition(b":")[0].strip().lower().decode("ascii", "replace"), raw)
        pieces = [line]
