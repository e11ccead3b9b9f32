"""POP3 responses (RFC 1939, RFC 2449, RFC 5034), octets to values."""

import re
from dataclasses import field

from probe.plain import dataclass

MOST_LISTED = 200_000
# Some servers write a tab or a colon behind it; clients look at the first octets only.
_STATUS = re.compile(rb"(\+OK|-ERR)(?:[^A-Za-z0-9](.*))?", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"\[([A-Za-z0-9/-]+)\]")
# Strictly a msg-id in printable ASCII: looser ones let a false server get at the password by MD5 collisions (CVE-2007-1558).
_TIMESTAMP = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]+@[\x21-\x3b\x3d\x3f-\x7e]+>")


class Malformed(ValueError):
    """The octets are not a POP3 response; the text says why."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response: `ok` for +OK, the text behind it, and for a multi-line one its lines, dot-stuffing undone."""

    ok: bool
    text: str
    lines: tuple[bytes, ...] = field(default=())
    at: float = 0.0

    @property
    def code(self) -> str | None:
        """The response code (RFC 2449 section 8), upper case, such as `IN-USE` or `SYS/TEMP`."""
        found = _CODE.match(self.text)
        return found.group(1).upper() if found else None

    @property
    def line(self) -> str:
        return f"{'+OK' if self.ok else '-ERR'} {self.text}".rstrip()


def response(line: bytes) -> Response:
    """A response's first line. Raises Malformed."""
    found = _STATUS.fullmatch(line)
    if found is None:
        raise Malformed(f"not a POP3 response: {line.decode('utf-8', 'backslashreplace')!r}")
    return Response(found.group(1).upper() == b"+OK", (found.group(2) or b"").decode("utf-8", "backslashreplace"))


def unstuffed(line: bytes) -> bytes | None:
    """A line of a multi-line response with dot-stuffing undone (RFC 1939 section 3); None for the final dot."""
    if line == b".":
        return None
    return line[1:] if line.startswith(b".") else line


def capabilities(lines: tuple[bytes, ...]) -> dict[str, list[str]]:
    """CAPA's tags in upper case with their arguments."""
    found: dict[str, list[str]] = {}
    for line in lines[:200]:
        words = line.decode("ascii", "backslashreplace").split()
        if words:
            found[words[0].upper()] = words[1:]
    return found


def count(text: str) -> int:
    """The number of messages in a STAT response. Raises Malformed."""
    words = text.split()
    if not words or not words[0].isdigit() or len(words[0]) > 10:
        raise Malformed(f"not an answer to STAT: {text!r}")
    return int(words[0])


def timestamp(greeting: str) -> str | None:
    """The APOP timestamp in a greeting (RFC 1939 section 7), or None."""
    found = _TIMESTAMP.search(greeting)
    return found.group(0) if found else None
