"""SMTP replies and commands (RFC 5321 section 4.2, RFC 2034, RFC 4954), octets to values."""

import re
from collections.abc import Mapping, Sequence

from probe.plain import dataclass

# Lines of one reply. Real ones have up to about 40; RFC 5321 section 4.5.3.1 gives no limit. More than MOST_LINES is no
# reply; behind ENDLESS_LINES nobody waits for its end any more.
MOST_LINES = 500
ENDLESS_LINES = 5_000
# Of all of a reply's lines; RFC 5321 section 4.5.3.1.5 gives each 512.
MOST_OCTETS = 1024 * 1024
# Of LIMITS: RFC 9422 defines three.
_MOST_LIMITS = 20
# The code alone, without a text, is a whole line (RFC 5321 section 4.2); none begins with 1.
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
# class.subject.detail; the class is 2, 4 or 5 (RFC 3463 section 2).
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")
# How servers name the message in their final reply; the first that holds is taken. An id has a digit in it or is long.
_ID = r"([A-Za-z0-9](?=[^\s<>()\[\],;]*\d|[^\s<>()\[\],;]{7})[^\s<>()\[\];]{0,199})"
_QUEUED = tuple(
    re.compile(pattern.replace("ID", _ID), re.IGNORECASE)
    for pattern in (
        r"<([^<>\s]{1,200})> \[InternalId=",  # Exchange
        r"queued (?:on \S+ )?as <?ID",  # Postfix, Zimbra, SendGrid, Yandex, NetEase
        r"queued \(([0-9a-f-]{20,60}(?:\.\d+)?)\)",  # Haraka; hMailServer has its seconds there
        r"\bid=<?ID",  # Exim, GMX, Mail.ru
        r"\bok +(?:dmarc:\S+ )?\d{9,} (\S+) - gsmtp",  # Gmail
        r"\bqp (\d+)",  # qmail, and its kin
        r"<message-id: ?([^<>\s]{1,200})>",  # MDaemon
        r"^(?:2\.\d\.\d:? )?ID message accepted",  # Sendmail, OpenSMTPD, Proofpoint, CommuniGate
        r"\bmessage (\d+) accepted",  # IronPort
        r"\b(?:message|envelope|queue|mail)?\W{0,2}\b(?:q?id)\b[:= ]+<?ID",  # Oracle, MailEnable, Stalwart
        r"(?:accepted|received): <?ID",
        r"^(?:2\.\d\.\d )?ok[:,.]? +<?ID",  # SES, Courier, MDaemon's relay
        r"\[ID\]\W*$",  # Mimecast
    )
)
_HOSTNAME = re.compile(r"Hostname=([A-Za-z0-9._-]{1,255})")


class Malformed(ValueError):
    """The octets are not a reply; the text says why."""


class TooLong(ValueError):
    """A reply that does not end; the text gives the limit."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply: the code, and every line verbatim (text, without line ends, code and separator included)."""

    code: int
    lines: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The lines without code and separator."""
        return tuple(line[4:] for line in self.lines)

    @property
    def text(self) -> str:
        """All texts in one line."""
        return " ".join(self.texts).strip()

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 2034), such as `5.7.8`, or None."""
        found = _ENHANCED.match(self.texts[-1]) if self.lines else None
        return found.group(1) if found else None

    def __str__(self) -> str:
        return " / ".join(self.lines)


class ReplyReader:
    """Collects the lines of one reply: `line is last` = `add(line)`; then `reply()`.

    Raises Malformed on a line that is none of a reply's, on mixed codes and at the end of more than MOST_LINES lines;
    TooLong at more than ENDLESS_LINES or MOST_OCTETS. Lines behind MOST_LINES are counted, not kept.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        self._lines: list[str] = []
        self._count = 0
        self._octets = 0

    def add(self, line: bytes) -> bool:
        found = _LINE.fullmatch(line)
        if found is None:
            raise Malformed(f"not an SMTP reply line: {_shown(line)}")
        code = int(found.group(1))
        # RFC 5321 section 4.2.1: the code is the same on each line; a second one may have been slipped in.
        if self._code is not None and code != self._code:
            raise Malformed(f"one reply has two codes, {self._code} and {code}")
        self._code = code
        self._count += 1
        self._octets += len(line)
        is_last = found.group(2) != b"-"
        if self._count > ENDLESS_LINES:
            raise TooLong(f"a reply of more than {ENDLESS_LINES} lines")
        if self._octets > MOST_OCTETS:
            raise TooLong(f"a reply of more than {MOST_OCTETS} octets")
        if self._count <= MOST_LINES:
            self._lines.append(line.decode("utf-8", "backslashreplace"))
        elif is_last:
            raise Malformed(f"a reply of more than {MOST_LINES} lines: {self._count}")
        return is_last

    def reply(self) -> Reply:
        if self._code is None:
            raise Malformed("an empty reply")
        return Reply(self._code, tuple(self._lines))


def _shown(line: bytes) -> str:
    # Whole: whoever shows it takes secrets out first, and cuts then.
    return repr(line.decode("utf-8", "backslashreplace"))


def keywords(reply: Reply) -> dict[str, list[str]]:
    """EHLO keywords in upper case with their parameters (RFC 5321 section 4.1.1.1). The first line is the greeting.

    The obsolete `AUTH=LOGIN` form (postconf(5), `broken_sasl_auth_clients`) counts as AUTH; a keyword given twice has the
    parameters of both.
    """
    # A dict keeps their order and finds a word at once: a reply may hold a hundred thousand of them.
    found: dict[str, dict[str, None]] = {}
    for text in reply.texts[1:]:
        words = text.replace("AUTH=", "AUTH ", 1).split() if text.upper().startswith("AUTH=") else text.split()
        if words:
            found.setdefault(words[0].upper(), {}).update(dict.fromkeys(words[1:]))
    return {name: list(parameters) for name, parameters in found.items()}


def mechanisms(words: dict[str, list[str]]) -> list[str]:
    """SASL mechanisms that EHLO offered, upper case (RFC 4954 section 3)."""
    return [mechanism.upper() for mechanism in words.get("AUTH", ())]


def name_given(reply: Reply) -> str:
    """The domain a greeting or EHLO reply begins with (RFC 5321 section 4.2), or an empty text."""
    words = reply.texts[0].split() if reply.lines else []
    return words[0] if words else ""


def queue_id(text: str) -> str | None:
    """The server's own id of the message, from the final reply: `queued as X`, `id=X`, Exchange's `<id> [InternalId=…]` …

    None where the reply names none.
    """
    found = next((match for pattern in _QUEUED if (match := pattern.search(text[:1000]))), None)
    return found.group(1).rstrip(".,\"'") if found else None


def node(text: str) -> str | None:
    """The mailbox server that Exchange names in its final 250 (`Hostname=…`), or None."""
    found = _HOSTNAME.search(text)
    return found.group(1) if found else None


def dot_stuffed(message: bytes) -> bytes:
    """A message with CRLF line ends as it goes behind DATA, final dot included (RFC 5321 section 4.5.2)."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    return stuffed(message) + b".\r\n"


def stuffed(lines: bytes) -> bytes:
    """Whole lines of a message, a dot in front of each that begins with one (RFC 5321 section 4.5.2)."""
    return re.sub(rb"(?m)^\.", b"..", lines)


def most_octets(words: Mapping[str, Sequence[str]]) -> int | None:
    """The largest message that the server takes; None where it gives no number, or 0: no fixed limit (RFC 1870 section 4)."""
    number = next(iter(words.get("SIZE", ())), "")
    return int(number) or None if number.isascii() and number.isdigit() and len(number) <= 20 else None


def limits(words: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """What LIMITS gives (RFC 9422 section 3): RCPTMAX, MAILMAX, RCPTDOMAINMAX and others by name, what is no number left out."""
    pairs = (word.partition("=")[::2] for word in words.get("LIMITS", ())[:_MOST_LIMITS])
    return {name.upper(): int(given) for name, given in pairs if name and given.isascii() and given.isdigit() and len(given) <= 6}


def quoted(lines: Sequence[str], most: int = 300) -> str:
    """Reply lines as one piece of evidence."""
    text = " / ".join(lines)
    return text if len(text) <= most else text[:most] + "…"
