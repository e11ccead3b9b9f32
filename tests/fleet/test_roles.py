"""Who may do what in the workers' database: deploy/postgresql/roles.sql on a real PostgreSQL, and the schema that the DSN names."""

import asyncio
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from probe.message import new_marker
from probe.sandbox import Sandbox
from probe.state.lease import Held
from probe.state.outbox import Entry
from probe.state.postgres import Postgres, make_schema
from tests.fleet.test_worker import Worker, worker
from tests.serve.serving import ROOT
from tests.servers.postgresql import PostgreSQL

ROLES = ROOT / "deploy" / "postgresql" / "roles.sql"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    """With our tables, the roles of the recipe, and a stranger who may log on."""
    with PostgreSQL() as server:
        assert worker("--init", "--database-env", "DSN", DSN=server.conninfo).returncode == 0
        psql = shutil.which("psql")
        assert psql, "not installed: psql (run make test)"
        for _ in range(2):  # it may be run again
            done = subprocess.run(
                [psql, "-v", "ON_ERROR_STOP=1", "-d", server.conninfo, "-f", ROLES], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            connection.execute("create role stranger login")
        yield server


def as_role(server: PostgreSQL, role: str) -> str:
    return server.conninfo.replace("user=probe", f"user={role}")


async def test_a_worker_needs_no_more_than_its_role(tmp_path: Path, postgresql: PostgreSQL) -> None:
    dsn = as_role(postgresql, "submission_probe_worker")
    async with Sandbox() as sandbox:
        (tmp_path / "office.toml").write_text(sandbox.profile())
        options = ["--database-env", "DSN", "--interval", "1s"]
        async with Worker(tmp_path, str(tmp_path / "office.toml"), *options, environ={"DSN": dsn}) as one:
            await one.until_metric("submission_probe_runs_total", 3, "office", "ok")
            assert await one.end() == 0
            assert "denied" not in one.said and "not in the database" not in one.said, one.said
    assert postgresql.ask("select count(*) >= 3 from submission_probe_run where verdict = 'ok'") == [(True,)]


def test_what_its_place_does_the_role_may(postgresql: PostgreSQL) -> None:
    place = Postgres(as_role(postgresql, "submission_probe_worker"))
    entry = Entry(new_marker(bytes(16)), "office", "2026-01-01T00:00:00Z", "u@example.test", "mail.example.test")
    assert place.key()[1] is None
    place.put(entry)
    place.mark_seen(entry.marker, datetime(2026, 1, 1, tzinfo=UTC))
    assert replace(entry, seen="2026-01-01T00:00:00Z") in place.entries() and entry not in place.entries()
    place.remove(entry.marker)
    assert entry.marker not in [one.marker for one in place.entries()]
    place.give_up(entry)
    assert entry in place.lost()
    place.remove(entry.marker)
    assert entry not in place.lost() and place.count_run("p", "critical").failed == 1 and place.count_run("p", "ok").failed == 0
    place.note_refused("smtp://h", "U", "mark")
    place.note_refused("smtp://h", "U", "mark")
    assert place.suspended_until("smtp://h", "U", "mark")
    place.forget_refused("smtp://h", "U", "mark")
    assert place.suspended_until("smtp://h", "U", "mark") is None


@pytest.mark.parametrize(
    "statement",
    [
        "update submission_probe_key set key = 'mine'",
        "delete from submission_probe_key",
        "update submission_probe_run set verdict = 'ok'",
        "update submission_probe_outbox set profile = 'x'",
        "delete from submission_probe_mailbox",
        "truncate submission_probe_outbox",
        "drop table submission_probe_run",
        "alter table submission_probe_run add x int",
        "create table public.mine (x int)",
        "create schema mine",
        "create role mine",
        "select pg_read_file('/etc/passwd')",
        "copy submission_probe_run to program 'true'",
        "select rolpassword from pg_authid",
    ],
)
def test_the_role_cannot_do_more(postgresql: PostgreSQL, statement: str) -> None:
    dsn = as_role(postgresql, "submission_probe_worker")
    with psycopg.connect(dsn, autocommit=True) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)  # type: ignore[call-overload]


async def test_no_other_role_takes_a_mailbox_or_names_its_holder(postgresql: PostgreSQL) -> None:
    import hashlib

    now, mailbox = asyncio.get_running_loop().time, "mail.example.test u"
    place = Postgres(as_role(postgresql, "submission_probe_worker"))
    with psycopg.connect(as_role(postgresql, "stranger"), autocommit=True, application_name="it is I") as stranger:
        number = int.from_bytes(hashlib.sha256(f"submission-probe {mailbox}".encode()).digest()[:8], "big", signed=True)
        stranger.execute("select pg_advisory_lock(%s)", [number])  # what our lock once was
        for statement in (
            "select * from submission_probe_mailbox for update",
            "insert into submission_probe_mailbox values ('mail.example.test u', 'it is I')",
            "do $$ begin lock table submission_probe_mailbox; end $$",
            "select key from submission_probe_key",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                stranger.execute(statement)
        async with place.lease(mailbox, "the worker here", now()):
            with pytest.raises(Held, match="the worker here"):
                async with place.lease(mailbox, "next", now()):
                    raise AssertionError


async def test_a_lease_whose_connection_was_lost_ends_without_an_error(postgresql: PostgreSQL) -> None:
    async with Postgres(postgresql.conninfo).lease("lost", "one", 0):
        question = "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'"
        assert postgresql.ask(question) == [(True,)]
    async with Postgres(postgresql.conninfo).lease("lost", "two", asyncio.get_running_loop().time() + 10):
        pass


async def test_the_schema_that_the_connection_string_names_holds_every_table(postgresql: PostgreSQL) -> None:
    schema = f"s{zlib.crc32(b'probe')}"
    with psycopg.connect(postgresql.conninfo, autocommit=True) as connection:
        connection.execute(f"create schema {schema}")  # type: ignore[call-overload]
    dsn = f"{postgresql.conninfo} options='-c search_path={schema}'"
    done = await asyncio.to_thread(worker, "--init", "--database-env", "DSN", DSN=dsn)
    assert done.returncode == 0, done.stderr
    question = "select tablename from pg_tables where schemaname = %s and tablename like %s"
    ours = {name for (name,) in postgresql.ask(question, "public", "%pro%")}
    assert ours and {name for (name,) in postgresql.ask(question, schema, "%pro%")} == ours
    make_schema(dsn)
    assert Postgres(dsn).key()[0] != Postgres(postgresql.conninfo).key()[0]
    async with Postgres(dsn).lease("box", "one", 0):
        pass
    assert postgresql.ask(f"select holder from {schema}.submission_probe_mailbox") == [("one",)]
    assert postgresql.ask("select * from submission_probe_mailbox where mailbox = 'box'") == []
