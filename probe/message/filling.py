"""The filling of a message of a chosen size: an attachment of octets that follow from the message's marker.

It is made piece by piece when it is sent, and compared piece by piece when it is read, so that nobody ever holds it whole.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

NAME = "submission-probe-filling.dat"
# RFC 2045 section 6.8: 57 octets are a line of 76 columns.
_LINE, _COLUMNS = 57, 78
_BLOCK = _LINE * 1024
_BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")
# Between the attachment's name and its first line there are a few header lines.
_MOST_HEADER = 16_384
# A filter's text may name the attachment too; each try costs as much as the piece is long.
_MOST_NAMES = 20
_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]")


def block(marker: str, index: int) -> bytes:
    """The filling's octets from 58 368 * `index` on, 58 368 of them."""
    return hashlib.shake_128(f"{marker}/{index}".encode()).digest(_BLOCK)


def encoded(marker: str, octets: int) -> Iterator[bytes]:
    """That many octets of the filling in base64, in whole lines of CRLF; some 80 KB at a time."""
    for index in range(-(-octets // _BLOCK)):
        piece = block(marker, index)[: octets - index * _BLOCK]
        yield base64.encodebytes(piece).replace(b"\n", b"\r\n")


def encoded_octets(octets: int) -> int:
    """How many octets `encoded` makes of so many."""
    lines, rest = divmod(octets, _LINE)
    return lines * _COLUMNS + (-(-rest // 3) * 4 + 2 if rest else 0)


def fitting(room: int) -> int | None:
    """How many octets of filling take exactly `room` octets encoded; None where none do."""
    lines, rest = divmod(room, _COLUMNS)
    if rest == 0:
        return lines * _LINE
    return lines * _LINE + (rest - 2) // 4 * 3 if rest >= 6 and (rest - 2) % 4 == 0 else None


class Filled:
    """Reads a message as it arrives, in pieces of any length, and compares the filling in it with what was sent.

    Afterwards: `octets` of the whole message; `intact`, `cut` (it ends early: after `same` octets), `changed` (it is another from
    there on) or `missing` by `state`.
    """

    def __init__(self, marker: str, expected: int) -> None:
        self.octets = 0
        self.same = 0
        self._marker, self._expected = marker, expected
        self._rest = b""
        self._step = "name"
        self._tries = 0
        self._differs = False
        self._index = -1
        self._block = b""

    @property
    def state(self) -> str:
        if self._differs:
            return "changed"
        if not self.same:
            return "missing"
        return "intact" if self.same == self._expected else "cut"

    def feed(self, octets: bytes) -> None:
        self.octets += len(octets)
        rest: bytes | None = octets
        while rest and self._step != "end":
            rest = {"name": self._name, "header": self._header, "content": self._content}[self._step](rest)

    def _name(self, octets: bytes) -> bytes | None:
        """What stands behind the attachment's name, where it is found."""
        self._rest = self._rest + octets
        at = self._rest.find(NAME.encode())
        if at < 0:
            self._rest = self._rest[-len(NAME) :]
            return None
        found, self._rest, self._step = self._rest[at:], b"", "header"
        return found

    def _header(self, octets: bytes) -> bytes | None:
        self._rest = self._rest + octets
        found = _BLANK_LINE.search(self._rest)
        if found is None:
            if len(self._rest) > _MOST_HEADER:
                self._again()
            return None
        content, self._rest, self._step = self._rest[found.end() :], b"", "content"
        return content

    def _content(self, octets: bytes) -> bytes | None:
        """Until the first octet that is none of base64's: the boundary behind it."""
        end = _BASE64.search(octets)
        letters = self._rest + (octets[: end.start()] if end else octets).translate(None, b"\r\n \t=")
        whole = len(letters) // 4 * 4 if end is None else len(letters)
        self._rest = letters[whole:]
        try:
            self._compare(binascii.a2b_base64(letters[:whole] + b"=" * (-whole % 4)))
        except binascii.Error:
            self._differs = True
        if end is None and not self._differs:
            return None
        if self.same:
            self._step = "end"
            return None
        # A text that only names the attachment, as of a filter that took it away.
        self._again()
        return octets[end.start() :] if end else None

    def _again(self) -> None:
        self._tries += 1
        self._rest, self._step, self._differs = b"", "name" if self._tries < _MOST_NAMES else "end", False

    def _compare(self, octets: bytes) -> None:
        start = 0
        while start < len(octets) and not self._differs:
            if self.same >= self._expected:
                self._differs = True
                return
            index, offset = divmod(self.same, _BLOCK)
            if index != self._index:
                self._index, self._block = index, block(self._marker, index)
            wanted = self._block[offset : offset + min(len(octets) - start, self._expected - self.same)]
            given = octets[start : start + len(wanted)]
            if given != wanted:
                self.same += next(at for at, (one, other) in enumerate(zip(given, wanted, strict=True)) if one != other)
                self._differs = True
                return
            self.same += len(wanted)
            start += len(wanted)
