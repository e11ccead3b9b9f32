"""`protocol-log`: our side of the conversation in the format of Exchange's protocol logs, for the tools that read those.

Source: learn.microsoft.com/exchange/mail-flow/connectors/protocol-logging. One session a connection; events `+` connect,
`-` disconnect, `>` sent by us, `<` received, `*` a note, whose words stand in the context. Times are UTC. As in Exchange's own
logs a reply of several lines has a row for each. Control characters of a server are shown, never written.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from probe.facts import Connected
from probe.output import Context
from probe.output._safe import safe
from probe.output._words import unexplained
from probe.report import Report
from probe.version import __version__

FIELDS = (
    "date-time", "connector-id", "session-id", "sequence-number", "local-endpoint", "remote-endpoint", "event", "data", "context",
)  # fmt: skip
_CONNECTED = "connected to "


def write(reports: Sequence[Report], context: Context) -> str:
    text = io.StringIO()
    text.write("#Software: submission-probe\n")
    text.write(f"#Version: {__version__}\n")
    text.write("#Log-type: SMTP Submission, IMAP4 and POP3 Client Protocol Log\n")
    text.write(f"#Date: {_milliseconds(context.started)}\n")
    text.write(f"#Fields: {','.join(FIELDS)}\n")
    writer = csv.writer(text, lineterminator="\n")
    for report in reports:
        if why := unexplained(report):
            # W3C extended log file format, "Directives": readers leave a remark aside.
            text.write(f"#Remark: {safe(report.profile)}: {report.verdict}: {why}\n")
        writer.writerows(_rows(report))
    return text.getvalue()


def _rows(report: Report) -> Iterator[list[str]]:
    """In the order of time. A leg's second connection (an untrusted certificate that is accepted) is a session of its own."""
    begun: list[str] = []
    open_rows: dict[str, _Session] = {}
    last: dict[str, float] = {}
    for line in report.transcript:
        leg = line.connection
        if leg not in ("smtp", *_readers(report)):
            continue
        fresh = line.direction == "*" and line.text.startswith(_CONNECTED)
        if fresh or leg not in open_rows:
            if leg in open_rows:
                yield open_rows[leg].row(last[leg], "-", "", "Local")
            begun.append(leg)
            remote = line.text.removeprefix(_CONNECTED).split(" ")[0] if fresh else ""
            open_rows[leg] = _Session(report, leg, len(begun), remote)
        last[leg] = line.at
        yield _row(open_rows[leg], line.at, "+" if fresh else line.direction, line.text)
    for leg, at in sorted(last.items(), key=lambda item: item[1]):
        yield open_rows[leg].row(at, "-", "", _ended(report, leg))


def _readers(report: Report) -> set[str]:
    return {stage.name.partition(".")[0] for stage in report.stages}


def _row(session: "_Session", at: float, event: str, text: str) -> list[str]:
    return session.row(at, event, "", text) if event in "*+" else session.row(at, event, text, "")


def _ended(report: Report, leg: str) -> str:
    """Who ended the connection: the server where a finding says so, otherwise we did."""
    closed = any(finding.id == "connect.closed" and finding.stage.startswith(f"{leg}.") for finding in report.findings)
    return "Remote" if closed else "Local"


class _Session:
    """One connection: what stands in each of its rows, and the count of them."""

    def __init__(self, report: Report, leg: str, number: int, remote: str) -> None:
        seen = report.seen(f"{leg}.connect", Connected)
        self._started = report.started
        self._connector = f"{report.profile}\\{leg}"
        # As many digits as Exchange's: fourteen of the run, two of the connection.
        self._id = f"{report.id[:14].upper():0<14}{number:02X}"
        self._remote = remote or seen.remote or ""
        self._local = seen.local or "" if self._remote == seen.remote else ""
        self._sequence = 0

    def row(self, at: float, event: str, data: str, context: str) -> list[str]:
        cells = [
            _milliseconds(self._started, at), self._connector, self._id, str(self._sequence), self._local, self._remote,
            event, data, context,
        ]  # fmt: skip
        self._sequence += 1
        return [safe(cell) for cell in cells]


def _milliseconds(instant: str, later: float = 0.0) -> str:
    """As Exchange writes it: 2026-11-24T01:02:03.456Z. What is no instant stays as it is."""
    try:
        moment = datetime.fromisoformat(instant) + timedelta(seconds=later)
    except ValueError:
        return instant
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
