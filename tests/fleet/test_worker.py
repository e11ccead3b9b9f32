"""`probe worker`: three of them on a real PostgreSQL, one killed -9 in mid-run; and the state that they share."""

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from probe.message import new_marker
from probe.report import Verdict
from probe.sandbox import Sandbox
from probe.serve.moments import Moments, WrongInterval, first_after
from probe.state.lease import Held
from probe.state.outbox import Entry, stamp
from probe.state.place import Files, Place
from probe.state.postgres import Postgres, make_schema
from probe.state.streaks import Streak
from tests.serve.serving import ROOT, Serving, values
from tests.servers.postgresql import PostgreSQL

MAILBOXES = 6
WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with PostgreSQL() as server:
        make_schema(server.conninfo)
        yield server


@pytest.fixture(params=["files", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, postgresql: PostgreSQL) -> Place:
    return Files(tmp_path / "state") if request.param == "files" else Postgres(postgresql.conninfo)


async def test_a_lease_excludes_and_says_who_has_it(place: Place) -> None:
    now = asyncio.get_running_loop().time
    async with place.lease("mail.example.test u", "process 1 on here, profile a", now()):
        with pytest.raises(Held, match="process 1 on here"):
            async with place.lease("mail.example.test u", "another", now() + 0.2):
                raise AssertionError
        async with place.lease("mail.example.test v", "another", now()):
            pass
    async with place.lease("mail.example.test u", "another", now()):
        pass


async def test_a_lease_is_waited_for(place: Place) -> None:
    now, events = asyncio.get_running_loop().time, []
    held = asyncio.Event()

    async def first() -> None:
        async with place.lease("box", "first", now()):
            held.set()
            await asyncio.sleep(0.3)
            events.append("first")

    async def second() -> None:
        await held.wait()
        async with place.lease("box", "second", now() + 10):
            events.append("second")

    await asyncio.gather(first(), second())
    assert events == ["first", "second"]


HOLDER = """
import asyncio, sys
from pathlib import Path
from probe.state.place import Files
from probe.state.postgres import Postgres
async def hold():
    place = Files(Path(sys.argv[2])) if sys.argv[1] == "files" else Postgres(sys.argv[2])
    async with place.lease("box", "the killed one", 0):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(hold())
"""


async def test_a_lease_is_freed_when_its_holder_is_killed(place: Place, tmp_path: Path, postgresql: PostgreSQL) -> None:
    where = ["files", str(tmp_path / "state")] if isinstance(place, Files) else ["postgresql", postgresql.conninfo]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, *where, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None and await process.stdout.readline() == b"held\n"
    now = asyncio.get_running_loop().time
    with pytest.raises(Held, match="the killed one"):
        async with place.lease("box", "next", now()):
            raise AssertionError
    process.kill()
    async with place.lease("box", "next", now() + 10):
        pass
    await process.wait()


def test_traces_and_refusals_are_kept_alike(place: Place) -> None:
    entry = Entry(new_marker(bytes(16)), "office", "2026-01-01T00:00:00Z", "u@example.test", "mail.example.test")
    key, remark = place.key()
    assert len(key) == 32 and remark is None and place.key() == (key, None)
    place.put(entry)
    assert entry in place.entries()
    place.remove(entry.marker)
    assert place.entries() == []
    assert place.suspended_until("smtp://h", "U", "mark") is None
    place.note_refused("smtp://h", "U", "mark")
    first = place.suspended_until("smtp://H", "u", "mark")
    place.note_refused("smtp://h", "U", "mark")
    second = place.suspended_until("smtp://h", "U", "mark")
    assert first and second and second > first + 1700 and place.suspended_until("smtp://h", "U", "changed") is None
    assert place.is_refused("smtp://h", "U") and not place.is_refused("imap://h", "U")
    # A success of another secret leaves it; each secret has a refusal of its own.
    place.forget_refused("smtp://h", "U", "changed")
    assert place.suspended_until("smtp://h", "U", "mark") == second
    place.note_refused("smtp://h", "U", "stale")
    assert place.suspended_until("smtp://h", "U", "mark") == second and place.suspended_until("smtp://h", "U", "stale")
    place.forget_refused("smtp://H", "u", "stale")
    assert place.suspended_until("smtp://h", "U", "mark") == second and place.suspended_until("smtp://h", "U", "stale") is None
    place.forget_refused("smtp://h", "U", "mark")
    assert not place.is_refused("smtp://h", "U") and place.suspended_until("smtp://h", "U", "mark") is None
    # One that was good before is confirmed after a minute.
    assert place.accepted_at("smtp://h", "U") is None
    place.note_accepted("smtp://h", "U", "mark")
    assert place.accepted_at("smtp://H", "u") and not place.is_refused("smtp://h", "U")
    place.note_refused("smtp://h", "U", "other")
    assert not place.is_unconfirmed("smtp://h", "U", "other")
    place.note_refused("smtp://h", "U", "mark")
    minute = place.suspended_until("smtp://h", "U", "mark")
    assert place.is_unconfirmed("smtp://h", "U", "mark") and minute and minute < first - 1700 + 100
    place.note_refused("smtp://h", "U", "mark")
    assert not place.is_unconfirmed("smtp://h", "U", "mark")
    for mark in ("mark", "other"):
        place.forget_refused("smtp://h", "U", mark)


def test_what_is_on_its_way_lost_and_failing_is_kept_alike(place: Place) -> None:
    now = datetime.now(UTC)
    entry = Entry(
        new_marker(b"1" * 16), "office", stamp(now), "u@example.test", "mail.example.test", "s@example.test", "p", stamp(now)
    )
    place.put(entry)
    assert place.entries() == [entry] and place.is_under_way(entry.marker, now - timedelta(1))
    assert not place.is_under_way(entry.marker, now) and not place.is_under_way(new_marker(bytes(16)), now - timedelta(1))
    place.give_up(entry)
    assert place.entries() == [] and place.lost() == [entry]
    place.remove(entry.marker)
    assert place.lost() == []
    verdicts: list[Verdict] = ["critical", "warning", "unknown", "ok"]
    assert [place.count_run("p", verdict) for verdict in verdicts] == [Streak(1, 1), Streak(2, 0), Streak(3, 1), Streak(0, 0)]


def test_an_outbox_of_an_older_version_is_read(postgresql: PostgreSQL) -> None:
    """Its table is made complete by --init; its entries have no more than they had."""
    with psycopg.connect(postgresql.conninfo, autocommit=True) as connection:
        connection.execute("create database older")
    conninfo = postgresql.conninfo.replace("dbname=postgres", "dbname=older")
    values = [new_marker(bytes(16)), "office", "2026-01-01T00:00:00Z", "u@example.test", "h"]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "create table submission_probe_outbox (marker text primary key, profile text not null, sent text not null,"
            " recipient text not null, host text not null)"
        )
        connection.execute("insert into submission_probe_outbox values (%s, %s, %s, %s, %s)", values)
    make_schema(conninfo)
    assert Postgres(conninfo).entries() == [Entry(*values)]


def test_an_old_digest_in_the_database_is_written_over_and_suspends(postgresql: PostgreSQL) -> None:
    place = Postgres(postgresql.conninfo)
    place.note_refused("smtp://old", "u", "0" * 64)
    assert place.is_refused("smtp://old", "u")
    assert "0" * 64 not in rows(postgresql, "select fingerprint from submission_probe_refusal")
    assert place.suspended_until("smtp://old", "u", "whatever") is not None
    place.forget_refused("smtp://old", "u", "whatever")


@pytest.mark.parametrize("seconds", [1, 2, 5, 30, 60, 300, 900, 3600, 7200])
def test_moments_are_an_interval_apart_and_the_same_every_day(seconds: int) -> None:
    first = first_after("office", seconds, 1_800_000_000.5)
    assert 0 < first - 1_800_000_000.5 <= seconds and first_after("office", seconds, first) == first + seconds
    assert first_after("office", seconds, 1_800_000_000.5 + 86_400) == first + 86_400


@pytest.mark.parametrize("seconds", [7, 90, 1.5, 86400, 5000])
def test_intervals_that_no_calendar_has(seconds: float) -> None:
    with pytest.raises(WrongInterval):
        Moments(["office"], seconds, 0.0)


def test_moments_come_in_their_order_each_once_and_spread() -> None:
    """Two workers that began at other times have the same, from when both are up."""
    names, now = [f"p{number}" for number in range(600)], 1_800_000_000.0
    one, other = Moments(names, 60, now), Moments(names, 60, now + 31.4)
    seen = [one.take(now + second) for second in range(40)]
    assert all(moment <= now + second for second, found in enumerate(seen) for moment, _ in found)
    assert max(len(found) for found in seen[1:]) < 40 and seen == [sorted(found) for found in seen]
    other.take(now + 39)
    ours, theirs = ([pair for second in range(40, 160) for pair in moments.take(now + second)] for moments in (one, other))
    assert ours == theirs and len(ours) == len(set(ours)) and {name for _, name in ours} == set(names)
    assert 0 <= one.seconds_left(now + 159) <= 1


def test_what_nobody_could_queue_in_time_is_let_pass() -> None:
    """After an hour without a database the queue gets what has just come, not 12 times everything at once."""
    moments = Moments([f"p{number}" for number in range(300)], 300, 0.0)
    moments.take(0.0)
    found = moments.take(3600.0)
    assert found and all(3570 <= moment <= 3600 for moment, _ in found)
    assert len(Moments(["office"], 43_200, 0.0).take(43_200.0)) <= 1 and Moments([], 60, 0.0).seconds_left(0.0) == float("inf")


def worker(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "probe", "worker", *arguments]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_what_is_wrong_is_one_line(tmp_path: Path, postgresql: PostgreSQL) -> None:
    nowhere = worker("--init", "--database-env", "DSN", DSN="host=127.0.0.1 port=1 user=u password=canary-Horse7")
    unset = worker("--init", "--database-env", "NO_SUCH_DSN")
    bare = worker("profiles/generic.toml", "--database-env", "DSN", DSN=postgresql.conninfo.replace("postgres", "template1"))
    odd = worker("profiles/generic.toml", "--database-env", "DSN", "--interval", "7s", DSN=postgresql.conninfo)
    for done, said in ((nowhere, "refused"), (unset, "NO_SUCH_DSN"), (bare, "probe worker --init"), (odd, "divides a minute")):
        assert done.returncode == 3 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert "canary" not in done.stderr


class Worker(Serving):
    """One `probe worker` process."""

    COMMAND = "worker"


def connected(process: int, port: int) -> bool:
    """Whether the process has a connection to that port of loopback now (proc(5), /proc/net/tcp)."""
    inodes = set()
    for link in Path(f"/proc/{process}/fd").glob("*"):
        try:
            inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    return any(fields[2].endswith(f":{port:04X}") and fields[3] == "01" and fields[9] in inodes for fields in lines)


async def test_three_workers_one_killed_in_mid_run(tmp_path: Path, postgresql: PostgreSQL) -> None:
    users = [f"u{index}@sandbox.test" for index in range(MAILBOXES)]
    async with Sandbox(others=users) as sandbox, Sandbox(fault="late") as slow, AsyncExitStack() as stack:
        paths, mailbox_of = profiles(tmp_path, sandbox, users)
        # Its message is on its way for three seconds: the worker that has it is killed then.
        (tmp_path / "slow.toml").write_text(slow.profile() + '[limits]\ntimeout = "12s"\n')
        paths.append(str(tmp_path / "slow.toml"))
        environ = {"DSN": postgresql.conninfo}
        assert (await asyncio.to_thread(worker, "--init", "--database-env", "DSN", **environ)).returncode == 0
        options = ["--database-env", "DSN", "--interval", "2s", "--vantage", "here", "--stalled-after", "4s"]
        workers = []
        for index in range(3):
            (tmp_path / f"w{index}").mkdir()
            workers.append(await stack.enter_async_context(Worker(tmp_path / f"w{index}", *paths, *options, environ=environ)))
        victim = await until(lambda: next((w for w in workers if connected(w.process.pid, slow.addresses["imaps"].port)), None))
        marker = await until(lambda: rows(postgresql, "select marker from submission_probe_outbox where profile = 'slow'"))
        victim.process.kill()
        await victim.process.wait()
        killed_at = rows(postgresql, "select now()")[0]
        survivors = [w for w in workers if w is not victim]

        # No job is lost: every profile runs again, the slow one by a worker that took it up.
        after = "select profile from submission_probe_run where started > %s and verdict = 'ok'"
        await until(lambda: set(rows(postgresql, after, killed_at)) == {*mailbox_of, "slow"})
        # The killed run's message is swept later.
        await until(lambda: marker[0] not in rows(postgresql, "select marker from submission_probe_outbox"))
        swept = [values((await w.get("/metrics")).text)["submission_probe_messages_late_total"] for w in survivors]
        assert sum(sum(counts.values()) for counts in swept) >= 1
        for one in survivors:
            assert await one.end() == 0, one.said

        # No mailbox was used twice at a time, by whichever worker.
        for user in set(mailbox_of.values()):
            names = [name for name, mailbox in mailbox_of.items() if mailbox == user]
            assert_one_after_another(runs(postgresql, names))
        assert all(verdict == "ok" for *_, verdict in runs(postgresql, list(mailbox_of)))
        # A run that was cut short at the end may leave its message, but never without its trace.
        left = [message for box in sandbox.mailboxes.values() for folder in box.folders.values() for message in folder.messages]
        traces = rows(postgresql, "select marker from submission_probe_outbox")
        assert all(any(trace.encode() in message.raw for trace in traces) for message in left)
        assert marker[0].encode() not in b"".join(raw(slow))


def profiles(folder: Path, sandbox: Sandbox, users: list[str]) -> tuple[list[str], dict[str, str]]:
    """Two profiles for each mailbox: their paths, and whose mailbox each reads."""
    paths, mailbox_of = [], {}
    for index, user in enumerate(users):
        for letter in "ab":
            path = folder / f"p{index}{letter}.toml"
            path.write_text(sandbox.profile(user))
            paths.append(str(path))
            mailbox_of[path.stem] = user
    return paths, mailbox_of


def raw(sandbox: Sandbox) -> list[bytes]:
    return [message.raw for box in sandbox.mailboxes.values() for folder in box.folders.values() for message in folder.messages]


def rows(postgresql: PostgreSQL, question: str, *given: object) -> list[Any]:
    return [row[0] for row in postgresql.ask(question, *given)]


def runs(postgresql: PostgreSQL, names: list[str]) -> list[tuple[Any, ...]]:
    question = (
        "select extract(epoch from started)::float8, seconds, verdict from submission_probe_run where profile = any(%s) order by 1"
    )
    return postgresql.ask(question, names)


def assert_one_after_another(found: list[tuple[Any, ...]]) -> None:
    assert len(found) >= 4
    for (begun, seconds, _), (following, *_) in itertools.pairwise(found):
        assert following >= begun + seconds


async def until(seen: Any) -> Any:
    async with asyncio.timeout(WAIT_SECONDS):
        while not (found := await asyncio.to_thread(seen)):  # noqa: ASYNC110  other processes have no event
            await asyncio.sleep(0.02)
    return found


async def test_a_worker_outlives_its_database(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        (tmp_path / "office.toml").write_text(sandbox.profile())
        with PostgreSQL() as server:
            environ = {"DSN": server.conninfo}
            assert (await asyncio.to_thread(worker, "--init", "--database-env", "DSN", **environ)).returncode == 0
            options = ["--database-env", "DSN", "--interval", "1s", "--stalled-after", "2s"]
            async with Worker(tmp_path, str(tmp_path / "office.toml"), *options, environ=environ) as one:
                await one.until_metric("submission_probe_runs_total", 1, "office", "ok")
                await asyncio.to_thread(server.stop)
                await one.until(lambda: "the queue cannot be reached" in one.said)
                assert "Traceback" not in one.said, one.said
                assert (await one.metrics())["submission_probe_queue_up"] == {(): 0}
                assert "the queue cannot be reached" in (await one.get("/")).text
                await asyncio.to_thread(server.start)
                before = (await one.metrics())["submission_probe_runs_total"][("office", "ok")]
                await one.until_metric("submission_probe_runs_total", before + 2, "office", "ok")
                await one.until_metric("submission_probe_queue_up", 1)
                assert await one.end() == 0


async def test_a_worker_without_its_database_can_be_ended(tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        (tmp_path / "office.toml").write_text(sandbox.profile())
        with PostgreSQL() as server:
            environ = {"DSN": server.conninfo}
            assert (await asyncio.to_thread(worker, "--init", "--database-env", "DSN", **environ)).returncode == 0
            async with Worker(tmp_path, str(tmp_path / "office.toml"), "--database-env", "DSN", environ=environ) as one:
                await one.until_metric("submission_probe_queue_up", 1)
                await asyncio.to_thread(server.stop)
                await one.until(lambda: "the queue cannot be reached" in one.said)
                assert await one.end() == 0
                await asyncio.to_thread(server.start)
