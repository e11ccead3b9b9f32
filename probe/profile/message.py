"""`[message]`: who writes to whom, how large the message is, and what it links to."""

import re
from typing import Annotated

from probe.profile.kinds import Kind, wanted
from probe.profile.table import Table
from probe.profile.values import Address

SIZE = 'a size such as "10M" or "500K" (from 4K to 150M; K and M count by 1024), or a number of octets'
# A marked message with a filling has some 2 KiB; Exchange Online takes 150 MB (learn.microsoft.com, "Exchange Online limits").
LEAST, MOST = 4096, 150 * 1024 * 1024
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SIZE = re.compile(r"(\d{1,10})\s*(?:([KMG]?)(?:I?B)?)", re.IGNORECASE)


def size(value: object) -> int:
    """Octets of "25M", "500K", "10MB" or a number; each unit 1024 of the one below, as mail servers count."""
    number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
    text = str(value) if number or isinstance(value, str) else ""
    found = _SIZE.fullmatch(text.strip())
    octets = int(found[1]) * _UNITS[found[2].upper()] if found else 0
    if not LEAST <= octets <= MOST:
        raise wanted(SIZE, value)
    return octets


_MOST_OF_LINK = 200
LINK = 'an address such as "https://www.contoso.com/" (http or https, 200 characters of ASCII at most, no blank, no user\'s name)'
# Spelt without flags, since it is the JSON Schema's too; not what ends an address in a text: quotation marks, < and >.
_LINK = re.compile(
    r"^[Hh][Tt][Tt][Pp][Ss]?://(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
    r"(?:[/?#][!#-;=?-\[\]-~]*)?$"
)


def link(value: object) -> str:
    """An address for the text, in ASCII: what a rewriter makes of it is compared with it."""
    if not isinstance(value, str) or len(value) > _MOST_OF_LINK or not _LINK.fullmatch(value):
        raise wanted(LINK, value)
    return value


_SCHEMA = {
    "description": SIZE[0].upper() + SIZE[1:] + ".",
    "anyOf": [
        {"type": "string", "pattern": r"^\d+\s*([KkMmGg]?([Ii]?[Bb])?)$"},
        {"type": "integer", "minimum": LEAST, "maximum": MOST},
    ],
}
Size = Annotated[int, Kind(size, _SCHEMA)]
_LINK_SCHEMA = {
    "description": LINK[0].upper() + LINK[1:] + ".",
    "type": "string",
    "maxLength": _MOST_OF_LINK,
    "pattern": _LINK.pattern,
}
Link = Annotated[str, Kind(link, _LINK_SCHEMA)]


class Message(Table):
    """The envelope, where each address defaults to the account's, the size, and a link."""

    sender: Address | None = None
    recipient: Address | None = None
    size: Size | None = None
    """The whole message's size, such as "25M": the rest is an attachment. Default: the marked text alone, some 1.5 KiB."""
    link: Link | None = None
    """An address, such as "https://www.contoso.com/", that the text then links to: shows whether a filter rewrites links."""
