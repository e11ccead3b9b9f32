"""`--notify-after N`: which run alarms, what is counted, and that nothing is hidden by it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from probe.output import Context, nagios, prometheus, text
from probe.record import Target
from probe.report import Report, Verdict, exit_code
from probe.report.as_json import to_json
from probe.runs import saved
from probe.state.place import Files
from probe.tasks.notify import counted

RUN = Report(
    "id", "office", Target("mail.example.test", 587, "starttls"), "2026-01-01T00:00:00Z", 1.0, "ok", None, None, (), (), ()
)


def told(place: Files, verdicts: str, notify_after: int, *, probed: str = "office") -> list[tuple[Verdict | None, int]]:
    """(what the run alarms with, failures in a row) of runs one after another: o, w, c, u."""
    names: dict[str, Verdict] = {"o": "ok", "w": "warning", "c": "critical", "u": "unknown"}
    seen = []
    for letter in verdicts:
        (report,), remark = counted([replace(RUN, verdict=names[letter])], lambda _: probed, notify_after, place)
        assert remark is None
        seen.append((report.alarm, report.failures_in_a_row))
    return seen


def test_the_third_failure_in_a_row_alarms_and_a_good_run_begins_anew(tmp_path: Path) -> None:
    seen = told(Files(tmp_path), "ccoccccocu", 3)
    assert [alarm for alarm, _ in seen] == ["ok", "ok", "ok", "ok", "ok", "critical", "critical", "ok", "ok", "ok"]
    assert [number for _, number in seen] == [1, 2, 0, 1, 2, 3, 4, 0, 1, 2]


def test_a_warning_that_stands_lets_no_single_failure_through(tmp_path: Path) -> None:
    assert [alarm for alarm, _ in told(Files(tmp_path), "wwwcwccc", 3)] == [
        "ok", "ok", "warning", "warning", "warning", "warning", "warning", "critical",
    ]  # fmt: skip


def test_each_thing_that_is_probed_is_counted_by_itself(tmp_path: Path) -> None:
    place = Files(tmp_path)
    told(place, "cc", 3)
    assert told(place, "c", 3, probed="other") == [("ok", 1)] and told(place, "c", 3) == [("critical", 3)]


def test_several_reports_of_one_run_count_once_and_what_we_ended_does_not(tmp_path: Path) -> None:
    place, bad = Files(tmp_path), replace(RUN, verdict="critical")
    (one, two), _ = counted([bad, RUN], lambda _: "p", 2, place)
    assert (one.failures_in_a_row, two.failures_in_a_row, one.alarm, two.alarm) == (1, 1, "ok", "ok")
    (ended,), _ = counted([replace(bad, interrupted=True)], lambda _: "p", 2, place)
    assert ended.alarm is None and exit_code([ended]) == 130
    assert counted([bad], lambda _: "p", 2, place)[0][0].alarm == "critical"


def test_what_cannot_be_counted_alarms(tmp_path: Path) -> None:
    (tmp_path / "streaks").write_text("in the way")
    (report,), remark = counted([replace(RUN, verdict="critical")], lambda _: "p", 3, Files(tmp_path))
    assert remark and "each one alarms" in remark and exit_code([report]) == 2


@pytest.mark.parametrize("damage", ["{", "[]", '{"not_ok": 9}', '{"not_ok": "x", "failed": 1}'])
def test_a_damaged_count_begins_anew(tmp_path: Path, damage: str) -> None:
    place = Files(tmp_path)
    told(place, "cc", 3)
    (file,) = (tmp_path / "streaks").iterdir()
    file.write_text(damage)
    assert told(place, "c", 3) == [("ok", 1)]


def test_the_outputs_say_what_was_seen_and_that_it_is_no_alarm_yet(tmp_path: Path) -> None:
    (held,), _ = counted([replace(RUN, verdict="critical")], lambda _: "p", 3, Files(tmp_path))
    context = Context("2026-01-01T00:00:00Z", 1.0)
    assert "1 failure in a row, critical is an alarm at 3" in text.write([held], context) and "CRITICAL" in text.headline(held)
    line = nagios.write([held], context)
    assert line.startswith("SUBMISSION OK - ") and "1 failure in a row, critical is an alarm at 3" in line
    data = to_json([held], started="2026-01-01T00:00:00Z", seconds=1.0)
    assert (data["verdict"], data["exit_code"]) == ("critical", 0)
    assert data["reports"][0]["failures_in_a_row"] == 1 and data["reports"][0]["alarm"] == "ok"  # type: ignore[index]
    (read,) = saved.read(json.dumps(data)).reports
    assert read.alarms == "ok" and read.verdict == "critical" and exit_code([read]) == 0
    shown = prometheus.write([held], context)
    assert 'submission_probe_failures_in_a_row{profile="office"} 1\n' in shown
    assert 'submission_probe_alarm{profile="office"} 0\n' in shown and 'submission_probe_success{profile="office"} 0\n' in shown
    place = Files(tmp_path)
    for _ in range(2):
        (report,), _ = counted([replace(RUN, verdict="critical")], lambda _: "p", 3, place)
    assert nagios.write([report], context).startswith("SUBMISSION CRITICAL - ") and exit_code([report]) == 2
    assert "(3 failures in a row)" in text.write([report], context)


def test_nothing_is_said_of_it_where_nobody_asked() -> None:
    context = Context("2026-01-01T00:00:00Z", 1.0)
    assert "alarm" not in to_json([RUN], started=RUN.started, seconds=1.0)["reports"][0]  # type: ignore[index]
    assert "in a row" not in text.write([replace(RUN, verdict="critical")], context)
    assert "failures_in_a_row{" not in prometheus.write([RUN], context)
