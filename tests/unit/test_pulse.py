"""A run during which the probe stood still is void, whatever it found and whatever a plugin's ranges say."""

from dataclasses import replace

import pytest

from probe.judge._ranges import limits
from probe.judge._verdict import judge, judge_ranges
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target, Trouble
from probe.tasks import pulse
from probe.tasks.plan import plugins

PROFILE = load_mapping(
    {"submission": {"host": "mail.contoso.com"}, "account": {"username": "p@contoso.com", "password": {"env": "P"}}},
    (),
    plugins=plugins(),
)
TIMEOUT = Trouble("connect.timeout", "connect to 10.0.0.1:587: no answer within 20 s")
FAILED = Record(
    "1", "office", Target("mail.contoso.com", 587, "starttls"), "2026-11-27T03:00:00.000000Z", 30.0,
    (StageRecord("smtp.resolve", "ok"), StageRecord("smtp.connect", "failed", trouble=TIMEOUT)),
)  # fmt: skip


def test_what_failed_meanwhile_is_unknown() -> None:
    assert judge(FAILED, PROFILE).verdict == "critical"
    report = judge(replace(FAILED, paused=28.4), PROFILE)
    assert report.verdict == "unknown" and report.failed_stage is None
    (told,) = report.findings
    assert (told.id, told.severity, told.stage) == ("run.paused", "warning", "smtp.connect") and "28 s" in told.summary
    assert judge_ranges(report, limits("total=1", "total=2")).verdict == "unknown"


def test_what_went_well_meanwhile_is_unknown_too() -> None:
    stages = (StageRecord("smtp.resolve", "ok"), StageRecord("smtp.connect", "ok"))
    report = judge(replace(FAILED, stages=stages, paused=6.0), PROFILE)
    assert report.verdict == "unknown" and [one.stage for one in report.findings] == ["smtp.connect"]


@pytest.mark.parametrize(("seconds", "paused"), [(4.9, None), (5.0, 5.0), (3600.0, 3600.0)])
async def test_a_pause_that_ends_with_the_run_is_seen(
    monkeypatch: pytest.MonkeyPatch, seconds: float, paused: float | None
) -> None:
    now = [100.0]
    monkeypatch.setattr(pulse, "clock", lambda: now[0])
    async with pulse.Pulse() as seen:
        now[0] += seconds
    assert seen.paused == pytest.approx(paused)
