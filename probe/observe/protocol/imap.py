"""IMAP4 responses and arguments (RFC 3501, RFC 9051), octets to values.

imapclient's response parser does the parsing, behind a guard: on hostile input it raises half a dozen kinds of
exception, recurses without bound, and takes seconds for megabytes. Size, depth and kind are checked first, and whatever
it raises becomes Malformed.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import field

from probe.facts.parts import Quota
from probe.plain import dataclass

# Eight times what is asked for of a message (`BODY.PEEK[]<0.262144>`): a server that ignores the part is still read.
MOST_LITERAL = 2 * 1024 * 1024
# Mailbox names, where they come as literals.
MOST_NAME = 4_096
# imapclient's parser calls itself once a bracket; the FETCH items asked for here nest two deep.
MOST_DEPTH = 20
MOST_PARTS = 64

# A response as imaplib and imapclient know it: octets, or (octets that end in {n}, the n octets).
Part = bytes | tuple[bytes, bytes]

# The `+` is a client's alone (RFC 7888 section 3); a server that sends it all the same means a literal.
_LITERAL = re.compile(rb"\{(\d{1,12})\+?\}$")
# RFC 3501 section 9 (resp-text) wants a text behind the status; some servers send none.
_TAGGED = re.compile(rb"([A-Za-z0-9]+) (OK|NO|BAD)(?: (.*))?", re.IGNORECASE | re.DOTALL)
_UNTAGGED = re.compile(rb"\* (?:(\d{1,10}) )?([A-Za-z][A-Za-z0-9.-]*)(?: (.*))?", re.DOTALL)
_CODE = re.compile(r"\[([A-Za-z0-9.-]+)(?: ([^\]]*))?\]")

_SET = re.compile(r"\d{1,10}(:\d{1,10})?(,\d{1,10}(:\d{1,10})?)*")
# Behind the attributes: the separator, and the name as a quoted string or an atom.
_LISTED = re.compile(r'(?:"[^"]*"|NIL)\s+(?:"((?:[^"\\]|\\.)*)"|([^"\s]+))', re.IGNORECASE)
_NAMES = frozenset({b"LIST", b"LSUB", b"STATUS"})
_TEXTS = frozenset({b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"})


class Malformed(ValueError):
    """The octets are not what IMAP4 allows here; the text says why."""


@dataclass(frozen=True, slots=True)
class Untagged:
    """`* 23 FETCH (...)`: number 23, kind FETCH; `* OK [UIDNEXT 5] …`: kind OK, its text in `text`."""

    kind: str
    number: int | None
    text: str
    parts: tuple[Part, ...] = ()

    @property
    def code(self) -> tuple[str, str] | None:
        """The response code (RFC 3501 section 7.1), as (NAME, argument), or None."""
        return response_code(self.text)

    @property
    def octets(self) -> int:
        """How much memory its texts and literals take; characters may take four times as much as their octets did."""
        parts = [octets for part in self.parts for octets in (part if isinstance(part, tuple) else (part,))]
        return sys.getsizeof(self.text) + sum(map(len, parts))


@dataclass(frozen=True, slots=True)
class Answer:
    """A command's completion with the untagged responses that came before it. `at` is seconds since the run began."""

    status: str
    text: str
    untagged: tuple[Untagged, ...] = field(default=())
    at: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status == "OK"

    @property
    def code(self) -> tuple[str, str] | None:
        return response_code(self.text)

    def of(self, kind: str) -> list[Untagged]:
        """The untagged responses of that kind."""
        return [item for item in self.untagged if item.kind == kind]

    def coded(self, name: str) -> str | None:
        """The argument of a response code by that name, wherever in this answer it came."""
        codes = [*(item.code for item in self.untagged), self.code]
        return next((code[1] for code in codes if code and code[0] == name), None)


def response_code(text: str) -> tuple[str, str] | None:
    found = _CODE.match(text)
    return (found.group(1).upper(), found.group(2) or "") if found else None


def literal_octets(line: bytes) -> int | None:
    """How many octets of literal follow this line, or None. Raises Malformed when more than MOST_LITERAL."""
    found = _LITERAL.search(line)
    if found is None:
        return None
    octets = int(found.group(1))
    if octets > MOST_LITERAL:
        raise Malformed(f"a literal of {octets} octets is announced, more than the {MOST_LITERAL} that are read")
    return octets


def most_of_literal(line: bytes) -> int | None:
    """How many octets a literal may have in the response that begins with this line; None where `{5}` is mere text.

    RFC 3501 section 9: `resp-text` has no literals, and of what is asked for here only messages and mailbox names may be some.
    """
    found = _UNTAGGED.fullmatch(line)
    kind = found.group(2).upper() if found else b"OK"
    return MOST_LITERAL if kind == b"FETCH" else MOST_NAME if kind in _NAMES else None if kind in _TEXTS else 0


def tagged(line: bytes) -> tuple[str, str, str] | None:
    """(tag, OK|NO|BAD, text) of a completion, or None when the line is none."""
    found = _TAGGED.fullmatch(line)
    if found is None:
        return None
    return found.group(1).decode(), found.group(2).decode().upper(), text_of(found.group(3) or b"")


def untagged(parts: Sequence[Part]) -> Untagged:
    """An untagged response. Raises Malformed."""
    first = parts[0][0] if isinstance(parts[0], tuple) else parts[0]
    found = _UNTAGGED.fullmatch(first)
    if found is None:
        raise Malformed(f"not an IMAP4 response: {text_of(first)!r}")
    number, kind, rest = found.groups()
    head: Part = (rest or b"", parts[0][1]) if isinstance(parts[0], tuple) else rest or b""
    return Untagged(kind.decode().upper(), int(number) if number else None, text_of(rest or b""), (head, *parts[1:]))


def text_of(octets: bytes) -> str:
    # RFC 3501 section 9 has US-ASCII, RFC 9051 UTF-8; some servers send Latin-1: shown, never refused.
    return octets.decode("utf-8", "backslashreplace")


def capabilities(items: Sequence[Untagged], answer_text: str = "") -> list[str] | None:
    """Capabilities, upper case, from an untagged CAPABILITY or a [CAPABILITY …] code; None when none was given."""
    listed = [item.text for item in items if item.kind == "CAPABILITY"]
    listed = listed or [item.code[1] for item in items if item.code and item.code[0] == "CAPABILITY"]
    code = response_code(answer_text)
    listed = listed or ([code[1]] if code and code[0] == "CAPABILITY" else [])
    # Several responses to one command count together; a word given twice counts once.
    return list(dict.fromkeys(word for text in listed for word in text.upper().split())) if listed else None


def fetched(item: Untagged) -> dict[str, object]:
    """The attributes of one FETCH response, by upper-case name; `BODY[…]` items are octets.

    Raises Malformed on anything else.
    """
    _guard(item.parts)
    from imapclient.response_parser import parse_response

    try:
        parsed = parse_response(list(item.parts))
        attributes = parsed[0]
        if len(parsed) != 1 or not isinstance(attributes, tuple) or len(attributes) % 2:
            raise Malformed("a FETCH response that is not one list of pairs")
        return {_name(attributes[i]): attributes[i + 1] for i in range(0, len(attributes), 2)}
    except Malformed:
        raise
    except Exception as error:
        # imapclient's parser answers bad input with many kinds of exception: AttributeError, TypeError, IndexError …
        raise Malformed(f"a FETCH response that cannot be read ({type(error).__name__})") from None


def _name(atom: object) -> str:
    if not isinstance(atom, bytes):
        raise Malformed("a FETCH attribute without a name")
    return atom.decode("ascii", "replace").upper()


def _guard(parts: Sequence[Part]) -> None:
    """Size and depth, before a recursive parser sees them."""
    if len(parts) > MOST_PARTS:
        raise Malformed(f"a response with more than {MOST_PARTS} literals")
    depth = 0
    for part in parts:
        head = part[0] if isinstance(part, tuple) else part
        for octet in head:
            depth += (octet == 0x28) - (octet == 0x29)
            if depth > MOST_DEPTH:
                raise Malformed(f"brackets nested more than {MOST_DEPTH} deep")


def octets_of(value: object) -> bytes | None:
    """A FETCH value that should be octets: a string, a literal, or an atom that the parser took for a number."""
    if isinstance(value, bytes):
        return value
    return str(value).encode() if isinstance(value, int) else None


def search_numbers(item: Untagged, most: int = 1000) -> list[int]:
    """The numbers of a SEARCH response, the newest `most`. Raises Malformed when they are no numbers.

    Servers with CONDSTORE may add `(MODSEQ n)` (RFC 7162 section 3.1.5).
    """
    words = item.text.partition("(")[0].split()[-most:]
    if not all(word.isdigit() and len(word) <= 10 for word in words):
        raise Malformed("a SEARCH response with something else than numbers")
    return [int(word) for word in words]


def hits(answer: Answer, most: int = 1000) -> list[int]:
    """The UIDs of a UID SEARCH, the newest `most`; none where it was refused. Raises Malformed.

    A server with ESEARCH (RFC 4731) or IMAP4rev2 may say them as a set: `* ESEARCH (TAG "A1") UID ALL 2,10:11`.
    """
    if not answer.ok:
        return []
    found = [uid for item in answer.of("SEARCH") for uid in search_numbers(item, most)]
    for item in answer.of("ESEARCH"):
        words = item.text.split()
        sets = [words[index + 1] for index, word in enumerate(words[:-1]) if word.upper() == "ALL"]
        found += [uid for text in sets for uid in _of_set(text, most)]
    return found


def _of_set(text: str, most: int) -> list[int]:
    if not _SET.fullmatch(text):
        raise Malformed("an ESEARCH response with something else than a set of numbers")
    found: list[int] = []
    for part in text.split(",")[-most:]:
        first, _, last = part.partition(":")
        low, high = sorted((int(first), int(last or first)))
        found += range(max(low, high - most + 1), high + 1)
    return found[-most:]


def listed(item: Untagged) -> str | None:
    """The name of a LIST response's mailbox; None for one that cannot be selected, or is no name that we could write."""
    attributes, _, rest = item.text.partition(")")
    if any(word in attributes.upper() for word in ("NOSELECT", "NONEXISTENT")):
        return None
    literal = next((part[1] for part in item.parts if isinstance(part, tuple)), None)
    found = _LISTED.fullmatch(rest.strip())
    name = text_of(literal) if literal is not None else (found.group(1) or found.group(2)) if found else None
    if name is None:
        return None
    name = re.sub(r"\\(.)", r"\1", name) if literal is None and found and found.group(1) is not None else name
    from imapclient.imap_utf7 import decode

    try:
        decoded = str(decode(name.encode("ascii")))
        mailbox(decoded)
    except (UnicodeError, ValueError, Malformed):
        return None
    return decoded


def quoted(text: str) -> str:
    """A quoted string argument (RFC 3501 section 4.3). Raises Malformed for what needs a literal."""
    # QUOTED-CHAR has no 8-bit octets, CR or LF (RFC 3501 section 9): a line end here would begin a command of its own.
    if not text.isascii() or any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Malformed("text that cannot stand in a quoted string")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def mailbox(name: str) -> str:
    """A mailbox name as an argument: modified UTF-7 (RFC 3501 section 5.1.3), quoted."""
    from imapclient.imap_utf7 import encode

    return quoted(encode(name).decode("ascii"))


@dataclass(frozen=True, slots=True)
class Room:
    """How much lies in a mailbox, and what its quota allows (RFC 9208): by resource, (used, limit)."""

    messages: int | None = None
    quota: Mapping[str, Quota] = field(default_factory=dict)


# The quota root, an astring, and behind it the resources.
_QUOTA = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\S*)\s*\(([^()]*)\)')


def room(selected: Answer, asked: Answer) -> Room:
    """What SELECT and GETQUOTAROOT showed. Of several roots the fullest counts for each resource."""
    quota: dict[str, Quota] = {}
    for item in asked.of("QUOTA"):
        found = _QUOTA.match(item.text)
        words = found[1].split() if found else []
        for name, used, limit in zip(words[::3], words[1::3], words[2::3], strict=False):
            if _is_number(used) and _is_number(limit) and int(limit) > 0:
                one = Quota(used=int(used), limit=int(limit))
                before = quota.get(name.upper())
                if before is None or one["used"] * before["limit"] > before["used"] * one["limit"]:
                    quota[name.upper()] = one
    return Room(exists(selected), quota)


def expunging(uids: str) -> list[str]:
    """The commands that delete exactly these messages (RFC 4315 section 2.1)."""
    return [f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {uids}"]


def exists(selected: Answer) -> int | None:
    """How many messages a SELECT showed (RFC 3501 section 7.3.1): the last of several, which can only be more."""
    return max((item.number or 0 for item in selected.of("EXISTS")), default=None)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
