"""Which series /metrics has: those that our own rules and panels use, and with `--metrics full` all."""

import asyncio
from pathlib import Path

import pytest

from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target, Trouble
from probe.sandbox import Sandbox
from probe.serve import blackbox
from probe.tasks.plan import plugins
from tests.serve.serving import Serving, values
from tests.serve.test_serve import _probe, profile, promtool

# Of a profile with both readers; the delivery's histogram and the stages' sums and counts are three quarters of it.
MOST_SERIES = 100


@pytest.mark.parametrize("full", [False, True])
async def test_the_series_of_a_profile(tmp_path: Path, full: bool) -> None:
    more = ["--metrics", "full"] if full else []
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "1s", *more) as serving:
        await serving.until_metric("submission_probe_runs_total", 2, "office", "ok")
        text = (await serving.get("/metrics")).text
        probed = values((await serving.get("/probe", params={"target": "office"})).text)
    told = values(text)
    series = sum("office" in labels for found in told.values() for labels in found)
    assert (series > 300) == full and (series < MOST_SERIES) != full, series
    assert told["submission_probe_stage_latency_seconds_count"][("imap.find", "office")] >= 2
    for name in ("stage_success", "stage_duration_seconds", "stage_latency_seconds_bucket", "runs_created"):
        assert (f"submission_probe_{name}" in told) == full, name
    assert "# TYPE submission_probe_finding gauge" in text
    assert full or not any("info" in labels for labels in told.get("submission_probe_finding", {}))
    assert probed["submission_probe_stage_success"][("imap.verify", "office")] == 1  # a scrape of one run has all
    (tmp_path / "metrics").write_text(text, encoding="utf-8")
    assert promtool("check", "metrics", stdin=tmp_path / "metrics") == ""


async def test_a_set_that_there_is_not_is_one_line(tmp_path: Path) -> None:
    done = await asyncio.to_thread(_probe, "serve", "profiles/generic.toml", "--metrics", "some")
    assert done.returncode == 3 and "expected usual or full" in done.stderr and done.stderr.count("\n") == 1


PROFILE = load_mapping(
    {"submission": {"host": "mail.contoso.com"}, "account": {"username": "p@contoso.com", "password": {"env": "P"}}},
    (),
    plugins=plugins(),
)


@pytest.mark.parametrize(
    ("dialled", "found", "protocol"),
    [("10.0.0.1:587", "10.0.0.1", 4), ("[2001:db8::1]:587", "2001:db8::1", 6), (None, "2001:db8::1", 6), (None, None, 0)],
)
def test_the_ip_protocol_of_a_failure(dialled: str | None, found: str | None, protocol: float) -> None:
    from probe.facts import Connected, Resolved
    from probe.judge._verdict import judge

    resolved = StageRecord("smtp.resolve", "ok", facts=Resolved(addresses=[found] if found else []))
    attempts = [{"address": dialled, "seconds": None, "error": "refused"}] if dialled else []
    trouble = Trouble("connect.refused", "refused")
    failed = StageRecord("smtp.connect", "failed", trouble=trouble, facts=Connected(attempts=attempts))  # type: ignore[arg-type]
    target = Target("mail.contoso.com", 587, "starttls")
    report = judge(Record("1", "office", target, "2026-11-27T03:00:00.000000Z", 1.0, (resolved, failed)), PROFILE)
    assert values(blackbox.text([report], 1.0))["probe_ip_protocol"] == {(): protocol}


async def test_the_ip_protocol_of_a_server_that_refuses(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        path = profile(tmp_path, sandbox)
        async with Serving(tmp_path, path, "--interval", "none") as serving:
            for server in sandbox._servers:
                server.close()
            told = values((await serving.get("/probe", params={"target": "office"})).text)
    assert told["probe_success"] == {(): 0} and told["probe_ip_protocol"] == {(): 4}
