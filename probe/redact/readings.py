"""The ways in which a text may be meant: as it stands, unescaped (URL, HTML, JSON, quoted-printable), out of base64 or hex.

Each reading keeps for every octet where in the text it came from. Their number is bounded, whatever the text.
"""

import binascii
import html
import re
from collections.abc import Callable, Iterator, Sequence

from probe.plain import dataclass

# A text may be escaped twice (HTML around a URL); more often only by somebody who wants to keep us busy.
_DEPTH = 2
_MOST = 12
_RUN = re.compile(rb"[a-z0-9+/_-]{8,}", re.IGNORECASE)
_HEX = re.compile(rb"[0-9a-f]{2}(?:[ :-]?[0-9a-f]{2}){3,}", re.IGNORECASE)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
# With NUL and 0x01: PLAIN (RFC 4616) and the OAuth mechanisms (RFC 7628) put them between their fields.
_PRINTABLE = frozenset(range(32, 127)) | {0, 1, 9, 10, 13}


@dataclass(frozen=True, slots=True)
class _Raw:
    """Octets, and where each begins and ends in the text."""

    octets: bytes
    starts: Sequence[int]
    ends: Sequence[int]


class Reading:
    """One way to read a text: `octets`, ASCII letters in lower case. Made by the hundred: the rest is worked out when asked for."""

    __slots__ = ("_base", "_raw", "_taken", "octets")

    def __init__(self, octets: bytes, raw: _Raw, base: int = 0, taken: Sequence[int] | None = None) -> None:
        # `taken`: where in `raw` each digit of hex stands; empty for base64, which begins at `base`; None for octets as they are.
        self.octets, self._raw, self._base, self._taken = octets.lower(), raw, base, taken

    @property
    def is_text(self) -> bool:
        """Whether the octets look like text: as they are, they do; decoded ones may be anything."""
        return self._taken is None or _PRINTABLE.issuperset(self.octets[:64])

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where octets start to end stand in the text. Characters that an octet only shares (base64) belong to it too."""
        if self._taken is None:
            first, last = start, end - 1
        elif self._taken:
            first, last = self._taken[2 * start], self._taken[2 * end - 1]
        else:
            first, last = self._base + start * 4 // 3, self._base - (-end * 4 // 3) - 1
        return self._raw.starts[first], self._raw.ends[last]


def readings(text: str, *, spaced: bool = False) -> Iterator[Reading]:
    """Every way to read the text. `spaced`: `+` may stand for a space."""
    for raw in _unescaped(_as_it_is(text), spaced):
        yield Reading(raw.octets, raw)
        yield from _from_base64(raw)
        yield from _from_hex(raw)


def _as_it_is(text: str) -> _Raw:
    if text.isascii():
        return _Raw(text.encode(), range(len(text)), range(1, len(text) + 1))
    pieces = [one.encode("utf-8", "surrogatepass") for one in text]
    starts = [at for at, piece in enumerate(pieces) for _ in piece]
    return _Raw(b"".join(pieces), starts, [at + 1 for at in starts])


def _unescaped(raw: _Raw, spaced: bool) -> list[_Raw]:
    """The octets as they are and with escapes undone, one kind after the other, up to _DEPTH deep."""
    kinds = [*_KINDS, _PLUS] if spaced else _KINDS
    found, seen, edge = [raw], {raw.octets}, [raw]
    for _ in range(_DEPTH):
        fresh = [made for item in edge for kind in kinds if (made := _undone(item, kind)) is not None]
        edge = []
        for item in fresh:
            if item.octets not in seen and len(found) < _MOST:
                seen.add(item.octets)
                found.append(item)
                edge.append(item)
    return found


Kind = tuple[bytes, re.Pattern[bytes], Callable[[bytes], bytes]]


def _undone(raw: _Raw, kind: Kind) -> _Raw | None:
    sign, pattern, meaning = kind
    if sign not in raw.octets:
        return None
    parts: list[bytes] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for found in pattern.finditer(raw.octets):
        begin, end = found.span()
        made = meaning(found.group())
        parts += [raw.octets[at:begin], made]
        starts += [*raw.starts[at:begin], *[raw.starts[begin]] * len(made)]
        ends += [*raw.ends[at:begin], *[raw.ends[end - 1]] * len(made)]
        at = end
    if not parts:
        return None
    return _Raw(b"".join([*parts, raw.octets[at:]]), [*starts, *raw.starts[at:]], [*ends, *raw.ends[at:]])


def _character(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass") if number <= 0x10FFFF else b""


def _of_percent(escape: bytes) -> bytes:
    return _character(int(escape[2:], 16)) if escape[1:2] in b"uU" else bytes([int(escape[1:], 16)])


def _of_html(entity: bytes) -> bytes:
    return html.unescape(entity.decode()).encode("utf-8", "surrogatepass")


_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def _of_backslash(escape: bytes) -> bytes:
    body = escape[1:]
    if body[:1] == b"u" and len(escape) == 12:
        # JSON writes what is beyond the BMP as two surrogates (RFC 8259 section 7).
        high, low = int(escape[2:6], 16), int(escape[8:12], 16)
        return _character(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    if body[:1] in b"uU" and len(body) > 1:
        return _character(int(body[1:].strip(b"{}"), 16))
    if body[:1] in b"xX" and len(body) == 3:
        return bytes([int(body[1:], 16)])
    if len(body) == 3:
        return bytes([int(body, 8) & 255])
    return _NAMED.get(body, body)


def _of_equals(escape: bytes) -> bytes:
    return b"" if escape[1:].isspace() else bytes([int(escape[1:], 16)])


_KINDS: list[Kind] = [
    # `%uXXXX` is no URL's, but JavaScript's escape() makes it (ECMAScript, annex B).
    (b"%", re.compile(rb"%u[0-9a-f]{4}|%[0-9a-f]{2}", re.IGNORECASE), _of_percent),
    (b"&", re.compile(rb"&(?:#x[0-9a-f]{1,6};?|#[0-9]{1,7};?|[a-z][a-z0-9]{1,30};?)", re.IGNORECASE), _of_html),
    (
        b"\\",
        re.compile(
            rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]{1,6}\}"
            rb"|\\U[0-9a-fA-F]{8}|\\[xX][0-9a-fA-F]{2}|\\[0-7]{3}|\\[^a-zA-Z0-9]|\\[nrtbf]"
        ),
        _of_backslash,
    ),
    (b"=", re.compile(rb"=[0-9a-f]{2}|=\r?\n", re.IGNORECASE), _of_equals),
]
_PLUS: Kind = (b"+", re.compile(rb"\+"), lambda _: b" ")


def _from_base64(raw: _Raw) -> Iterator[Reading]:
    """Every run that may be base64 (RFC 4648, both alphabets), from each of the four places where a group may begin."""
    for found in _RUN.finditer(raw.octets):
        run = found.group().translate(_URL_SAFE) + b"AAA"
        length = len(run) - 3
        for shift in range(4):
            # Filled up to whole groups, and what the filling made is dropped.
            octets = binascii.a2b_base64(run[shift : length + (shift - length) % 4])
            yield Reading(octets[: (length - shift) * 3 // 4], raw, found.start() + shift, ())


def _from_hex(raw: _Raw) -> Iterator[Reading]:
    """Every run of hexadecimal digits, with or without one sign between the octets, from either digit."""
    for found in _HEX.finditer(raw.octets):
        places = [found.start() + at for at, one in enumerate(found.group()) if one not in b" :-"]
        digits = bytes(raw.octets[at] for at in places)
        for shift in (0, 1):
            half = (len(digits) - shift) // 2
            yield Reading(binascii.unhexlify(digits[shift : shift + half * 2]), raw, 0, places[shift:])
