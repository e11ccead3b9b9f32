"""What Exchange hides in its greetings."""

import base64
import binascii
import re

# At the end only, and up to 128: Exchange Online writes its whole name there (`….prod.outlook.com`), some 100 characters.
_NODE = re.compile(r"\[([A-Za-z0-9+/]{4,128}={0,2})\]\s*$")


def node(greeting: str) -> str | None:
    """The node's name at the end of an IMAP4 or POP3 greeting, in base64 over UTF-16LE; None where there is none.

    `The Microsoft Exchange IMAP4 service is ready. [RQBYADAAMQA=]` → `EX01`.
    """
    found = _NODE.search(greeting)
    if found is None:
        return None
    try:
        name = base64.b64decode(found[1], validate=True).decode("utf-16-le")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name if name and name.isascii() and name.isprintable() else None
