"""FETCH items and SEARCH keys (RFC 3501 sections 6.4.4, 6.4.5) on stored messages."""

import re
from datetime import datetime
from email.parser import BytesHeaderParser

from probe.sandbox.imap_parse import Argument, BadSyntax, numbers, text_of, within
from probe.sandbox.mailbox import StoredMessage

_BODY = re.compile(r"BODY(?:\.PEEK)?\[([^\]]*)\](?:<(\d+)\.(\d+)>)?", re.IGNORECASE)
_FIELDS = re.compile(r"HEADER\.FIELDS \(([^)]*)\)", re.IGNORECASE)
_MACROS = {"ALL": ["FLAGS", "INTERNALDATE", "RFC822.SIZE"], "FAST": ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]}


def items_of(argument: Argument) -> list[str]:
    """The items a FETCH names. `BODY[HEADER.FIELDS (A B)]` is one atom for the parser as it is for the grammar."""
    if isinstance(argument, list):
        return [text_of(item) for item in argument]
    text = text_of(argument)
    return _MACROS.get(text.upper(), [text])


def fetched(message: StoredMessage, item: str, size: int) -> bytes:
    """One item's name and value as they go out; `size` is what RFC822.SIZE says. Raises BadSyntax for an item there is not."""
    name = item.upper()
    simple = {
        "UID": f"UID {message.uid}",
        "FLAGS": f"FLAGS ({' '.join(sorted(message.flags))})",
        "RFC822.SIZE": f"RFC822.SIZE {size}",
        "INTERNALDATE": f'INTERNALDATE "{message.received:%d-%b-%Y %H:%M:%S +0000}"',
    }
    if name in simple:
        return simple[name].encode()
    if name in ("RFC822", "RFC822.HEADER"):
        return _literal(name, message.raw if name == "RFC822" else _header(message.raw))
    found = _BODY.fullmatch(item)
    if found is None:
        raise BadSyntax(f"no such item: {item}")
    section, offset, most = found.groups()
    octets = _section(message.raw, section)
    shown = f"BODY[{section}]"
    if offset is not None:
        octets = octets[int(offset) : int(offset) + int(most)]
        shown += f"<{offset}>"
    return _literal(shown, octets)


def marks_seen(item: str) -> bool:
    """Whether fetching this item sets \\Seen."""
    return bool(re.match(r"BODY\[|RFC822$", item, re.IGNORECASE))


def _literal(name: str, octets: bytes) -> bytes:
    return name.encode() + b" {%d}\r\n" % len(octets) + octets


def _header(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _section(raw: bytes, section: str) -> bytes:
    wanted = section.upper()
    if wanted == "":
        return raw
    if wanted == "HEADER":
        return _header(raw)
    if wanted in ("TEXT", "1"):
        return raw.partition(b"\r\n\r\n")[2]
    found = _FIELDS.fullmatch(section)
    if found is None:
        raise BadSyntax(f"no such section: {section}")
    names = {name.strip('"').lower() for name in found.group(1).split()}
    # A field goes with its continuation lines.
    fields = re.split(rb"\r\n(?![ \t])", raw.partition(b"\r\n\r\n")[0])
    kept = [field for field in fields if field.partition(b":")[0].decode("ascii", "replace").lower() in names]
    return b"".join(field + b"\r\n" for field in kept) + b"\r\n"


def matches(message: StoredMessage, number: int, keys: list[Argument], greatest: tuple[int, int]) -> bool:
    """Whether a message matches all SEARCH keys. `greatest` is (highest number, highest UID). Raises BadSyntax."""
    waiting = list(keys)
    result = True
    while waiting:
        result = _one(message, number, waiting, greatest) and result
    return result


def _one(message: StoredMessage, number: int, waiting: list[Argument], greatest: tuple[int, int]) -> bool:
    """Take one key, with its arguments, off the list."""
    key = waiting.pop(0)
    if isinstance(key, list):
        return matches(message, number, key, greatest)
    name = text_of(key).upper()
    if name == "NOT":
        return not _one(message, number, waiting, greatest)
    if name == "OR":
        first = _one(message, number, waiting, greatest)
        return _one(message, number, waiting, greatest) or first
    flags = {"SEEN": "\\Seen", "DELETED": "\\Deleted", "FLAGGED": "\\Flagged", "ANSWERED": "\\Answered"}
    if name.removeprefix("UN") in flags:
        return (flags[name.removeprefix("UN")] in message.flags) != name.startswith("UN")
    if name == "ALL":
        return True
    if name in ("UID", "HEADER", "SUBJECT", "FROM", "TEXT", "BODY", "SINCE", "BEFORE"):
        return _with_argument(name, message, waiting, greatest)
    return within(number, numbers(name, greatest[0]))


def _with_argument(name: str, message: StoredMessage, waiting: list[Argument], greatest: tuple[int, int]) -> bool:
    count = 2 if name == "HEADER" else 1
    if len(waiting) < count:
        raise BadSyntax(f"{name} needs {count} argument(s)")
    arguments = [text_of(waiting.pop(0)) for _ in range(count)]
    if name == "UID":
        return within(message.uid, numbers(arguments[0], greatest[1]))
    if name in ("SINCE", "BEFORE"):
        day = _date(arguments[0])
        return (message.received.date() >= day.date()) == (name == "SINCE")
    if name in ("TEXT", "BODY"):
        return arguments[0].lower() in message.raw.decode("utf-8", "replace").lower()
    field = arguments[0] if name == "HEADER" else name
    values = BytesHeaderParser().parsebytes(message.raw).get_all(field) or []
    return any(arguments[-1].lower() in str(value).lower() for value in values)


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%d-%b-%Y")
    except ValueError:
        raise BadSyntax(f"not a date: {text}") from None
