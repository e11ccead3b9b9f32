"""`exchange`: the columns that Test-PopConnectivity and Test-ImapConnectivity print, one row a protocol.

On stdout and in other files a table; FILE.csv, FILE.json and FILE.html carry the cmdlets' fuller object.
Source: learn.microsoft.com/powershell/module/exchange/test-imapconnectivity. Where ours differs from the cmdlet stands in
docs/exchange.md. Server text is data: control characters are shown, HTML is escaped, no cell of the CSV is a formula.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any

from probe.facts import Connected, LoggedOn, Secured
from probe.output import Context
from probe.output._safe import safe
from probe.output._words import unexplained
from probe.report import Report, Stage

_COLUMNS = ("CasServer", "LocalSite", "Scenario", "Result", "Latency(MS)", "Error")
_SCENARIOS = {
    "smtp": ("Test SMTP Submission", "Connect and secure by SMTP, check the certificate, log on, and submit a test message."),
    "imap": (
        "Test IMAP4 Connectivity",
        "Connect using IMAP4, log on, find the test message, prove it is ours, and delete it; no other message is touched.",
    ),
    "pop3": (
        "Test POP3 Connectivity",
        "Connect using POP3, log on, find the test message, prove it is ours, and delete it; no other message is touched.",
    ),
}
_EVENTS = {"Success": "Success", "Skipped": "Warning", "Failure": "Error"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(reports: Sequence[Report], context: Context) -> str:
    rows = [row for report in reports for row in _rows(report)]
    forms = {".csv": _csv, ".json": _json, ".html": _html, ".htm": _html}
    return forms.get(context.suffix, _table)(rows)


def _rows(report: Report) -> Iterator[dict[str, Any]]:
    legs: dict[str, list[Stage]] = {}
    for stage in report.stages:
        legs.setdefault(stage.name.partition(".")[0], []).append(stage)
    for leg, stages in legs.items():
        yield _row(report, leg, stages)


def _row(report: Report, leg: str, stages: Sequence[Stage]) -> dict[str, Any]:
    """The members of the cmdlets' object, in its order."""
    result, error = _result(report, stages)
    scenario, description = _SCENARIOS.get(leg, (f"Test {leg.upper()} Connectivity", f"Connect using {leg.upper()} and log on."))
    # Each stage's own time: a reader's wait for the submission is not its latency.
    seconds = sum(stage.record.seconds for stage in stages if stage.status != "skipped")
    connection = _connection(report, leg, stages)
    server = (report.target.node if leg == "smtp" else report.seen(f"{leg}.tls", Secured).sni) or report.target.host
    warned = result == "Success" and any(stage.status == "warning" for stage in stages)
    return {
        "LocalSite": report.profile,
        "SecureAccess": connection in ("Tls", "Ssl"),
        "Port": _port(report, leg),
        "ConnectionType": connection,
        "ClientAccessServer": server,
        "ClientAccessServerShortName": server.partition(".")[0],
        "Scenario": scenario,
        "ScenarioDescription": description,
        "PerformanceCounterName": f"{leg.upper()} Connectivity Latency",
        "Result": result,
        "Error": error,
        "UserName": report.seen(f"{leg}.{'auth' if leg == 'smtp' else 'login'}", LoggedOn).username or "",
        "StartTime": _instant(report.started, next((s.record.at for s in stages if s.status != "skipped"), 0.0)),
        "Latency": None if result == "Skipped" else round(seconds, 6),
        "EventType": "Warning" if warned else _EVENTS[result],
        "LatencyInMillisecondsString": "" if result == "Skipped" else f"{seconds * 1000:.2f}",
        "Events": [
            {"Severity": finding.severity, "Id": finding.id, "Stage": finding.stage, "Message": finding.summary}
            for finding in report.findings
            if finding.stage.startswith(f"{leg}.")
        ],
    }


def _result(report: Report, stages: Sequence[Stage]) -> tuple[str, str]:
    """Success, Skipped or Failure, and why. A reader that had nothing to read, since nothing was sent, was skipped."""
    failed = next((stage for stage in stages if stage.status == "failed"), None)
    if failed is not None:
        said = [finding for finding in report.findings if finding.stage == failed.name and finding.severity == "critical"]
        text = said[0].summary if said else failed.record.reason or "failed"
        return "Failure", f"{failed.name}: {text}"
    if report.interrupted and (not stages or any(map(_never_ended, stages))):
        return "Skipped", unexplained(report)
    skipped = [stage for stage in stages if stage.status == "skipped"]
    if len(skipped) == len(stages) or (report.failed_stage and any(stage.name.endswith(".find") for stage in skipped)):
        return "Skipped", skipped[0].record.reason or ""
    return "Success", ""


def _never_ended(stage: Stage) -> bool:
    """Of an interrupted run: cut short, or not reached for that."""
    cut = stage.name.endswith(".find") or "cut short" in (stage.record.reason or "")
    return stage.status == "skipped" and cut


def _connection(report: Report, leg: str, stages: Sequence[Stage]) -> str:
    """ConnectionType in the cmdlets' words: Ssl is implicit TLS, Tls is STARTTLS."""
    if leg == "smtp":
        return {"starttls": "Tls", "tls": "Ssl"}.get(report.target.security, "Plaintext")
    tls = next((stage.record for stage in stages if stage.name == f"{leg}.tls"), None)
    implicit = tls.seen(Secured).implicit if tls else None
    if implicit is None:
        return "Plaintext" if tls is not None and "plaintext" in (tls.reason or "") else "Unknown"
    return "Ssl" if implicit else "Tls"


def _port(report: Report, leg: str) -> int | None:
    seen = report.seen(f"{leg}.connect", Connected)
    endpoint = seen.remote or (seen.attempts[-1].get("address", "") if seen.attempts else "")
    port = endpoint.rpartition(":")[2]
    if leg == "smtp":
        return report.target.port
    return int(port) if port.isdecimal() and port.isascii() else None


def _instant(started: str, seconds: float) -> str:
    try:
        instant = datetime.fromisoformat(started) + timedelta(seconds=seconds)
    except ValueError:
        return started
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03d}Z"


def _cells(row: dict[str, Any]) -> list[str]:
    values = (
        row["ClientAccessServer"],
        row["LocalSite"],
        row["Scenario"],
        row["Result"],
        row["LatencyInMillisecondsString"],
        row["Error"],
    )
    return [safe(str(value)) for value in values]


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Columns as wide as what is in them: nothing is cut, nothing wrapped."""
    lines = [list(_COLUMNS), ["-" * len(name) for name in _COLUMNS], *map(_cells, rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(_COLUMNS))]
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"schema": "submission-probe/exchange/1", "results": list(rows)}, indent=2, ensure_ascii=True) + "\n"


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """The six columns first, so that a sheet reads like the cmdlet; then the rest of the object."""
    more = [name for name in (rows[0] if rows else {}) if name not in ("LocalSite", "Scenario", "Result", "Error", "Events")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *more])
    for row in rows:
        rest = [safe("" if row[name] is None else str(row[name])) for name in more]
        writer.writerow([_plain(cell) for cell in [*_cells(row), *rest]])
    return text.getvalue()


def _plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection): an apostrophe goes before it."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


_STYLE = "body{font:14px sans-serif;margin:2em}td,th{padding:.3em .8em;text-align:left;border-bottom:1px solid #ccc}"
_COLOURS = ".Failure{color:#a00000}.Success{color:#006000}.Skipped{color:#606060}"


def _html(rows: Sequence[dict[str, Any]]) -> str:
    """One file that needs no network and runs no script."""
    head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
    body = "".join(
        f'<tr class="{row["Result"]}">' + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row)) + "</tr>\n" for row in rows
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>submission-probe</title>\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<style>{_STYLE}{_COLOURS}</style></head><body>\n"
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>\n</body></html>\n"
    )
