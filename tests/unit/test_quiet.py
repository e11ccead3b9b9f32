"""`-q`: what cron mails. Nothing when all is well, and with `--allow-warnings` nothing when there are only warnings."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from probe.cli import _show
from probe.record import Target
from probe.report import Finding, Report, Verdict
from probe.report.comparison import Change, Comparison

TARGET = Target("mail.example.test", 587, "starttls")
RUN = Report("id", "office", TARGET, "2026-01-01T00:00:00Z", 1.0, "ok", None, None, (), (), ())
SOON = Finding("certificate.expires-soon", "warning", "smtp.certificate", "it ends soon")
LOST = Finding("delivery.missing", "critical", "imap.find", "it did not come")


def mailed(capsys: pytest.CaptureFixture[str], *reports: Report, allow: bool, comparison: Comparison | None = None) -> str:
    now = datetime.now(UTC)
    _show.show(reports, now, 1.0, output="text", files=(), verbose=False, quiet=True, allow_warnings=allow, comparison=comparison)
    return capsys.readouterr().out


def run(verdict: Verdict, *findings: Finding, alarm: Verdict | None = None) -> Report:
    return replace(RUN, verdict=verdict, findings=findings, alarm=alarm)


def test_a_warning_is_mailed_only_where_warnings_count(capsys: pytest.CaptureFixture[str]) -> None:
    warned = run("warning", SOON)
    assert "it ends soon" in mailed(capsys, warned, allow=False)
    assert mailed(capsys, warned, allow=True) == mailed(capsys, run("ok"), allow=False) == ""


@pytest.mark.parametrize("verdict", ["critical", "unknown"])
def test_a_failure_is_mailed_with_all_that_was_seen_of_it(capsys: pytest.CaptureFixture[str], verdict: Verdict) -> None:
    said = mailed(capsys, run(verdict, LOST, SOON), run("warning", SOON), allow=True)
    assert said.startswith(verdict.upper()) and "it did not come" in said and said.count("it ends soon") == 1


def test_a_standing_warning_lets_no_single_failure_through(capsys: pytest.CaptureFixture[str]) -> None:
    """With --notify-after: what alarms decides, not what was seen."""
    single = run("critical", LOST, alarm="warning")
    assert mailed(capsys, single, allow=True) == "" != mailed(capsys, single, allow=False)


def test_a_comparison_is_held_to_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    def differs(*changes: Change) -> Comparison:
        return Comparison(changes, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")

    changed = Change("office", "ehlo.DSN", "offered", None, "warning")
    broken = Change("office", "imap.login.status", "ok", "failed", "critical")
    assert mailed(capsys, run("ok"), allow=True, comparison=differs(changed)) == ""
    assert "ehlo.DSN" in mailed(capsys, run("ok"), allow=False, comparison=differs(changed))
    assert "imap.login.status" in mailed(capsys, run("ok"), allow=True, comparison=differs(changed, broken))
