"""Lines of servers' logs → entries: Exchange's protocol logs (SMTP, POP3, IMAP4) and the syslog lines of Postfix and Dovecot.

Sources: learn.microsoft.com/exchange/mail-flow/connectors/protocol-logging; for POP3 and IMAP4 the field list of the documentation
(date-time … context, as for SMTP) and the one that current versions write (dateTime … puid); RFC 3164 and RFC 5424 for the times of
syslog. A log is data that others wrote: what is no entry is passed over, what is long is cut, nothing in it is believed.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MOST_CHARACTERS = 1_000
_MOST_PROCESSES = 10_000
_SMTP_FIELDS = (
    "date-time", "connector-id", "session-id", "sequence-number", "local-endpoint", "remote-endpoint", "event", "data", "context",
)  # fmt: skip
_READER_FIELDS = (
    "dateTime", "sessionId", "seqNumber", "sIp", "cIp", "user", "duration", "rqsize", "rpsize", "command", "parameters", "context",
    "puid",
)  # fmt: skip
# The same thing by either list's name.
_SAME = {
    "dateTime": "date-time",
    "sessionId": "session-id",
    "sIp": "local-endpoint",
    "cIp": "remote-endpoint",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a server's log. `at` is UTC, or what the line said where it names no zone (`zoned` is then False).

    `resolution` is how many seconds one step of its clock has; `protocol` is smtp, imap or pop3, or empty for what belongs to none;
    `event` is `>` for what the server sent, `<` for what it received, `*` for anything else.
    """

    at: datetime
    resolution: float
    zoned: bool
    source: str
    protocol: str
    session: str
    event: str
    text: str
    context: str = ""
    connector: str = ""
    local: str = ""
    remote: str = ""
    user: str = ""


def parse(lines: Iterable[str], source: str, near: datetime) -> Iterator[Entry]:
    """The entries of one log. `near` is an instant of the run: it says which year a syslog line without one means."""
    fields: Sequence[str] = ()
    protocol = ""
    connections: dict[str, int] = {}
    for line in lines:
        line = line.strip("\r\n\ufeff")
        if line.startswith("#"):
            fields = _fields(line) or fields
            protocol = _protocol(line) or protocol
            continue
        entry = _exchange(line, source, fields, protocol) or _syslog(line, source, near, connections)
        if entry is not None:
            yield entry


# -- Exchange ----------------------------------------------------------------------------------------------------


def _fields(line: str) -> Sequence[str]:
    head, _, rest = line.partition(":")
    names = [name.strip() for name in rest.split(",")] if head.lower() == "#fields" else []
    return names if names and names[0] in ("date-time", "dateTime") else ()


def _protocol(line: str) -> str:
    head, _, rest = line.lower().partition(":")
    if head != "#log-type":
        return ""
    return next((name for word, name in (("imap", "imap"), ("pop", "pop3"), ("smtp", "smtp")) if word in rest), "")


def _exchange(line: str, source: str, fields: Sequence[str], protocol: str) -> Entry | None:
    if line.count(",") < len(_SMTP_FIELDS) - 1 or not line[:4].isdecimal():
        return None
    try:
        cells = next(csv.reader([line]))
    except (csv.Error, StopIteration):
        return None
    # The middle of a log that was cut has no header.
    names = fields or (_SMTP_FIELDS if len(cells) == len(_SMTP_FIELDS) else _READER_FIELDS)
    row = {_SAME.get(name, name): cell[:MOST_CHARACTERS] for name, cell in zip(names, cells, strict=False)}
    at = _instant(row.get("date-time", ""))
    if at is None:
        return None
    command = f"{row.get('command', '')} {row.get('parameters', '')}".strip()
    return Entry(
        at=at,
        resolution=0.001,
        zoned=True,
        source=source,
        protocol=protocol or _protocol_by_port(row.get("local-endpoint", "")),
        session=row.get("session-id", ""),
        event=row.get("event") or ("<" if command else "*"),
        text=row.get("data", "") or command,
        context=row.get("context", ""),
        connector=row.get("connector-id", ""),
        local=row.get("local-endpoint", ""),
        remote=row.get("remote-endpoint", ""),
        user=row.get("user", ""),
    )


_PORTS = {"25": "smtp", "465": "smtp", "587": "smtp", "2525": "smtp", "143": "imap", "993": "imap", "110": "pop3", "995": "pop3"}


def _protocol_by_port(endpoint: str) -> str:
    return _PORTS.get(endpoint.rpartition(":")[2], "smtp")


def _instant(text: str) -> datetime | None:
    """An RFC 3339 instant in UTC; without a zone it is taken as UTC."""
    try:
        at = datetime.fromisoformat(text.strip()[:40])
    except ValueError:
        return None
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError:
        return None


# -- Postfix and Dovecot -----------------------------------------------------------------------------------------

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_OLD_TIME = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))? ")
_NEW_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?) ")
_POSTFIX = re.compile(r"(?:\S{1,255} )?postfix(?:-[\w-]{1,30})?/(?:[\w-]{1,30}/)?([\w-]{1,30})\[(\d{1,10})\]: (.*)")
_DOVECOT = re.compile(
    r"(?:\S{1,255} )?(?:dovecot(?:\[\d{1,10}\])?: )?(imap-login|pop3-login|imap|pop3|lmtp|lda|auth-worker|auth)"
    r"(?:\(([^)]{0,255})\))?(?:<(\d{1,10})>)?(?:<([^>]{1,80})>)?: (?:(?:Info|Warning|Error|Debug|Fatal): )?(.*)"
)
_SESSION = re.compile(r"session=<([^>]{1,80})>")
_QUEUE_ID = re.compile(r"([0-9A-F]{6,16}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}): ")
_DOVECOT_USER = re.compile(r"user=<([^>]{1,255})>")


def _syslog(line: str, source: str, near: datetime, connections: dict[str, int]) -> Entry | None:
    timed = _time(line, near)
    if timed is None:
        return None
    at, resolution, zoned, rest = timed
    rest = rest[: 2 * MOST_CHARACTERS]
    if (found := _POSTFIX.match(rest)) is not None:
        daemon, pid, text = found.groups()
        protocol, session = ("smtp", _smtpd(pid, text, connections)) if daemon.endswith("smtpd") else ("", "")
        queue = _QUEUE_ID.match(text)
        if not session:
            session = f"queue {queue[1]}" if queue else f"{daemon}[{pid}]"
        text = f"{daemon}: {text}"[:MOST_CHARACTERS]
        return Entry(at, resolution, zoned, source, protocol, f"postfix {session}", "*", text)
    if (found := _DOVECOT.match(rest)) is not None:
        service, user, pid, own, text = found.groups()
        named = _SESSION.search(text)
        session = own or (named[1] if named else f"{service}[{pid or ''}]")
        protocol = service.partition("-")[0]
        protocol = protocol if protocol in ("imap", "pop3") else ""
        who = _DOVECOT_USER.search(text)
        return Entry(
            at, resolution, zoned, source, protocol, f"dovecot {session}", "*", f"{service}: {text}"[:MOST_CHARACTERS],
            user=user or (who[1] if who else ""),
        )  # fmt: skip
    return None


def _smtpd(pid: str, text: str, connections: dict[str, int]) -> str:
    """One process of Postfix serves many clients, one after the other: each connection is a session."""
    if text.startswith("connect from"):
        if len(connections) > _MOST_PROCESSES:
            connections.clear()
        connections[pid] = connections.get(pid, 0) + 1
    return f"smtpd[{pid}] connection {connections.get(pid, 0)}"


def _time(line: str, near: datetime) -> tuple[datetime, float, bool, str] | None:
    if (found := _NEW_TIME.match(line)) is not None:
        at = _instant(found[1])
        zoned = found[1][-1] == "Z" or found[1][-6:-5] in "+-" or found[1][-5:-4] in "+-"
        return (at, 0.001 if "." in found[1] else 1.0, zoned, line[found.end() :]) if at else None
    if (found := _OLD_TIME.match(line)) is None or found[1] not in _MONTHS:
        return None
    day = f"{_MONTHS.index(found[1]) + 1:02}-{int(found[2]):02}"
    # A leap second (60) counts as the one before it.
    clock = f"{found[3]}:{found[4]}:{min(int(found[5]), 59):02}.{found[6] or '0':0<6}"
    # No year in the line: the one that lies nearest to the run, also at the turn of the year.
    candidates = [_instant(f"{near.year + step:04}-{day}T{clock}") for step in (-1, 0, 1)]
    possible = [at for at in candidates if at is not None]
    if not possible:
        return None
    nearest = min(possible, key=lambda at: abs(at - near))
    return nearest, 0.001 if found[6] else 1.0, False, line[found.end() :]


def quarter_hours_aside(difference: timedelta) -> float:
    """Seconds that remain when whole quarters of an hour, which every time zone is made of, are taken away."""
    seconds = difference.total_seconds()
    return abs(seconds - 900 * round(seconds / 900))
