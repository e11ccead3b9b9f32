"""This machine's clock beside the mail server's, and what a clock that jumps may not do."""

from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from probe.facts import Submitted, Verified
from probe.judge.clock import judge
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target
from probe.report import Report
from probe.state import history
from probe.tasks.plan import plugins

PROFILE = load_mapping(
    {"submission": {"host": "mail.contoso.test"}, "account": {"username": "p@contoso.test", "password": {"env": "X"}}},
    plugins=plugins(),
)


def _record(*received: str | None) -> Record:
    hops = [{"by": f"mx{index}.contoso.test", "at": at, "seconds": None} for index, at in enumerate(received)]
    stages = (
        StageRecord("smtp.submit", "ok", at=2.0, seconds=3.0, facts=Submitted(marker="m")),
        StageRecord("imap.verify", "ok", at=6.0, facts=Verified(ours=True, hops=hops)),
    )
    return Record("id", "p", Target("mail.contoso.test", 587, "starttls"), "2026-01-01T00:00:00.000000Z", 0.0, stages)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2026-01-01T00:00:03Z", None),
        ("2026-01-01T00:01:04Z", None),
        ("2025-12-31T23:59:10Z", None),
        ("2026-01-01T01:00:05Z", "3600 s ahead of"),
        ("2025-12-31T23:00:02Z", "3600 s behind"),
        ("2027-01-01T00:00:05Z", "31536000 s ahead of"),
        (None, None),
    ],
)
def test_the_first_hop_says_what_the_servers_clock_shows(at: str | None, said: str | None) -> None:
    # What a later server writes is no matter: the message may lie in a queue before.
    found = list(judge(_record(at, "2030-01-01T00:00:00Z"), PROFILE))
    assert [item.id for item in found] == (["clock.differs"] if said else [])
    assert not said or said in found[0].summary


def _report(started: datetime) -> Report:
    return Report(
        id=started.isoformat(), profile="p", target=Target("mail.contoso.test", 587, "starttls"),
        started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), seconds=1.0, verdict="ok", failed_stage=None,
        delivery_seconds=None, stages=(), findings=(), transcript=(),
    )  # fmt: skip


def test_a_clock_that_jumps_loses_no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, now = tmp_path / "history.sqlite", datetime.now(UTC)
    history.add(file, [_report(now - timedelta(days=index)) for index in range(30)])

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Later":
            return cls.fromtimestamp(now.timestamp() + 365 * 86400, tz)

    monkeypatch.setattr(history, "datetime", Later)
    for index in range(20):
        history.add(file, [_report(now + timedelta(days=365, minutes=index))])
    assert len(history.rows(file, last=1000)) == 50


def test_old_runs_are_forgotten_once_as_many_newer_ones_agree_on_the_date(tmp_path: Path) -> None:
    file, now = tmp_path / "history.sqlite", datetime.now(UTC)
    history.add(file, [_report(now - timedelta(days=400 + index)) for index in range(3)])
    history.add(file, [_report(now - timedelta(minutes=index)) for index in range(2)])
    assert len(history.rows(file, last=1000)) == 5
    history.add(file, [_report(now - timedelta(minutes=2))])
    assert len(history.rows(file, last=1000)) == 3
