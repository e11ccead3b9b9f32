"""Where the receiving side begins: what stands above its oldest Received field it wrote itself, what stands below came from
outside.

Every server writes on top. The topmost Received field is the last server's own; the ones below belong to the receiving side as
long as their hosts do: of one domain, named in the profile, or handing over within themselves (Gmail's `Received: by … with SMTP
id …`, without `from`). RFC 8601 section 5 asks the receiving side to remove results that carry its name and come from outside;
this does not rely on it.
"""

import re
from collections.abc import Sequence

from probe.message.evidence.alignment import same_house
from probe.message.evidence.header import Delivered, Field
from probe.message.received import MOST_HOPS
from probe.plain import dataclass

# LMTP goes from a server to its own mailboxes (RFC 2033), by whatever name their machine has.
_LOCALLY = re.compile(r"\bwith (?:UTF8)?LMTPS?A?\b", re.IGNORECASE)
_BY = re.compile(r"\bby ([^\s;()]{1,255})")


@dataclass(frozen=True, slots=True)
class Border:
    """`inside`: the fields that the receiving side may have written; `hosts`: its servers, the last first."""

    inside: tuple[Field, ...]
    outside: tuple[Field, ...]
    hosts: tuple[str, ...]


def border(message: Delivered, trusted: Sequence[str]) -> Border:
    """`trusted`: names that the profile trusts."""
    hosts: list[str] = []
    handed_over = True
    for at, field in enumerate(message.fields):
        if field.name != "received":
            continue
        text = field.text if len(hosts) < MOST_HOPS else ""
        found = _BY.search(text)
        host = found[1].lower() if found else ""
        if not text or (not handed_over and not any(same_house(host, other) for other in (*hosts, *trusted))):
            return Border(message.fields[:at], message.fields[at:], tuple(hosts))
        hosts.append(host)
        handed_over = text.lower().startswith("by ") or bool(_LOCALLY.search(text))
    return Border(message.fields, (), tuple(hosts))


def is_trusted(identity: str, found: Border, trusted: Sequence[str]) -> bool:
    """Whether results under this authserv-id count: it is one of the profile's where that names any; else it belongs to a server
    of the receiving side. Exchange Online writes none, which is then taken for its own."""
    if trusted:
        return identity.lower() in {name.lower() for name in trusted}
    return not identity or any(same_house(identity, host) for host in found.hosts)
