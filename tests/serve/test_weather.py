"""`probe serve` in bad weather: hasty scrapes, dead targets, a process that stands still, messages that nobody waited for."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from probe.sandbox import Sandbox
from tests.serve.serving import Serving, values
from tests.serve.test_serve import messages, profile, submissions

HASTY = {"X-Prometheus-Scrape-Timeout-Seconds": "1"}
SCRAPE = {"target": "office"}


async def until(seen: object) -> None:
    """Once `seen`, a function of a process that has no event, gives something."""
    assert callable(seen)
    async with asyncio.timeout(30):
        while not seen():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_hasty_scrape_takes_no_run_from_whoever_waits_longer(tmp_path: Path) -> None:
    """The hasty one began the run, which waits for its mailbox: whoever joins it has all of his own time."""
    async with Sandbox(fault="late") as sandbox:
        both = [profile(tmp_path, sandbox, name) for name in ("a", "office")]
        async with Serving(tmp_path, *both, "--interval", "none") as serving:
            first = asyncio.create_task(serving.get("/probe", params={"target": "a"}))
            await until(lambda: submissions(sandbox))
            hasty = asyncio.create_task(serving.get("/probe", params=SCRAPE, headers=HASTY))
            patient = asyncio.create_task(serving.get("/probe", params=SCRAPE))
            answers = await asyncio.gather(first, hasty, patient)
            assert [answer.status_code for answer in answers] == [200, 503, 200], [answer.text[:200] for answer in answers]
            assert values(answers[2].text)["probe_success"] == {(): 1}
            runs = (await serving.metrics())["submission_probe_runs_total"]
            assert runs[("office", "ok")] == 1 and sum(runs.values()) == 2
            assert "internal error" not in serving.said and "never retrieved" not in serving.said


async def test_a_scrape_shares_the_run_of_the_schedule(tmp_path: Path) -> None:
    async with Sandbox(fault="late") as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "5m") as serving:
        await until(lambda: submissions(sandbox))
        shared = await serving.get("/probe", params=SCRAPE)
        assert values(shared.text)["probe_success"] == {(): 1} and submissions(sandbox) == 1


async def test_an_aborted_scrape_leaves_metrics_whole(tmp_path: Path) -> None:
    """Prometheus hangs up in the middle: the run ends as it would have, is counted once, and its message is deleted."""
    async with Sandbox(fault="late") as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "none") as serving:
        port = int(serving.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /probe?target=office HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await until(lambda: submissions(sandbox))
        writer.transport.abort()
        await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")
        told = await serving.metrics()
        assert told["submission_probe_success"] == {("office",): 1} and messages(sandbox) == 0
        assert sum(told["submission_probe_runs_total"].values()) == 1


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """The port of a server that takes connections and never says a word."""

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_dead_targets_do_not_delay_the_living(tmp_path: Path) -> None:
    """Two turns, four dead targets: once they are known to be slow, one turn is left to whoever answers."""
    dead_users = [f"dead{index}@sandbox.test" for index in range(4)]
    async with Sandbox(others=dead_users) as sandbox, silent() as port:
        paths = [profile(tmp_path, sandbox)]
        for index, user in enumerate(dead_users):
            path = profile(tmp_path, sandbox, f"dead{index}", user)
            text = sandbox.profile(user).replace(f"port = {sandbox.addresses['submission'].port}", f"port = {port}")
            Path(path).write_text(f'{text}[limits]\ntimeout = "4s"\n', encoding="utf-8")
            paths.append(path)
        async with Serving(tmp_path, *paths, "--interval", "1s", "--concurrency", "2") as serving:
            for index in range(4):
                await serving.until_metric("submission_probe_runs_total", 1, f"dead{index}", "critical")
            before = (await serving.metrics())["submission_probe_runs_total"]
            for index in range(2):
                await serving.until_metric("submission_probe_runs_total", 2, f"dead{index}", "critical")
            after = (await serving.metrics())["submission_probe_runs_total"]
            dead = sum(after[("critical", f"dead{index}")] - before[("critical", f"dead{index}")] for index in range(4))
            living = after[("office", "ok")] - before[("office", "ok")]
            # A dead one's run takes four seconds, the living one is due each second; waiting in one line it has a turn in five.
            assert living >= 2 * dead >= 4, (living, dead)


async def test_a_run_that_straddles_a_pause_is_void(tmp_path: Path) -> None:
    """SIGSTOP, as a sleeping laptop: what timed out meanwhile says nothing of the server, and is no delay of its mail."""
    async with Sandbox(fault="late") as sandbox:
        path = profile(tmp_path, sandbox, more='[limits]\ntimeout = "6s"\n')
        async with Serving(tmp_path, path, "--interval", "1s") as serving:
            await until(lambda: submissions(sandbox))
            serving.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(7)  # what is tried is time that passes
            serving.process.send_signal(signal.SIGCONT)
            await serving.until_metric("submission_probe_runs_total", 1, "office", "unknown")
            told = await serving.metrics()
            assert any("run.paused" in labels for labels in told["submission_probe_finding"])
            assert not any("critical" in labels for labels in told["submission_probe_finding"])
            assert told["submission_probe_delivery_latency_seconds_count"] == {("office",): 0}
            assert "stood still" in (await serving.get("/")).text
            await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")
            assert (await serving.metrics())["submission_probe_runs_total"][("critical", "office")] == 0


async def test_without_a_schedule_what_was_sent_is_still_collected(tmp_path: Path) -> None:
    """A message that came after its run had ended: nobody asks for another run, and it is found and deleted all the same."""
    async with Sandbox(fault="late") as sandbox:
        path = profile(tmp_path, sandbox, more='[limits]\ntimeout = "2s"\n')
        async with Serving(tmp_path, path, "--interval", "none") as serving:
            told = values((await serving.get("/probe", params=SCRAPE)).text)
            assert told["probe_success"] == {(): 0}
            await serving.until_metric("submission_probe_messages_late_total", 1, "office")
            assert messages(sandbox) == 0 and submissions(sandbox) == 1


async def test_seconds_of_535_make_no_half_hour_of_red(tmp_path: Path) -> None:
    """The password was good before: one logon tries it again after a minute, and the next run logs on everywhere."""
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "1s") as serving:
        await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")
        sandbox._world.fault = "wrong-password"
        await serving.until_metric("submission_probe_runs_total", 2, "office", "critical")
        sandbox._world.fault = None
        before, well = len(sandbox.logons), (await serving.metrics())["submission_probe_runs_total"][("office", "ok")]
        for path in serving.state.glob("refused-*.json"):
            refused = json.loads(path.read_text(encoding="utf-8"))
            assert refused["times"] == 0
            path.write_text(json.dumps({**refused, "at": refused["at"] - 61}), encoding="utf-8")
        await serving.until_metric("submission_probe_runs_total", well + 1, "office", "ok")
        first, *then = [logon.protocol for logon in sandbox.logons[before:]]
        assert first == "smtp" and set(then[:3]) == {"smtp", "imap", "pop3"}


async def test_a_confirmation_does_not_wait_for_the_interval(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, Serving(tmp_path, profile(tmp_path, sandbox), "--interval", "5m") as serving:
        await serving.until_metric("submission_probe_runs_total", 1, "office", "ok")
        sandbox._world.fault = "wrong-password"
        # The schedule's own runs come every five minutes: it is a reload of a changed profile that brings this one.
        profile(tmp_path, sandbox, more='[limits]\ntimeout = "49s"\n')
        serving.process.send_signal(signal.SIGHUP)
        await serving.until_metric("submission_probe_runs_total", 1, "critical", "office")
        page = (await serving.get("/")).text
        now, due = (re.search(pattern, page) for pattern in (r"As of ([\d:]+) UTC", r"next run</dt><dd>([\d:]+)"))
        assert now and due
        seconds = (datetime.strptime(due[1], "%H:%M:%S") - datetime.strptime(now[1], "%H:%M:%S")).seconds
        assert 30 < seconds <= 62
