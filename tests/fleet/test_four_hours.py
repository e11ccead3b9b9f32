"""A four-hour schedule, by a clock of its own: sent, lost, late, bounced, duplicated and recovered mail, each said alike by
`run` from cron, by `serve` and by `worker`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from probe.cli import worker
from probe.judge._verdict import judge
from probe.report import Report
from probe.report.collection import tally
from probe.sandbox import Sandbox
from probe.serve import queue, schedule
from probe.serve.service import Service, Settings
from probe.state.place import Files
from probe.state.postgres import Postgres, make_schema
from probe.tasks.collect import collect
from probe.tasks.plan import make_plan
from probe.tasks.prepare import Session, prepare
from probe.tasks.run import load_profile, observe
from tests.fleet.four_hours import EVERY, LIMITS, TICKS, Clock, Post, Told, check, play
from tests.serve.serving import values
from tests.servers.postgresql import PostgreSQL


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    async with Sandbox() as started:
        monkeypatch.setenv("PROBE_SANDBOX_PASSWORD", started.password)
        yield started


def written(folder: Path, sandbox: Sandbox) -> str:
    path = folder / "office.toml"
    path.write_text(sandbox.profile() + LIMITS, encoding="utf-8")
    return str(path)


async def test_by_cron(tmp_path: Path, sandbox: Sandbox) -> None:
    """`run --collect --send-only` every five minutes."""
    clock, place = Clock(), Files(tmp_path / "state")
    profile, post = load_profile(written(tmp_path, sandbox), {}), Post(sandbox, clock)
    counts = []

    async def tick() -> list[Report]:
        clock.now += EVERY
        reading = await prepare(make_plan(profile, light=True), profile, place)
        collected = await collect(reading, profile, place=place, utc_now=clock.utc_now)
        counts.append(tally(collected))
        sending = await prepare(make_plan(profile, send_only=True), profile, place)
        return [collected, judge(await observe(sending, Session(place, utc_now=clock.utc_now)), profile)]

    check(await play(post, tick))
    assert sum(one.lost for one in counts if one) == 1 and len(place.entries()) == 2 and not place.lost()  # returned; just sent


async def test_by_serve(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "JITTER", 0.0)
    clock = Clock()
    post = Post(sandbox, clock)
    stored: list[Report] = []
    service = Service(
        Settings(
            (written(tmp_path, sandbox),), interval=EVERY.total_seconds(), place=Files(tmp_path / "state"), store=stored.extend,
            utc_now=clock.utc_now, sleep=clock.sleep,
        )
    )  # fmt: skip

    async def tick() -> list[Report]:
        await clock.next()
        return list(service.board.states["office"].latest)

    check_counted(await play(post, tick), service)
    await service.finish()
    assert sum(report.kind == "collection" for report in stored) > 10


async def test_by_worker(tmp_path: Path, sandbox: Sandbox) -> None:
    """Jobs of the real queue, on PostgreSQL; what the calendar would do every five minutes, the clock does."""
    clock, done, stopped = Clock(), asyncio.Event(), asyncio.Event()
    post = Post(sandbox, clock)
    with PostgreSQL() as server:
        make_schema(server.conninfo)
        await queue.prepare(server.conninfo)
        service = Service(
            Settings(
                (written(tmp_path, sandbox),), interval=None, place=Postgres(server.conninfo), collects=False, vantage="here",
                utc_now=clock.utc_now,
            )
        )  # fmt: skip

        async def run(name: str) -> None:
            await worker._run(service, name)
            done.set()

        settings = queue.Settings(server.conninfo, "here", EVERY.total_seconds())
        app = queue.make_app(settings, run)
        ready = asyncio.Event()
        working = asyncio.create_task(queue.work(app, settings, {}, stopped, lambda failure: ready.set()))
        await ready.wait()

        async def tick() -> list[Report]:
            clock.now += EVERY
            done.clear()
            job = app.configure_task(queue._TASK, queue="here", lock="mailbox", queueing_lock="office@here")
            await job.defer_async(timestamp=0, profile="office")
            async with asyncio.timeout(60):
                await done.wait()
            return list(service.board.states["office"].latest)

        check_counted(await play(post, tick), service)
        stopped.set()
        await working
        await service.finish()


def check_counted(told: Told, service: Service) -> None:
    """What was said, and what /metrics adds up."""
    check(told)
    counted = values(service.metrics())
    totals = {name: counted[f"submission_probe_messages_{name}_total"][("office",)] for name in ("sent", "late", "missing")}
    assert totals == {"sent": TICKS, "late": 3, "missing": 1}
    # One alert for late mail: what was held is no delivery of a run.
    assert counted["submission_probe_delivery_latency_seconds_count"] == {("office",): TICKS - 4}
    assert counted["submission_probe_leftovers"] == {("office",): 1}  # that which was returned


async def test_without_a_schedule_it_is_said_too(tmp_path: Path, sandbox: Sandbox) -> None:
    """Nobody asks for a run any more: the message is given up, and known when it comes after all."""
    clock, place = Clock(), Files(tmp_path / "state")
    post = Post(sandbox, clock)
    service = Service(Settings((written(tmp_path, sandbox),), interval=None, place=place, utc_now=clock.utc_now, sleep=clock.sleep))

    def said() -> str:
        return " / ".join(finding.summary for report in service.board.states["office"].latest for finding in report.findings)

    post.hold()
    await service.runner.run(service.targets["office"])
    async with asyncio.timeout(60):
        while not place.lost():
            await clock.next()
        assert "is given up" in said()
        post.release()
        clock.now += timedelta(hours=1)
        while "had been given up" not in said():
            await clock.next()
    runs = values(service.metrics())["submission_probe_runs_total"]
    assert not place.lost() and sum(runs.values()) == 1
    # What the run itself saw is still shown.
    assert [report.kind for report in service.board.states["office"].latest] == ["run", "collection"]
    await service.finish()


async def test_what_a_collection_found_outlives_the_end(tmp_path: Path, sandbox: Sandbox) -> None:
    """The program ends between a collection and the run that would have reported it."""
    clock, stored = Clock(), list[Report]()
    post = Post(sandbox, clock)
    service = Service(
        Settings((written(tmp_path, sandbox),), interval=None, collects=False, store=stored.extend, utc_now=clock.utc_now)
    )
    post.hold()
    await service.runner.run(service.targets["office"])
    clock.now += EVERY
    await service.runner.collect(service.targets["office"])
    await service.finish()
    assert [report.kind for report in stored] == ["run", "collection"] and stored[1].verdict == "critical"
