"""What a profile's totals say, beside prometheus_client with the same numbers: the text format is one thing, whoever writes it."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, Summary, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from probe.output import prometheus
from probe.report import Report
from probe.runs.saved import read
from probe.serve.metrics import Metrics, Standing, together
from probe.serve.totals import DELIVERY_SECONDS, STAGE_SECONDS, Times, Totals, families
from tests.serve.test_serve import promtool

RECORDED = Path(__file__).parent.parent / "recorded"
# A file's name may hold all of these.
NAMES = ["office", 'a"b\\c', "zwölf ½", "x y"]


def recorded(name: str, profile: str) -> tuple[Report, ...]:
    reports = read((RECORDED / name).read_text(encoding="utf-8"), name).reports
    return tuple(replace(report, profile=profile) for report in reports)


def by_prometheus_client(names: list[str], said: list[tuple[str, tuple[Report, ...]]], *, full: bool) -> str:
    registry = CollectorRegistry()
    new = {"registry": registry, "namespace": "submission_probe"}
    counted = Counter("runs", "Runs since the start, by verdict.", ["profile", "verdict"], **new)
    delivery = Histogram(
        "delivery_latency_seconds", "Seconds from the final reply until a reader saw the message.", ["profile"],
        buckets=DELIVERY_SECONDS, **new,
    )  # fmt: skip
    stages: Histogram | Summary
    if full:
        stages = Histogram(
            "stage_latency_seconds", "Seconds each stage took.", ["profile", "stage"], buckets=STAGE_SECONDS, **new
        )  # fmt: skip
    else:
        stages = Summary("stage_latency_seconds", "Seconds each stage took.", ["profile", "stage"], **new)
    sent = Counter("messages_sent", "Messages that the server accepted.", ["profile"], **new)
    late = Counter("messages_late", "Messages found only after their run was over; they were deleted.", ["profile"], **new)
    missing = Counter("messages_missing", "Messages never found, given up after limits.lost_after.", ["profile"], **new)
    for name in names:
        for verdict in ("ok", "warning", "critical", "unknown"):
            counted.labels(name, verdict)
        for metric in (delivery, sent, late, missing):
            metric.labels(name)
    for name, reports in said:
        counted.labels(name, reports[0].verdict).inc()
        for report in reports:
            if report.delivery_seconds is not None:
                delivery.labels(name).observe(report.delivery_seconds)
            sent.labels(name).inc(any(one.name == "smtp.submit" and one.record.status == "ok" for one in report.stages))
            for stage in report.stages:
                if stage.status in ("ok", "warning"):
                    stages.labels(name, stage.name).observe(stage.record.seconds)
    late.labels(names[0]).inc(2)
    missing.labels(names[0]).inc(1)
    return generate_latest(registry).decode()


def without_created(text: str) -> list[str]:
    """Instants differ between the two."""
    return [line.rpartition(" ")[0] if "_created" in line and not line.startswith("#") else line for line in text.splitlines()]


@pytest.mark.parametrize("full", [False, True])
def test_it_is_written_as_prometheus_client_writes_it(full: bool) -> None:
    said = [
        (name, tuple(replace(report, verdict=reports[0].verdict) for report in reports))
        for name in NAMES
        for file in ("ok.json", "junk.json", "failed-imap-find.json", "ok.json")
        for reports in [recorded(file, name)]
    ]
    totals = {name: Totals(name, full=full) for name in NAMES}
    for name, reports in said:
        totals[name].add(reports)
        totals[name].lines()
    totals[NAMES[0]].add_collected(2, 1)
    ours = "".join(together([one.header() for one in families(full=full)], [one.lines() for one in totals.values()]))
    theirs = by_prometheus_client(NAMES, said, full=full)
    if not full:
        drop = [line for line in theirs.splitlines(keepends=True) if "_created{" in line or "_created " in line]
        theirs = "".join(line for line in theirs.splitlines(keepends=True) if line not in drop)
    assert without_created(ours) == without_created(theirs)


def test_a_time_falls_into_the_bucket_whose_bound_it_is() -> None:
    """`le` is less or equal."""
    times, theirs = Times(DELIVERY_SECONDS), Histogram("x", "x", buckets=DELIVERY_SECONDS, registry=CollectorRegistry())
    chosen = random.Random(1)
    for seconds in (*DELIVERY_SECONDS, 0.0, 121.0, 1e9, *(chosen.expovariate(1) for _ in range(500))):
        times.observe(seconds)
        theirs.observe(seconds)
    values = [sample.value for metric in theirs.collect() for sample in metric.samples if not sample.name.endswith("_created")]
    written = times.lines("x", 'profile="p"', buckets=True)
    assert [float(line.rpartition(" ")[2]) for line in written.splitlines()] == values


def test_of_many_profiles_each_name_has_one_header() -> None:
    """Rendered by profile and put together by name: what a scrape wants, and promtool takes."""
    metrics, names = Metrics(full=True), [f"p{number}" for number in range(5)]
    runs = {name: recorded("ok.json" if name != "p3" else "failed-imap-find.json", name) for name in names}
    for name in names:
        metrics.begin(name)
        metrics.add(name, runs[name])
    metrics.begin("left")
    metrics.forget("left")
    standing = {name: Standing(0, 0.0, 1.8e9, None, valid=True, secrets=name == "p1" or None) for name in names}
    last = together(prometheus.headers(full=True), [prometheus.samples(runs[name], full=True) for name in names])
    assert "".join(last) == prometheus.text([report for name in names for report in runs[name]], full=True)
    text = "".join((*last, *metrics.parts(standing)))
    headers = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(headers) == len(set(headers)) and '"left"' not in text
    found = {family.name: family.samples for family in text_string_to_metric_families(text)}
    assert [sample.labels["profile"] for sample in found["submission_probe_secrets_available"]] == ["p1"]
    assert len(found["submission_probe_last_success_timestamp_seconds"]) == 5 and not found.get("submission_probe_stale")
    assert len(found["submission_probe_runs"]) == 20


def test_promtool_takes_it(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.begin("office")
    metrics.add("office", recorded("ok.json", "office"))
    (tmp_path / "metrics").write_text("".join(metrics.parts({})), encoding="utf-8")
    assert promtool("check", "metrics", stdin=tmp_path / "metrics") == ""
