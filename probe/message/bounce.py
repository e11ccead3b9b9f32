"""Reports about a message: delivery status notifications (RFC 3464) and what older mailers write in plain text."""

import re
from email.message import Message
from email.parser import HeaderParser

from probe.message.parts import MOST_TEXT, Letter, addresses, value
from probe.plain import dataclass

_ROBOTS = re.compile(r"(mailer-daemon|postmaster|mail-daemon|microsoftexchange[0-9a-f]{20,})(@|$)", re.IGNORECASE)
_SAID = re.compile(r"(?m)^.{0,300}?(?:\b[45][0-9]{2}[ -]|\b[45]\.[0-9]{1,3}\.[0-9]{1,3}\b).{0,300}$")
_STATUS = re.compile(r"\b([45]\.[0-9]{1,3}\.[0-9]{1,3})\b")
_NOT_YET = re.compile(r"\b(delayed|delay|warning|still being|retry|not yet|queued)\b", re.IGNORECASE)
MOST_GROUPS = 20
_MOST_STATUS = 20_000


@dataclass(frozen=True, slots=True)
class Bounce:
    """What a report says. `action` is RFC 3464's (`failed`, `delayed`, …); texts are one line each, bounded by the parser's
    limits and not cut any further: whoever shows them redacts first, then cuts."""

    action: str
    status: str = ""
    diagnostic: str = ""
    recipient: str = ""
    reporting: str = ""
    # Which server refused it, and when the reporting one had taken it (RFC 3464 sections 2.3.5 and 2.2.5).
    remote: str = ""
    arrived: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the message will not come (any more)."""
        return self.action == "failed"


def is_report(letter: Letter, sender: str) -> bool:
    """Whether a mail system wrote this, not a person nor ourselves: a report, an automatic answer, a null return path.

    `sender` is whom our own messages are from: a probe may well send as postmaster.
    RFC 3464 section 2, RFC 3834 section 5, RFC 5321 section 4.5.5.
    """
    header = letter.header
    if header.get_content_type() == "multipart/report" or value(header, "X-Failed-Recipients") or _has_null_path(header):
        return True
    if any(_ROBOTS.match(other) for other in addresses(header, "From") - {sender.lower()}):
        return True
    submitted = re.match(r"[a-z-]*", value(header, "Auto-Submitted").lower())
    # Our own message says auto-generated.
    return (submitted is not None and submitted[0] not in ("", "no", "auto-generated")) or bool(
        value(header, "X-Autoreply") or value(header, "X-Autorespond") or value(header, "Precedence").lower() == "auto_reply"
    )


def _has_null_path(header: Message) -> bool:
    return bool(re.fullmatch(r"<\s*>", value(header, "Return-Path")))


def bounce(letter: Letter) -> Bounce | None:
    """What a report says of the message; None for an answer that is no report of delivery."""
    for part in letter.parts:
        if part.kind in ("message/delivery-status", "message/global-delivery-status"):
            return _status_of(part.body)
    if letter.header.get_content_type() == "multipart/report" or not _is_of_mailer(letter.header):
        return None
    text = letter.texts("text/plain", 0) or letter.texts("text/html", 0)
    if len(text) >= MOST_TEXT:
        text = _whole_lines(text, MOST_TEXT)
    said = _SAID.search(text)
    status = _STATUS.search(said[0]) if said else None
    action = "delayed" if _NOT_YET.search(value(letter.header, "Subject")) else "failed"
    return Bounce(action, status[1] if status else "", _line(said[0] if said else ""), "", "")


def _is_of_mailer(header: Message) -> bool:
    robots = any(_ROBOTS.match(sender) for sender in addresses(header, "From"))
    return robots or bool(value(header, "X-Failed-Recipients")) or _has_null_path(header)


def _status_of(body: bytes) -> Bounce:
    """The fields of the first recipient that failed, else of the first (RFC 3464 section 2.3)."""
    groups = re.split(r"\r?\n\r?\n", _whole_lines(body.decode("utf-8", "replace"), _MOST_STATUS).strip())[:MOST_GROUPS]
    fields = [HeaderParser().parsestr(group) for group in groups]
    reporting = next((_typed(value(each, "Reporting-MTA")) for each in fields if each.get("Reporting-MTA")), "")
    arrived = next((value(each, "Arrival-Date") for each in fields if each.get("Arrival-Date")), "")
    recipients = [each for each in fields if each.get("Action") or each.get("Final-Recipient")]
    if not recipients:
        return Bounce("failed", reporting=_line(reporting), arrived=_line(arrived))
    first = next((each for each in recipients if value(each, "Action").lower() == "failed"), recipients[0])
    return Bounce(
        action=value(first, "Action").lower() or "failed",
        status=_line(value(first, "Status")),
        diagnostic=_line(_typed(value(first, "Diagnostic-Code"))),
        recipient=_line(_typed(value(first, "Final-Recipient"))),
        reporting=_line(reporting),
        remote=_line(_typed(value(first, "Remote-MTA"))),
        arrived=_line(arrived),
    )


def _whole_lines(text: str, most: int) -> str:
    """At most so many characters, and no line cut in its midst: half a secret would not be known for one."""
    return text if len(text) < most else text[:most].rpartition("\n")[0]


def _typed(text: str) -> str:
    """The value behind its type: `rfc822; a@b.c`, `smtp; 550 …` (RFC 3464 section 2.1.2)."""
    return text.partition(";")[2].strip() if ";" in text else text


def _line(text: str) -> str:
    return " ".join(text.split())
