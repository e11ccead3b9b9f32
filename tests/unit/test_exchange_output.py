"""`exchange` and `protocol-log`: the columns Exchange's own tools print, safe whatever a server says."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from probe.cli import _show
from probe.facts import from_json
from probe.output import Context, output
from probe.record import Line, StageRecord, Target
from probe.report import Finding, Report, Stage

NASTY = "=cmd|' /C calc'!A0 <script>alert(1)</script> \"quoted\", \x1b[2J\r\nforged"
STARTED = "2026-11-24T01:02:03.250000Z"


def _stage(name: str, status: str = "ok", reason: str | None = None, **facts: object) -> Stage:
    record_status = "ok" if status == "warning" else status
    return Stage(
        StageRecord(name, record_status, 0.1, 0.0 if status == "skipped" else 0.25, reason, None, from_json(name, facts)), status
    )  # type: ignore[arg-type]


def _report(*, broken: bool = False, warned: bool = False, said: str = "535 5.7.3 no", profile: str = "contoso") -> Report:
    smtp = [
        _stage("smtp.connect", remote="10.0.0.1:587", local="10.0.0.9:40000"),
        _stage("smtp.auth", "failed" if broken else "ok", said if broken else None, username="probe@contoso.com"),
        _stage("smtp.submit", "skipped" if broken else "ok", "because smtp.auth failed" if broken else None),
    ]
    imap = [
        _stage("imap.connect", remote="10.0.0.1:993", local="10.0.0.9:40001"),
        _stage("imap.tls", implicit=True, sni="mail.contoso.com"),
        _stage("imap.certificate", "warning" if warned else "ok"),
        _stage("imap.login", username="probe@contoso.com"),
        _stage("imap.find", "skipped" if broken else "ok", "nothing was sent" if broken else None),
    ]
    found = [Finding("auth.refused", "critical", "smtp.auth", f"refused: {said}", said)] if broken else []
    found += [Finding("certificate.expires-soon", "warning", "imap.certificate", "soon")] if warned else []
    lines = (
        Line(0.0, "smtp", "*", "connected to 10.0.0.1:587"),
        Line(0.001, "imap", "*", "connected to 10.0.0.1:993"),
        Line(0.002, "smtp", "<", f"220 {said}"),
        Line(0.003, "smtp", ">", "EHLO probe.contoso.com"),
        Line(0.004, "smtp", "*", "TLS handshake: TLSv1.3, ok"),
        Line(1.0, "smtp", "*", "connected to 10.0.0.1:587"),
        Line(1.001, "smtp", ">", "QUIT"),
    )
    target = Target("mail.contoso.com", 587, "starttls", "10.0.0.1", "EX01.contoso.com")
    verdict = "critical" if broken else "warning" if warned else "ok"
    return Report(
        "0123456789abcdef", profile, target, STARTED, 1.5, verdict, "smtp.auth" if broken else None, 0.5,  # type: ignore[arg-type]
        (*smtp, *imap), tuple(found), lines,
    )  # fmt: skip


def _tell(name: str, *reports: Report, suffix: str = "") -> str:
    return output(name).write(reports, Context(STARTED, 1.5, suffix=suffix))


def _objects(*reports: Report) -> list[dict[str, object]]:
    return json.loads(_tell("exchange", *reports, suffix=".json"))["results"]  # type: ignore[no-any-return]


def test_the_table_has_the_cmdlets_columns_and_one_row_a_protocol() -> None:
    head, rule, smtp, imap = _tell("exchange", _report()).splitlines()
    assert head.split() == ["CasServer", "LocalSite", "Scenario", "Result", "Latency(MS)", "Error"]
    assert set(rule) == {"-", " "}
    assert smtp.split() == ["EX01.contoso.com", "contoso", "Test", "SMTP", "Submission", "Success", "750.00"]
    assert imap.split()[2:] == ["Test", "IMAP4", "Connectivity", "Success", "1250.00"]


def test_failure_says_why_and_a_reader_that_had_nothing_to_read_was_skipped() -> None:
    smtp, imap = _objects(_report(broken=True))
    assert (smtp["Result"], smtp["EventType"]) == ("Failure", "Error")
    assert smtp["Error"] == "smtp.auth: refused: 535 5.7.3 no"
    assert (imap["Result"], imap["LatencyInMillisecondsString"], imap["Error"]) == ("Skipped", "", "nothing was sent")


def test_the_fuller_object() -> None:
    smtp, imap = _objects(_report(warned=True))
    assert (smtp["Port"], smtp["ConnectionType"], smtp["SecureAccess"], smtp["UserName"]) == (587, "Tls", True, "probe@contoso.com")
    assert (imap["Port"], imap["ConnectionType"], imap["ClientAccessServerShortName"]) == (993, "Ssl", "mail")
    assert (imap["Result"], imap["EventType"], imap["Events"]) == (
        "Success",
        "Warning",
        [{"Severity": "warning", "Id": "certificate.expires-soon", "Stage": "imap.certificate", "Message": "soon"}],
    )
    assert smtp["StartTime"] == "2026-11-24T01:02:03.350Z"
    assert "no other message is touched" in str(imap["ScenarioDescription"])


def test_a_servers_words_are_data_in_every_form() -> None:
    report = _report(broken=True, said=NASTY, profile="=1+1")
    table = _tell("exchange", report)
    assert len(table.splitlines()) == 4 and "\x1b" not in table
    html = _tell("exchange", report, suffix=".html")
    assert "<script" not in html and "&lt;script&gt;" in html and "default-src 'none'" in html
    rows = list(csv.reader(io.StringIO(_tell("exchange", report, suffix=".csv"))))
    assert len(rows) == 3 and {len(row) for row in rows} == {len(rows[0])}
    assert rows[1][1] == "'=1+1"
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for row in rows for cell in row)
    assert _tell("exchange", report, suffix=".json").isascii()


FORMS = [("a.csv", "CasServer,LocalSite"), ("a.JSON", "{"), ("a.html", "<!DOC"), ("a.txt", "CasServer  ")]


@pytest.mark.parametrize(("name", "begins"), FORMS)
def test_the_suffix_of_the_file_decides(tmp_path: Path, name: str, begins: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / name
    files = [_show.parse_report(f"exchange={file}")]
    _show.show([_report()], datetime.now(UTC), 1.0, output="exchange", files=files, verbose=False, quiet=False)
    assert file.read_text().startswith(begins)
    assert capsys.readouterr().out.startswith("CasServer  ")


def _log(report: Report) -> list[dict[str, str]]:
    text = _tell("protocol-log", report)
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert [line.split(":")[0] for line in header] == ["#Software", "#Version", "#Log-type", "#Date", "#Fields"]
    fields = header[-1].removeprefix("#Fields: ").split(",")
    assert fields[:4] == ["date-time", "connector-id", "session-id", "sequence-number"]
    return [dict(zip(fields, row, strict=True)) for row in csv.reader(text.splitlines()[len(header) :])]


def test_each_connection_is_a_session_that_begins_and_ends() -> None:
    rows = _log(_report())
    sessions = {row["session-id"] for row in rows}
    assert len(sessions) == 3  # a second SMTP connection is one of its own
    for session in sessions:
        own = [row for row in rows if row["session-id"] == session]
        assert [row["sequence-number"] for row in own] == [str(number) for number in range(len(own))]
        assert (own[0]["event"], own[-1]["event"]) == ("+", "-")
    first = rows[0]
    assert (first["local-endpoint"], first["remote-endpoint"]) == ("10.0.0.9:40000", "10.0.0.1:587")
    assert (first["date-time"], first["connector-id"]) == ("2026-11-24T01:02:03.250Z", "contoso\\smtp")
    sent = next(row for row in rows if row["event"] == ">")
    assert (sent["data"], sent["context"]) == ("EHLO probe.contoso.com", "")
    note = next(row for row in rows if row["event"] == "*")
    assert (note["data"], note["context"]) == ("", "TLS handshake: TLSv1.3, ok")


def test_no_server_can_forge_a_row() -> None:
    rows = _log(_report(said=NASTY))
    received = next(row for row in rows if row["event"] == "<")
    assert received["data"].endswith("\\x1b[2J\\r\\nforged")
    assert len(rows) == len(_log(_report()))
