"""The way of a message, from its Received fields (RFC 5321 section 4.4)."""

import re
from collections.abc import Sequence
from dataclasses import field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from probe.message.carried import Carried, carried
from probe.plain import dataclass

MOST_HOPS = 50


@dataclass(frozen=True, slots=True)
class Hop:
    """One Received field, oldest first; seconds since the hop before, negative on clock skew."""

    by: str
    at: str | None
    seconds: float | None
    # The build of an Exchange server, as its field gives it: `with Microsoft SMTP Server (…) id 15.1.2507.39`.
    exchange: str | None = None
    carried: Carried = field(default_factory=Carried)


def hops(header: Message) -> tuple[Hop, ...]:
    fields: Sequence[object] = header.get_all("Received") or ()
    found: list[Hop] = []
    before: datetime | None = None
    for one in list(reversed(fields))[:MOST_HOPS]:
        words, _, date = " ".join(str(one)[:4000].split()).rpartition(";")
        at = instant(date)
        seconds = (at - before).total_seconds() if at and before else None
        found.append(
            Hop(_by(words), at.isoformat().replace("+00:00", "Z") if at else None, seconds, _exchange(words), carried(words))
        )
        before = at or before
    return tuple(found)


def _by(words: str) -> str:
    found = re.search(r"\bby ([^\s;]+)", words)
    # Longer is no name (RFC 5321 section 4.5.3.1.2); one that is cut might end in half a secret.
    return found.group(1) if found and len(found.group(1)) <= 255 else ""


def _exchange(words: str) -> str | None:
    """Builds since Exchange 2013, whose fields all have this form."""
    found = re.search(r"\bwith Microsoft SMTP Server\b.{0,200}? id (15\.\d{1,2}\.\d{1,5}\.\d{1,5})\b", words)
    return found.group(1) if found else None


def instant(date: str) -> datetime | None:
    """A date as mail writes it (RFC 5322 section 3.3), in UTC; None for what is none."""
    try:
        parsed = parsedate_to_datetime(date.strip())
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
