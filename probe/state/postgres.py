"""An installation's state in PostgreSQL, for workers on many machines; and the runs they carried out.

The key by which we know our own messages lies in the database too: whoever can read that table can forge messages that a
sweep would delete, and can do no more with it. No password is ever written here; of a refused one, one octet of a hash.

Every call is short and bounded (connect, statement and network time-outs), since it may stand in the way of a run's deadline.
"""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from probe.redact import Redactor
from probe.report import Report, Verdict
from probe.report.drift import Service
from probe.state import postgres_shown
from probe.state import refusals as refused
from probe.state.directory import state_directory
from probe.state.history import packed
from probe.state.lease import Held
from probe.state.outbox import MOST_ENTRIES, Entry, forgotten_before, from_text, stamp, to_text
from probe.state.refusals import Refusal, Refusals, is_unconfirmed, once_more, still_suspended, without, without_digests
from probe.state.streaks import Streak
from probe.state.tokens import Tokens

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 5
LOOK_SECONDS = 0.2
# Before `whose`, in the table of refusals: the secret that was last accepted there. No table of its own, which tables made by an
# earlier version would lack.
_ACCEPTED = "accepted "
# Likewise, as JSON in the fingerprint's column: the refusals of other secrets of that user than the one that was refused last.
_OTHERS = "others "
# A dead machine's connection, and with it its lease, is gone after about half a minute.
_SETTINGS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS, "application_name": "submission-probe",
    "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 10_000,
}  # fmt: skip
# Said once connected: as `options` of the connection it would replace the user's own, a search_path among them. A lease is an open
# transaction, which no limit of the server may end (transaction_timeout: PostgreSQL 17).
_LIMITS = """
select set_config(name, case name when 'statement_timeout' then %s else '0' end, false) from pg_settings
where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""

SCHEMA = """
create table if not exists submission_probe_key (one boolean primary key default true check (one), key bytea not null);
create table if not exists submission_probe_outbox (
    marker text primary key, profile text not null, sent text not null, recipient text not null, host text not null);
alter table submission_probe_outbox add column if not exists entry text not null default '';
create table if not exists submission_probe_streak (
    probed text primary key, not_ok integer not null, failed integer not null);
create table if not exists submission_probe_lost (marker text primary key, sent text not null, entry text not null);
create table if not exists submission_probe_refusal (
    whose text, username text, fingerprint text not null, times integer not null, at double precision not null,
    primary key (whose, username));
create table if not exists submission_probe_run (
    id text primary key, profile text not null, vantage text not null, started timestamptz not null, verdict text not null,
    failed_stage text, seconds double precision not null, delivery_seconds double precision, report bytea not null);
create table if not exists submission_probe_mailbox (mailbox text primary key, holder text not null default '');
create index if not exists submission_probe_run_started on submission_probe_run (started);
create index if not exists submission_probe_run_profile on submission_probe_run (profile, started desc);
"""


class Unreachable(OSError):
    """The database cannot be used; one plain line, without the connection string."""


def make_schema(conninfo: str) -> None:
    """Create what is missing, the key included. Raises Unreachable."""
    place = Postgres(conninfo)
    place._execute(SCHEMA + postgres_shown.SCHEMA)
    place._execute("insert into submission_probe_key (key) values (%s) on conflict do nothing", [secrets.token_bytes(32)])


class Postgres:
    """A Place. `conninfo` may be empty: libpq's own variables (PGHOST, PGSERVICE, …) then say where. Raises
    Unreachable for one that is malformed."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = _checked(conninfo)
        self._connection: psycopg.Connection[Any] | None = None
        self._key: bytes | None = None

    def _execute(self, statement: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """The rows. One reconnection when the connection was lost meanwhile. Raises Unreachable."""
        for last in (False, True):
            try:
                cursor = self._connected().execute(statement, values)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError as error:
                self._close()
                if last:
                    raise Unreachable(f"PostgreSQL: {self._words(error)}") from None
            except psycopg.Error as error:
                raise Unreachable(f"PostgreSQL: {self._words(error)}") from None
        raise AssertionError

    def _words(self, error: psycopg.Error) -> str:
        return words_of(error, self._conninfo)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(self._conninfo, autocommit=True, **_SETTINGS)
            connection.execute(_LIMITS, [str(STATEMENT_SECONDS * 1000)])
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def has_tables(self, *names: str) -> bool:
        """Whether every table is there. Raises Unreachable."""
        return all(self._execute("select to_regclass(%s) is not null", [name])[0][0] for name in names)

    def key(self) -> tuple[bytes, str | None]:
        if self._key is None:
            try:
                rows = self._execute("select key from submission_probe_key")
            except Unreachable as error:
                return secrets.token_bytes(32), f"the key cannot be had ({error}): this run's message is known to this run only"
            if not rows:
                return secrets.token_bytes(32), "the database has no key: run `probe worker --init`"
            self._key = bytes(rows[0][0])
        return self._key, None

    def lease(self, mailbox: str, holder: str, until: float) -> AbstractAsyncContextManager[None]:
        return self._leased(mailbox, holder, until)

    @asynccontextmanager
    async def _leased(self, mailbox: str, holder: str, until: float) -> AsyncIterator[None]:
        """A lock on a row of ours: the server frees it when the connection ends, however the holder ends.

        No advisory lock: any role of the database may take one, and every role sees their numbers (view pg_locks). A row is locked,
        and its holder named, only by a role that may update the table.
        https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS
        """
        async with AsyncExitStack() as stack:
            try:
                connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, **_SETTINGS)
                stack.push_async_callback(connection.close)  # not a commit: the connection may be lost by then
                await connection.execute(_LIMITS, [str(STATEMENT_SECONDS * 1000)])
                await connection.execute("insert into submission_probe_mailbox values (%s) on conflict do nothing", [mailbox])
                while not await _got(connection, mailbox, holder):
                    if asyncio.get_running_loop().time() >= until:
                        raise Held(await _holder(connection, mailbox) or "another run")
                    await asyncio.sleep(LOOK_SECONDS)
            except psycopg.Error as error:
                raise Held(f"nobody can say: PostgreSQL: {self._words(error)}") from None
            yield

    def put(self, entry: Entry) -> None:
        self._execute(
            "insert into submission_probe_outbox (marker, profile, sent, recipient, host, entry) values (%s, %s, %s, %s, %s, %s)"
            " on conflict do nothing",
            [entry.marker, entry.profile, entry.sent, entry.recipient, entry.host, to_text(entry)],
        )

    def remove(self, marker: str) -> None:
        try:
            self._execute("delete from submission_probe_outbox where marker = %s", [marker])
            self._execute("delete from submission_probe_lost where marker = %s", [marker])
        except Unreachable:
            return  # an entry too many is found to be gone by the next sweep

    def entries(self) -> list[Entry]:
        try:
            return self._entries("order by sent limit %s", [MOST_ENTRIES])
        except Unreachable:
            return []

    def _entries(self, which: str, values: Sequence[object]) -> list[Entry]:
        rows = self._execute(f"select entry, marker, profile, sent, recipient, host from submission_probe_outbox {which}", values)  # noqa: S608
        return [from_text(entry) or Entry(*row) for entry, *row in rows]

    def end(self, marker: str) -> None:
        """A worker may not change an entry (deploy/postgresql/roles.sql): it says itself until when the run would have lasted."""

    def mark_seen(self, marker: str, now: datetime) -> None:
        """The row is written anew: a worker may not change it."""
        try:
            entry = next(iter(self._entries("where marker = %s", [marker])), None)
            if entry is not None and not entry.seen:
                with self._connected().transaction():
                    self._execute("delete from submission_probe_outbox where marker = %s", [marker])
                    self.put(replace(entry, seen=stamp(now)))
        except (Unreachable, psycopg.Error):
            return

    def past_run(self, profile: str, marker: str, sent: str) -> tuple[str, str | None] | None:
        """Not looked for: the outbox says how runs ended that missed their message."""
        return None

    def is_under_way(self, marker: str, now: datetime) -> bool:
        try:
            return any(entry.is_under_way(now) for entry in self._entries("where marker = %s", [marker]))
        except Unreachable:
            return True

    def give_up(self, entry: Entry) -> None:
        insert = "insert into submission_probe_lost (marker, sent, entry) values (%s, %s, %s) on conflict do nothing"
        self._execute(insert, [entry.marker, entry.sent, to_text(entry)])
        self._execute("delete from submission_probe_outbox where marker = %s", [entry.marker])
        self._execute("delete from submission_probe_lost where sent < %s", [forgotten_before(entry)])

    def lost(self) -> list[Entry]:
        try:
            rows = self._execute("select entry from submission_probe_lost order by sent limit %s", [MOST_ENTRIES])
        except Unreachable:
            return []
        return [entry for (text,) in rows if (entry := from_text(text))]

    def is_refused(self, whose: str, username: str) -> bool:
        try:
            return bool(self._refusals(whose, username))
        except Unreachable:
            return False

    def suspended_until(self, whose: str, username: str, mark: str) -> float | None:
        try:
            return still_suspended(self._refusals(whose, username), mark)
        except Unreachable:
            return None

    def _refusals(self, whose: str, username: str) -> Refusals:
        newest, others = self._kept(username, whose, _OTHERS + whose)
        found = ((newest,) if newest else ()) + (refused.from_text(others.fingerprint) if others else ())
        refusals = without_digests(found)
        if refusals != found:
            self._keep_refusals(whose, username, refusals)
        return refusals

    def _kept(self, username: str, *names: str) -> list[Refusal | None]:
        """What the table has under each of these, in one question."""
        wanted = [_account(name, username) for name in names]
        rows = self._execute(
            "select whose, fingerprint, times, at from submission_probe_refusal where whose = any(%s) and username = %s",
            [[whose for whose, _ in wanted], wanted[0][1]],
        )
        found = {whose: Refusal(*row) for whose, *row in rows}
        return [found.get(whose) for whose, _ in wanted]

    def note_refused(self, whose: str, username: str, mark: str) -> None:
        (good,) = self._kept(username, _ACCEPTED + whose)
        self._keep_refusals(whose, username, once_more(self._refusals(whose, username), mark, good.fingerprint if good else None))

    def _keep_refusals(self, whose: str, username: str, refusals: Refusals) -> None:
        newest, others = refusals[:1], refusals[1:]
        listed = tuple(Refusal(refused.to_text(others), 0, one.at) for one in others[:1])
        for name, kept in ((_OTHERS + whose, listed), (whose, newest)):
            if kept:
                self._write_refusal(name, username, kept[0])
            else:
                account = _account(name, username)
                self._execute("delete from submission_probe_refusal where whose = %s and username = %s", account)

    def _write_refusal(self, whose: str, username: str, refusal: Refusal) -> None:
        self._execute(
            "insert into submission_probe_refusal values (%s, %s, %s, %s, %s) on conflict (whose, username)"
            " do update set fingerprint = excluded.fingerprint, times = excluded.times, at = excluded.at",
            [*_account(whose, username), refusal.fingerprint, refusal.times, refusal.at],
        )

    def forget_refused(self, whose: str, username: str, mark: str) -> None:
        before = self._refusals(whose, username)
        if (after := without(before, mark)) != before:
            self._keep_refusals(whose, username, after)

    def is_unconfirmed(self, whose: str, username: str, mark: str) -> bool:
        try:
            return is_unconfirmed(self._refusals(whose, username), mark)
        except Unreachable:
            return False

    def accepted_at(self, whose: str, username: str) -> float | None:
        try:
            (found,) = self._kept(username, _ACCEPTED + whose)
        except Unreachable:
            return None
        return found.at if found else None

    def note_accepted(self, whose: str, username: str, mark: str) -> None:
        self._write_refusal(_ACCEPTED + whose, username, Refusal(mark, 0, time.time()))

    def count_run(self, probed: str, verdict: Verdict) -> Streak:
        rows = self._execute("select not_ok, failed from submission_probe_streak where probed = %s", [probed])
        streak = Streak(*(rows[0] if rows else ())).followed_by(verdict)
        self._execute(
            "insert into submission_probe_streak values (%s, %s, %s)"
            " on conflict (probed) do update set not_ok = excluded.not_ok, failed = excluded.failed",
            [probed, streak.not_ok, streak.failed],
        )
        return streak

    def tokens(self) -> Tokens:
        """On this machine: a refresh token is a secret, and whoever reads the database would have it."""
        return Tokens(state_directory())

    def add_runs(self, reports: Sequence[Report], vantage: str, keep_days: int) -> None:
        """Keep the runs, forget old ones. Raises Unreachable."""
        for report in reports:
            self._execute(
                "insert into submission_probe_run values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
                [
                    report.id, report.profile, vantage, report.started, report.verdict, report.failed_stage, report.seconds,
                    report.delivery_seconds, packed(report),
                ],
            )  # fmt: skip
        oldest = datetime.now(UTC) - timedelta(days=keep_days)
        ((old,),) = self._execute("select count(*) from submission_probe_run where started < %s", [oldest])
        # As in history.py: a clock that jumps ahead does not make all the others old.
        witness = "select 1 from submission_probe_run where started >= %s limit 1 offset %s"
        if old and self._execute(witness, [oldest, old - 1]):
            self._execute("delete from submission_probe_run where started < %s", [oldest])
        try:
            postgres_shown.note(self._connected(), reports, vantage)
        except psycopg.Error as error:
            raise Unreachable(f"what servers showed: PostgreSQL: {self._words(error)}") from None

    def services(self, profile: str | None = None) -> list[Service]:
        """What servers showed over time, at every vantage point. Raises Unreachable."""
        try:
            return postgres_shown.read(self._connected(), profile)
        except psycopg.Error as error:
            raise Unreachable(f"PostgreSQL: {self._words(error)}") from None


def _account(whose: str, username: str) -> list[str]:
    return [whose.lower(), username.lower()]


async def _got(connection: psycopg.AsyncConnection[Any], mailbox: str, holder: str) -> bool:
    """Lock the row and keep it in an open transaction. The holder's name is committed first, so that others can read it."""
    if not await _locked(connection, mailbox):
        return False
    await connection.execute("update submission_probe_mailbox set holder = %s where mailbox = %s", [holder, mailbox])
    await connection.execute("commit")
    return await _locked(connection, mailbox)


async def _locked(connection: psycopg.AsyncConnection[Any], mailbox: str) -> bool:
    await connection.execute("begin")
    found = await connection.execute("select from submission_probe_mailbox where mailbox = %s for update skip locked", [mailbox])
    if found.rowcount == 1:
        return True
    await connection.execute("rollback")
    return False


async def _holder(connection: psycopg.AsyncConnection[Any], mailbox: str) -> str | None:
    found = await connection.execute("select holder from submission_probe_mailbox where mailbox = %s", [mailbox])
    row = await found.fetchone()
    return str(row[0]) if row and row[0] else None


def _checked(conninfo: str) -> str:
    """The connection string. Raises Unreachable where libpq would quote parts of it, perhaps of the password, as what they are not:
    `://USER:PA@SS@HOST`, `://USER:PA/SS@HOST`, `password=PASS WORD`.
    """
    scheme, _, rest = conninfo.partition("://")
    is_url = scheme in ("postgres", "postgresql")
    login, _, place = rest.partition("?")[0].rpartition("@")
    ports = [entry.rpartition(":")[2] for entry in place.partition("/")[0].split(",") if ":" in entry.rpartition("]")[2]]
    strange = is_url and ("@" in login or "/" in login or not all(port.isdigit() or not port for port in ports))
    try:
        if not strange:
            psycopg.conninfo.conninfo_to_dict(conninfo)
            return conninfo
    except psycopg.Error:
        pass
    text = (
        "the connection string is malformed (not shown: it may hold a password); in a URL, write @ / : ? # % of a password as %40 …"
    )
    raise Unreachable(f"PostgreSQL: {text}")


def words_of(error: Exception, conninfo: str) -> str:
    """The first line of what libpq says: host and database, and in place of the password a mask, however it is quoted."""
    try:
        given = psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.Error:
        return type(error).__name__
    found = [str(given[name]) for name in ("password", "sslpassword") if given.get(name)]
    text = Redactor([*found, os.environ.get("PGPASSWORD", "")]).cut(str(error).strip(), 2000)
    return text.splitlines()[0] if text else type(error).__name__
