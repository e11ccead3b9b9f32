"""Our transcript beside logs of Exchange, made for a run: a clock that is off, other people's sessions, hostile lines."""

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.cli import entry
from probe.runs.correlate import MOST_ENTRIES, correlate, read_run
from probe.runs.correlate.lines import parse
from probe.runs.correlate.timeline import clocks_of
from probe.runs.correlate.values import Correlation, Matched, Ours, Session

STARTED = datetime(2026, 11, 24, 1, 2, 3, 250000, tzinfo=UTC)
AHEAD = 7.5
MARKER = "submission-probe-abcdefghijklmnop"
USER = "probe@contoso.com"
SECRET = "aHVudGVyMg=="

HEAD = """\ufeff#Software: Microsoft Exchange Server\r
#Version: 15.01.2507.006\r
#Log-type: {log}\r
#Date: 2026-11-24T00:00:00.000Z\r
#Fields: {fields}\r
"""
SMTP_FIELDS = "date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context"
READER_FIELDS = "dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context,puid"


def _lines(leg: str, *said: tuple[float, str, str]) -> list[dict[str, Any]]:
    return [{"at": at, "connection": leg, "direction": way, "text": text} for at, way, text in said]


def _stage(name: str, at: float, seconds: float, **facts: Any) -> dict[str, Any]:
    return {"name": name, "status": "ok", "at": at, "seconds": seconds, "reason": None, "facts": facts}


def run_json() -> dict[str, Any]:
    """A run as `-o json` saves it, reduced to what is read here."""
    return {
        "id": "0123456789abcdef",
        "profile": "contoso",
        "started": STARTED.isoformat().replace("+00:00", "Z"),
        "verdict": "ok",
        "stages": [
            _stage("smtp.connect", 0.01, 0.01, local="10.0.0.9:40000", remote="10.0.0.1:587"),
            _stage("smtp.greeting", 0.02, 0.01),
            _stage("smtp.auth", 0.1, 0.02, username=USER),
            _stage("smtp.submit", 0.2, 0.1, marker=MARKER, queue_id=None),
            _stage("imap.connect", 0.01, 0.01, local="10.0.0.9:40001", remote="10.0.0.1:993"),
            _stage("imap.login", 0.05, 0.02, username=USER),
            _stage("pop3.connect", 0.01, 0.01, local="10.0.0.9:40002", remote="10.0.0.1:995"),
            _stage("pop3.login", 0.06, 0.02, username=USER),
        ],
        "transcript": [
            *_lines(
                "smtp", (0.03, "<", "220 mail.contoso.com Microsoft ESMTP"), (0.04, ">", "EHLO probe.contoso.com"),
                (0.05, "<", "250-mail.contoso.com Hello [10.0.0.9]"),
                (0.2, ">", f"MAIL FROM:<{USER}>"), (0.22, "<", "250 2.1.0 Sender OK"),
                (0.29, ">", "QUIT"),
            ),
            *_lines("imap", (0.05, ">", "A1 LOGIN"), (0.07, "<", "A1 OK LOGIN completed.")),
            *_lines("pop3", (0.06, ">", "USER"), (0.08, "<", "+OK User successfully logged on.")),
        ],
    }  # fmt: skip


def saved(report: dict[str, Any]) -> str:
    """A whole run object around it: what is not read here has some value."""
    target = {"host": "mail.contoso.com", "port": 587, "security": "starttls", "address": None, "node": None}
    more = {"target": target, "seconds": 1.0, "failed_stage": None, "delivery_seconds": None, "findings": []}
    run = {"schema": "submission-probe/run/1", "version": "1", "seconds": 1.0, "verdict": "ok", "exit_code": 0}
    return json.dumps({**run, "started": report["started"], "reports": [{**more, **report}]})


def stamp(seconds: float) -> str:
    """What the server's clock, ahead of ours, writes for an instant of ours."""
    at = STARTED + timedelta(seconds=seconds + AHEAD)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def smtp_rows(session: str, remote: str, *said: tuple[float, str, str, str]) -> list[str]:
    return [
        f'{stamp(at)},EX01\\Client Frontend EX01,{session},{number},10.0.0.1:587,{remote},{event},"{data}",{context}\r\n'
        for number, (at, event, data, context) in enumerate(said)
    ]


OURS = smtp_rows(
    "08DEAA0000000001", "10.0.0.9:40000",
    (0.015, "+", "", ""), (0.025, ">", "220 mail.contoso.com Microsoft ESMTP", ""), (0.045, "<", "EHLO probe.contoso.com", ""),
    (0.11, ">", "334 <authentication response>", ""), (0.115, "<", SECRET, ""), (0.12, "*", "", f"authenticated as {USER}"),
    (0.205, "<", f"MAIL FROM:<{USER}>", ""),
    (0.207, "*", "", "Setting up client proxy session to EX02.contoso.com; proxied session id 08DEBB0000000001"),
    (0.21, ">", "250 2.1.0 Sender OK", ""), (0.3, "-", "", "Local"),
)  # fmt: skip
EARLIER = smtp_rows("08DEAA0000000000", "10.0.0.9:39990", (-60, "<", "EHLO probe.contoso.com", ""), (-59, "*", "", USER))
STRANGER = smtp_rows("08DEAA0000000002", "10.0.0.77:1234", (0.03, "<", "EHLO other.contoso.com", ""), (0.2, "-", "", "Remote"))
HUB = [
    f'{stamp(0.206)},EX02\\Default EX02,08DEBB0000000001,0,10.0.0.2:2525,10.0.0.1:6001,<,'
    '"XPROXY SID=08DEAA0000000001 IP=10.0.0.9 PORT=40000 DOMAIN=probe.contoso.com",\r\n'
]  # fmt: skip
IMAP = [
    f"{stamp(0.055)},,0000000000000042,1,10.0.0.1:993,10.0.0.9:40001,<,A1 LOGIN,\r\n",
    f"{stamp(0.065)},,0000000000000042,2,10.0.0.1:993,10.0.0.9:40001,*,,User {USER} authenticated\r\n",
]
POP3 = [
    f"{stamp(0.061)},0000000000000043,1,10.0.0.1:995,10.0.0.9:40002,{USER},5,4,5,user,{USER},R=ok,\r\n",
    f"{stamp(0.079)},0000000000000043,2,10.0.0.1:995,10.0.0.9:40002,{USER},5,4,5,pass,*****,"
    '"R=""-ERR Logon failure"";ErrMsg=ProxyNotAuthenticated;Proxy:EX02.contoso.com:9955:SSL",\r\n',
]


def head(log: str, fields: str = SMTP_FIELDS) -> list[str]:
    return HEAD.format(log=log, fields=fields).splitlines(keepends=True)


def logs() -> list[tuple[str, list[str]]]:
    return [
        ("RECV.LOG", [*head("SMTP Receive Protocol Log"), *EARLIER, *OURS[:3], *STRANGER, *OURS[3:]]),
        ("HUB.LOG", [*head("SMTP Receive Protocol Log"), *HUB]),
        ("IMAP4.LOG", [*head("IMAP4 Log"), *IMAP]),
        ("POP3.LOG", [*head("POP3 Log", READER_FIELDS), *POP3]),
    ]


def found(more: list[tuple[str, list[str]]] | None = None) -> Correlation:
    return correlate(read_run(run_json()), [*logs(), *(more or [])])


def test_our_sessions_are_found_in_both_published_forms_of_the_logs() -> None:
    correlation = found()
    assert [(item.leg, item.session.key) for item in correlation.matched] == [
        ("smtp", "08DEAA0000000001"),
        ("smtp", "08DEBB0000000001"),
        ("imap", "0000000000000042"),
        ("pop3", "0000000000000043"),
    ]
    assert correlation.missing == ()


def test_the_clock_difference_is_bounded_by_cause_and_effect() -> None:
    clock = next(clock for clock in found().clocks if clock.source == "RECV.LOG")
    assert clock.steady and abs(clock.seconds - AHEAD) <= clock.uncertainty <= 0.02


def test_one_timeline_in_our_seconds() -> None:
    timeline = found().timeline
    assert [moment.at for moment in timeline] == sorted(moment.at for moment in timeline)
    ehlo = [moment for moment in timeline if "EHLO probe.contoso.com" in moment.text]
    assert [moment.side for moment in ehlo] == ["probe", "server"]
    assert 0 < ehlo[1].at - ehlo[0].at < 0.02


def test_what_the_server_knew() -> None:
    knew = dict(found().knew)
    assert knew["smtp: connector"] in ("EX01\\Client Frontend EX01", "EX02\\Default EX02")
    assert "EX02.contoso.com" in knew["smtp: proxy"]
    assert knew["pop3: result"] == 'R="-ERR Logon failure"'
    assert knew["pop3: error"] == "ErrMsg=ProxyNotAuthenticated"


def test_what_a_client_sent_to_log_on_is_not_shown() -> None:
    assert SECRET not in "".join(moment.text for moment in found().timeline)
    rows = smtp_rows("08DEAA0000000001", "10.0.0.9:40000", (0.1, "<", f"AUTH PLAIN {SECRET}", ""), (0.1, "<", "a PASS hunter2", ""))
    shown = "".join(m.text for m in correlate(read_run(run_json()), [("R", [*head("SMTP Receive Protocol Log"), *rows])]).timeline)
    assert SECRET not in shown and "hunter2" not in shown and "AUTH PLAIN [hidden]" in shown


def test_another_run_from_the_same_machine_is_not_taken_for_ours() -> None:
    only_earlier = [("RECV.LOG", [*head("SMTP Receive Protocol Log"), *EARLIER])]
    correlation = correlate(read_run(run_json()), only_earlier)
    assert correlation.matched == () and correlation.missing == ("smtp", "imap", "pop3")


def test_behind_an_address_translation_the_names_and_the_time_decide() -> None:
    rows = smtp_rows("08DEAA0000000009", "203.0.113.5:9", (0.045, "<", "EHLO probe.contoso.com", ""), (0.12, "*", "", USER))
    correlation = correlate(read_run(run_json()), [("RECV.LOG", [*head("SMTP Receive Protocol Log"), *rows])])
    assert [item.because for item in correlation.matched] == [("EHLO name", "server endpoint", "user")]


HOSTILE = [
    "", "\x00" * 50, ",,,,,,,,,,", '"', "#Fields:", "#Fields: a,b", "9999-99-99T99:99:99Z,a,b,0,c,d,<,e,f",
    "Nov 99 99:99:99 h postfix/smtpd[1]: x",
    "Feb 30 10:00:00 h postfix/smtpd[1]: connect from x[10.0.0.9]", "2026-11-24T01:02:03.250Z," + '"' * 5000,
    "0001-01-01T00:00:00+14:00,a,b,0,c,d,<,e,f", "Nov 24 01:02:03 dovecot: imap-login: " + "(" * 3000, "2026" + "," * 60_000,
    "2026-11-24T01:02:10.000Z,c\\\x1b[2J,08DEAA0000000001,5,10.0.0.1:587,10.0.0.9:40000,<,\x1b]0;owned\x07<script>,",
]  # fmt: skip


def test_hostile_lines_are_passed_over_or_shown_as_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, log = tmp_path / "run.json", tmp_path / "RECV.LOG"
    run.write_text(saved(run_json()), encoding="utf-8")
    log.write_text("".join([*head("SMTP Receive Protocol Log"), *OURS, *(f"{line}\n" for line in HOSTILE)]), encoding="utf-8")
    assert entry(["correlate", str(run), str(log)]) == 1
    shown = capsys.readouterr().out
    assert "08DEAA0000000001" in shown and "\x1b" not in shown and "\\x1b]0;owned" in shown
    assert entry(["correlate", str(run), str(log), "-o", "json"]) == 1
    assert capsys.readouterr().out.isascii()


def test_memory_is_bounded_and_ours_is_kept() -> None:
    now = stamp(1)

    def flood() -> Iterator[str]:
        yield from head("SMTP Receive Protocol Log")
        yield from OURS
        for number in range(2 * MOST_ENTRIES):
            yield f'{now},c,{number:016X},0,10.0.0.1:587,10.9.9.9:{number % 60000},<,"{"x" * 300}",\r\n'
        for number in range(1_000):
            yield f'{now},c,ONE,{number},10.0.0.1:587,10.9.9.9:5,<,"{"x" * 300}",\r\n'

    tracemalloc.start()
    correlation = correlate(read_run(run_json()), [("RECV.LOG", flood())])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [item.session.key for item in correlation.matched] == ["08DEAA0000000001"]
    assert correlation.forgotten > MOST_ENTRIES and peak < 64 * 1024 * 1024


def test_compressed_logs_and_files_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run.json"
    run.write_text(saved(run_json()), encoding="utf-8")
    names = []
    for name, lines in logs():
        path = tmp_path / f"{name}.gz"
        path.write_bytes(gzip.compress("".join(lines).encode()))
        names.append(str(path))
    assert entry(["correlate", str(run), *names]) == 0
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"x" * 100_000)[:60])
    for bad in ([str(run), str(cut)], [str(run), str(tmp_path / "none.log")], [str(cut), names[0]], [str(tmp_path), names[0]]):
        capsys.readouterr()
        assert entry(["correlate", *bad]) == 3
        assert len(capsys.readouterr().err.splitlines()) == 1
    for text in ("[]", "{}", '{"schema": "submission-probe/run/1", "reports": [1]}', "[" * 100_000):
        run.write_text(text, encoding="utf-8")
        capsys.readouterr()
        assert entry(["correlate", str(run), names[0]]) == 3
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "session", "protocol"),
    [
        ("Nov 24 01:02:03 mail postfix/smtpd[7]: connect from x[10.0.0.9]", "postfix smtpd[7] connection 1", "smtp"),
        ("2026-11-24T01:02:03.5+01:00 mail postfix/submission/smtpd[7]: warning: x", "postfix smtpd[7] connection 0", "smtp"),
        ("Nov  4 01:02:03 mail postfix/qmgr[8]: 4ABCDE123: removed", "postfix queue 4ABCDE123", ""),
        ("Nov 24 01:02:03 mail dovecot: imap-login: Login: user=<a>, rip=10.0.0.9, session=<q/r+s>", "dovecot q/r+s", "imap"),
        ("Nov 24 01:02:03 pop3(a)<9><q/r+s>: Info: Disconnected: Logged out", "dovecot q/r+s", "pop3"),
        ("Nov 24 01:02:03 mail sshd[7]: Accepted", None, None),
    ],
)
def test_lines_of_syslog(line: str, session: str | None, protocol: str | None) -> None:
    entries = list(parse([line + "\n"], "mail.log", STARTED))
    assert [(item.session, item.protocol) for item in entries] == ([(session, protocol)] if session else [])


@pytest.mark.parametrize(("logged_on", "steady"), [(0.752, True), (0.6, False)])
def test_a_whole_second_is_stamped_up_to_a_tick_late(logged_on: float, steady: bool) -> None:
    # Two sessions at a second's end (0.75 s after the start). LOGOUT left 9 ms behind it, and its line still has the second before.
    out, other = (
        "Nov 24 01:02:03 imap(a)<9><q>: Info: Disconnected: Logged out",
        "Nov 24 01:02:04 dovecot: imap-login: Login: user=<a>, session=<r>",
    )
    matched = [Matched("imap", Session(entry.session, "d.log", [entry]), ()) for entry in parse([out, other], "d.log", STARTED)]
    ours = Ours("imap", "", "", 0.0, "", "", "", "", ((0.759, ">", "1 LOGOUT"),), {"login": (logged_on - 0.01, logged_on)})
    (clock,) = clocks_of(matched, {"imap": ours}, STARTED)
    assert clock.steady is steady


def test_a_line_without_a_year_is_of_the_year_that_lies_nearest() -> None:
    new_year = datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC)
    (item,) = parse(["Dec 31 23:59:59 mail postfix/smtpd[7]: connect from x"], "mail.log", new_year)
    assert item.at == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC) and not item.zoned


@given(st.lists(st.one_of(st.text(max_size=200), st.sampled_from([*OURS, *POP3, *HOSTILE])), max_size=20))
@settings(max_examples=200, deadline=None)
def test_whatever_a_log_holds_is_read_to_its_end(lines: list[str]) -> None:
    correlation = correlate(read_run(run_json()), [("any.log", lines)])
    assert all(moment.side in ("probe", "server") for moment in correlation.timeline)


def test_a_run_that_reached_no_server_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, log = tmp_path / "run.json", tmp_path / "RECV.LOG"
    run.write_text(
        saved({**run_json(), "stages": [], "transcript": []}),
        encoding="utf-8",
    )
    log.write_text("".join(OURS), encoding="utf-8")
    assert entry(["correlate", str(run), str(log)]) == 1
    assert "no connection of this run reached a server" in capsys.readouterr().out


def test_logs_of_one_name_from_two_servers_are_two_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run.json"
    run.write_text(saved(run_json()), encoding="utf-8")
    for folder, rows in (("FrontEnd", OURS), ("Hub", HUB)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "RECV.LOG").write_text("".join([*head("SMTP Receive Protocol Log"), *rows]), encoding="utf-8")
    names = [str(tmp_path / folder / "RECV.LOG") for folder in ("FrontEnd", "Hub")]
    assert entry(["correlate", str(run), *names, "-o", "json"]) == 1
    (told,) = json.loads(capsys.readouterr().out)["reports"]
    assert [item["source"] for item in told["matched"]] == names
