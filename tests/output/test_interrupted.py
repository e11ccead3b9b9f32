"""A run that was interrupted is nobody's fault: unknown and why, in every output there is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from probe.facts import Found
from probe.judge._ranges import limits
from probe.judge._verdict import judge, judge_ranges
from probe.output import Context, formats, output
from probe.record import Record, StageRecord, Target, Trouble
from probe.state import history
from probe.tasks.interrupted import cut_short
from probe.tasks.run import load_profile
from tests.output.runs import saved, told

# What says in each output that a run proved nothing, and why.
UNKNOWN = {
    "text": ["UNKNOWN (interrupted)", "the run was interrupted during imap.find, pop3.find"],
    "json": ['"verdict": "unknown"', '"interrupted": true', '"exit_code": 130'],
    "jsonl": ['"verdict":"unknown"', '"interrupted":true', '"exit_code":130'],
    "markdown": ["## UNKNOWN", "the run was interrupted during imap.find, pop3.find"],
    "github": ["UNKNOWN demo", "the run was interrupted during imap.find, pop3.find"],
    "nagios": ["SUBMISSION UNKNOWN - ", "the run was interrupted during imap.find, pop3.find"],
    "prometheus": ['verdict{profile="demo",verdict="unknown"} 1', 'finding="run.cancelled"'],
    "junit": ['type="unknown"', "the run was interrupted during imap.find, pop3.find"],
    "tap": ["not ok 24 - demo run", "the run was interrupted during imap.find, pop3.find"],
    "html": ["UNKNOWN", "the run was interrupted during imap.find, pop3.find"],
    "exchange": ["Skipped", "the run was interrupted during imap.find, pop3.find"],
    "protocol-log": ["#Remark: demo: unknown: the run was interrupted during imap.find, pop3.find"],
}


@pytest.mark.parametrize("name", sorted(formats()))
def test_every_output_says_unknown_and_why_and_blames_nobody(name: str) -> None:
    text = told(name, "interrupted")
    assert all(words in text for words in UNKNOWN[name]), text
    assert "delivery.missing" not in text and "but not found" not in text
    assert not any(
        words in text for words in ('severity="critical"', '"severity": "critical"', "CRITICAL", "Failure", "::error title=demo")
    )


def test_no_word_of_a_monitoring_plugins_ranges_makes_an_interrupted_run_critical() -> None:
    (report,) = saved("interrupted").reports
    late = judge_ranges(report, limits(None, "total=0.001"))
    assert any(finding.id == "threshold.exceeded" for finding in late.findings) and late.verdict == "unknown"
    assert output("nagios").write([late], Context("2026-11-24T08:00:00Z", 1.0)).startswith("SUBMISSION UNKNOWN - ")


def test_the_history_keeps_it_as_unknown_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    (report,) = saved("interrupted").reports
    assert history.add(file, [replace(report, started="2099-01-01T00:00:00.000000Z")]) is None
    (row,), (kept,) = history.rows(file), history.reports(file)
    assert row.verdict == "unknown" and row.failed_stage is None
    assert kept["interrupted"] is True and "run.cancelled" in json.dumps(kept["findings"])


def waited(name: str, end: float, finding: str, text: str = "") -> StageRecord:
    return StageRecord(name, "failed", at=1.0, seconds=end - 1.0, reason=text, trouble=Trouble(finding, text), facts=Found())


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        ("connect.timeout", "connect: no answer in time"),
        ("reply.timeout", "EHLO: no complete answer in time"),
        ("tls.handshake-failed", "TLS handshake with 127.0.0.1: no answer in time"),
        ("dns.failed", "look up mail.test: no answer in time"),
        ("delivery.missing", "the message was accepted, but not found within 1.0 s"),
        ("delivery.fate-unknown", "the message was sent, but no final reply came"),
        ("lease.held", "the maildrop is in use by another run"),
    ],
)
def test_what_was_still_waited_for_is_cut_short(finding: str, text: str) -> None:
    stages = (waited("imap.find", 5.0, finding, text), StageRecord("imap.verify", "skipped", reason="because imap.find failed"))
    cut, after = cut_short(stages, at=4.0)
    assert cut.status == "skipped" and cut.trouble and cut.trouble.id == "run.cancelled" and "interrupted" in (cut.reason or "")
    assert after.reason == "because imap.find was cut short"
    # It had ended before: that was the server's doing.
    assert cut_short(stages, at=6.0) == stages


@pytest.mark.parametrize(
    "finding", ["auth.refused", "connect.refused", "delivery.bounced", "message.forged", "tls.handshake-failed"]
)
def test_what_a_server_answered_stands_and_the_verdict_is_unknown_all_the_same(finding: str) -> None:
    stages = (waited("smtp.auth", 5.0, finding, "the server said so"),)
    assert cut_short(stages, at=4.0) == stages
    profile = load_profile(
        {"submission": {"host": "mail.test"}, "account": {"username": "a@mail.test", "password": {"env": "PROBE_TEST"}}}, {}
    )
    target = Target("mail.test", 587, "starttls")
    record = Record("id", "x", target, "2026-11-24T08:00:00.000000Z", 5.0, stages, interrupted=True)
    report = judge(record, profile)
    assert report.verdict == "unknown" and report.exit_code == 130 and [found.id for found in report.findings] == [finding]
    assert judge(replace(record, interrupted=False), profile).verdict == "critical"
