"""How one hop took the message over: from whom, by which protocol, over which TLS, as its Received field says (RFC 5321, 4.4).

`with` names the protocol (RFC 3848, RFC 6531 section 4.3); TLS stands in comments, which each server writes in its own way:
Postfix (`using TLSv1.3 with cipher …`), Exim (`(TLS1.3) tls …`, `(TLS1.2:…:256)`), Exchange (`(version=TLS1_2, cipher=…)`),
Sendmail and Gmail (`(version=TLS1_3 cipher=…`).
"""

import re

from probe.plain import dataclass

_COMMENT = re.compile(r"\([^()]*\)")
_MOST_NESTED = 6
_FROM = re.compile(r"(?:^|\s)from\s+\[?([^\s;()\]]{1,255})")
_IP = re.compile(r"\[(?:IPv6:)?([0-9a-fA-F.:]{2,45})\]|\(([0-9a-fA-F]{0,4}(?:[.:][0-9a-fA-F]{0,4}){3,7})\)")
_BY = re.compile(r"\bby\s+([^\s;]+)")
_WITH = re.compile(r"\bwith\s+(Microsoft SMTP Server|[A-Za-z0-9]{2,20})\b")
_TLS = (
    re.compile(r"\busing (TLSv?[0-9._]{1,5}) with cipher ([A-Za-z0-9_-]{1,80})"),
    re.compile(r"\bversion=(TLSv?[0-9._]{1,5})[ ,]+cipher=([A-Za-z0-9_-]{1,80})"),
    re.compile(r"\((TLSv?[0-9._]{1,5})\) tls ([A-Za-z0-9_-]{1,80})"),
    re.compile(r"\((TLSv?[0-9._]{1,5}):([A-Za-z0-9_-]{1,80})"),
)
# RFC 3848 and RFC 6531: an S behind the protocol's name says that TLS was on. HTTPS is Exchange Online's, of mail from its web.
_SECURED = re.compile(r"(?:UTF8)?(?:E?SMTP|LMTP)SA?|HTTPS", re.IGNORECASE)
_LOOPBACK = re.compile(r"127\.|::1$|0{1,4}(?::0{1,4}){6}:0{0,3}1$")
# Not by the network, or the last step into the mailbox on the machine that has it (RFC 2033 section 5 keeps LMTP off wide areas).
_AT_HOME = re.compile(r"(?:UTF8)?LMTP|local|mapi|http|stdin|bsmtp|pipe|batch", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Carried:
    """`transport`: `tls`, `none` (over a network without it), or `local` (within one machine, or handed to its own mailbox store).
    Empty where the field does not say."""

    source: str = ""
    address: str = ""
    protocol: str = ""
    tls: str = ""
    cipher: str = ""
    transport: str = ""


def carried(words: str) -> Carried:
    """Read a Received field without its date, its blanks folded, cut to some thousand characters."""
    plain = words
    for _ in range(_MOST_NESTED):
        plain = _COMMENT.sub(" ", plain)
    front = words.partition(" by ")[0] if _FROM.search(words) else ""
    source, address, by = _named(_FROM, plain), _ip(front), _named(_BY, plain)
    protocol = _named(_WITH, plain)
    tls, cipher = next((found.groups() for each in _TLS if (found := each.search(words))), ("", ""))
    transport = _transport(source, address, by, protocol, bool(tls))
    return Carried(source, address, "SMTP" if " " in protocol else protocol.upper(), _version(tls), cipher, transport)


def _transport(source: str, address: str, by: str, protocol: str, tls: bool) -> str:
    if tls or _SECURED.fullmatch(protocol):
        return "tls"
    if not source or _LOOPBACK.match(address or source) or source.lower() in (by.lower(), "localhost"):
        return "local"
    return "local" if _AT_HOME.fullmatch(protocol) else "none"


def _named(pattern: re.Pattern[str], words: str) -> str:
    found = pattern.search(words)
    return found[1] if found and len(found[1]) <= 255 else ""


def _ip(words: str) -> str:
    found = _IP.search(words)
    return (found[1] or found[2]) if found else ""


def _version(written: str) -> str:
    """As TLS is called elsewhere in the facts: `TLS1_2`, `TLS1.2` and `TLSv1.2` are one."""
    number = written.upper().removeprefix("TLS").removeprefix("V").replace("_", ".").strip(".")
    return f"TLSv{number}" if number else ""
