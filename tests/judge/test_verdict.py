"""The verdict: each stage's status, the first that failed, a monitoring plugin's ranges."""

import pytest

from probe.judge._ranges import limits
from probe.judge._verdict import judge_ranges
from tests.output.runs import saved

OK = saved("ok").reports[0]


@pytest.mark.parametrize(
    ("warning", "critical", "stage", "status", "verdict"),
    [
        ("delivery=@0:10", None, None, "warning", "warning"),
        (None, "delivery=@0:10", None, "failed", "critical"),
        ("certificate=100000:", None, "smtp.certificate", "warning", "warning"),
        ("total=@0:100", "total=@0:100", None, "failed", "critical"),
    ],
)
def test_a_range_that_alerts_is_a_finding_of_a_stage_that_took_place(
    warning: str | None, critical: str | None, stage: str | None, status: str, verdict: str
) -> None:
    report = judge_ranges(OK, limits(warning, critical))
    (found,) = [finding for finding in report.findings if finding.id == "threshold.exceeded"]
    (named,) = [item for item in report.stages if item.name == found.stage]
    assert named.status == status and named.record.status == "ok" and report.verdict == verdict
    assert found.cause and found.remedy and stage in (None, found.stage)
    assert report.failed_stage == (found.stage if status == "failed" else None)


def test_the_delivery_is_measured_where_the_message_was_seen_first() -> None:
    first = min((item.record.facts.seconds, item.name) for item in OK.stages if item.name.endswith(".find"))[1]
    (found,) = [item for item in judge_ranges(OK, limits("@0:10", None)).findings if item.id == "threshold.exceeded"]
    assert found.stage == first


def test_a_range_that_does_not_alert_changes_nothing_but_what_graphs_draw() -> None:
    report = judge_ranges(OK, limits("delivery=100,total=100", "certificate=1:"))
    assert (report.stages, report.findings, report.verdict) == (OK.stages, OK.findings, OK.verdict)
    assert report.ranges == {"delivery": ("100", ""), "total": ("100", ""), "certificate": ("", "1:")}
