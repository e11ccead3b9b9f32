"""Past runs in SQLite (WAL), one row a run with its JSON, pruned by age. What cannot be kept is said; no verdict is lost by it.

A killed writer leaves a whole file (SQLite's journal); a file that is no database is moved aside; a full disk is a remark.
"""

import contextlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from probe.plain import dataclass
from probe.report import Report
from probe.report.as_json import report_to_json
from probe.report.drift import Service
from probe.report.statistics import PastRun
from probe.state import shown
from probe.state.files import foreign

KEEP_DAYS = 90
# Runs of one profile that may have begun in the second in which a message was made, and just before.
_MOST_ALIKE = 20
_BUSY_SECONDS = 5.0
_NONE = "no history yet: {} is made by the first `probe run`"
_TABLE = """
create table if not exists run (
    id text primary key, profile text not null, started text not null, verdict text not null, failed_stage text,
    seconds real not null, delivery_seconds real, host text not null, address text, report blob not null
) strict;
create index if not exists run_by_profile on run (profile, started);
"""
# A file of an earlier version is 1: its runs are there, and what servers showed in them is read from them once.
_VERSION = 2


class Unusable(Exception):
    """The history cannot be used; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Row:
    """A past run without its JSON. `started` is RFC 3339 UTC, seconds are floats."""

    id: str
    profile: str
    started: str
    verdict: str
    failed_stage: str | None
    seconds: float
    delivery_seconds: float | None


def add(file: Path, reports: Sequence[Report], *, keep_days: int = KEEP_DAYS) -> str | None:
    """Keep the runs and prune old ones; a remark when something went wrong. Never raises for what a disk does."""
    remark = None
    try:
        try:
            _add(file, reports, keep_days)
        except sqlite3.DatabaseError as error:
            # A full disk, a lock, no permission: a subclass, and no reason to move a good file aside (PEP 249).
            if isinstance(error, sqlite3.OperationalError):
                raise
            # "file is not a database", "database disk image is malformed": keep it for whoever wants to look.
            aside = file.with_name(f"{file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
            file.replace(aside)
            remark = f"the history was damaged ({error}); it is kept as {aside}, and a new one begun"
            _add(file, reports, keep_days)
    except (sqlite3.Error, OSError) as error:
        return f"this run is not in the history {file}: {error}"
    return remark


def _add(file: Path, reports: Sequence[Report], keep_days: int) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opened(file) as database, database:
        database.executemany("insert or replace into run values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_row, reports))
        shown.note(database, reports)
        # RFC 3339 in UTC sorts as text.
        oldest = (datetime.now(UTC) - timedelta(days=keep_days)).strftime("%Y-%m-%dT%H:%M:%S")
        (old,) = database.execute("select count(*) from run where started < ?", (oldest,)).fetchone()
        # A clock that jumps ahead makes all the others old: they go only when as many runs agree with it.
        witness = "select 1 from run where started >= ? limit 1 offset ?"
        if old and database.execute(witness, (oldest, old - 1)).fetchone():
            database.execute("delete from run where started < ?", (oldest,))


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    if why := foreign(file):
        raise PermissionError(1, f"{file} {why}; remove it, or name another with --history")
    if not file.exists():
        with contextlib.suppress(FileExistsError):
            # SQLite would make it 0644 by umask; its -wal and -shm files take the database's mode.
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600))
    database = sqlite3.connect(file, timeout=_BUSY_SECONDS)
    try:
        _begin(database)
        yield database
    finally:
        database.close()


def _begin(database: sqlite3.Connection) -> None:
    """Make the tables where they are not there yet.

    SQLite's own waiting does not cover the change to WAL: of two that begin one history at once, one is refused at once.
    """
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            # One writer and many readers at once; not over a network file system (SQLite, "Write-Ahead Logging").
            database.execute("pragma journal_mode = wal")
            # With WAL a power cut can lose the last runs, but not damage the file (SQLite, PRAGMA synchronous).
            database.execute("pragma synchronous = normal")
            version = database.execute("pragma user_version").fetchone()[0]
            if version < _VERSION:
                database.executescript(f"{_TABLE}{shown.TABLE}pragma user_version = {version or _VERSION};")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.02)


def packed(report: Report) -> bytes:
    """The report's JSON, compressed: what a store keeps of a run."""
    data = report_to_json(report)
    if report.verdict == "ok":
        # What went well is kept for its times; the words of both sides would be most of the file.
        data["transcript"] = []
    return zlib.compress(json.dumps(data).encode())


def _row(report: Report) -> tuple[Any, ...]:
    target = report.target
    return (
        report.id, report.profile, report.started, report.verdict, report.failed_stage, report.seconds,
        report.delivery_seconds, target.host, target.address, packed(report),
    )  # fmt: skip


def rows(file: Path, profile: str | None = None, *, last: int = 100) -> list[Row]:
    """The latest runs, oldest first. Raises Unusable."""
    where, values = ("where profile = ?", [profile]) if profile else ("", [])
    columns = "id, profile, started, verdict, failed_stage, seconds, delivery_seconds"
    found = _asked(file, f"select {columns} from run {where} order by started desc limit ?", [*values, last])  # noqa: S608
    return [Row(*row) for row in reversed(found)]


def plotted(file: Path, profiles: Sequence[str], *, last: int = 200) -> list[PastRun]:
    """The latest runs of these profiles as an output plots them: started, profile, verdict, seconds. Empty without any."""
    try:
        found = [row for row in rows(file, last=last) if row.profile in profiles]
    except Unusable:
        return []
    return [plot(row) for row in found]


def plot(row: Row) -> PastRun:
    return PastRun(started=row.started, profile=row.profile, verdict=row.verdict, seconds=row.delivery_seconds)


def reports(file: Path, profile: str | None = None, *, last: int = 100) -> Iterator[dict[str, object]]:
    """The latest runs as JSON objects (contract section 5, one of `reports`), oldest first. Raises Unusable."""
    where, values = ("where profile = ?", [profile]) if profile else ("", [])
    found = _asked(file, f"select report from run {where} order by started desc limit ?", [*values, last])  # noqa: S608
    for (packed,) in reversed(found):
        try:
            yield json.loads(zlib.decompress(packed))
        except (zlib.error, ValueError) as error:
            raise Unusable(f"{file}: a run in it cannot be read: {error}") from None


def run_of(file: Path, profile: str, marker: str, sent: str) -> tuple[str, str | None] | None:
    """The id of the run that sent the message of this marker at `sent` (RFC 3339 UTC, whole seconds), and how it ended: `read`,
    `missing`, or None where the message was to stay. None where no such run is kept. Never raises."""
    question = "select report from run where profile = ? and started <= ? order by started desc limit ?"
    try:
        # In whole seconds: behind "12:00:00" come "12:00:00.5Z" and "12:00:00Z".
        for (kept,) in _asked(file, question, [profile, sent, _MOST_ALIKE]):
            report = json.loads(zlib.decompress(kept))
            if found := _ended(report, marker):
                return str(report["id"]), found[0]
    except (Unusable, zlib.error, ValueError, LookupError, TypeError):
        return None
    return None


def _ended(report: dict[str, Any], marker: str) -> tuple[str | None] | None:
    stages = {stage["name"]: stage for stage in report["stages"]}
    if stages.get("smtp.submit", {}).get("facts", {}).get("marker") != marker:
        return None
    seen = [leg for leg in ("imap", "pop3") if stages.get(f"{leg}.verify", {}).get("status") in ("ok", "warning")]
    if not seen:
        return ("missing",)
    return ("read" if any(stages.get(f"{leg}.delete", {}).get("status") != "skipped" for leg in seen) else None,)


def services(file: Path, profile: str | None = None) -> list[Service]:
    """What servers showed over time. Raises Unusable. A file of an earlier version has its runs read for that, once."""
    if not file.exists():
        raise Unusable(_NONE.format(file))
    try:
        with _opened(file) as database:
            if database.execute("pragma user_version").fetchone()[0] < _VERSION:
                with database:
                    database.execute("begin immediate")
                    shown.catch_up(database, map(_unpacked, database.execute("select report from run order by started")))
                    database.execute(f"pragma user_version = {_VERSION}")
            return shown.read(database, profile)
    except (sqlite3.Error, OSError) as error:
        raise Unusable(f"{file} cannot be read: {error}") from None


def _unpacked(row: tuple[bytes]) -> dict[str, Any]:
    """A stored run; {} for one that cannot be read."""
    try:
        found = json.loads(zlib.decompress(row[0]))
    except (zlib.error, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def note(file: Path, reports: Sequence[Report]) -> str | None:
    """Keep only what servers showed, of a look that was no run; a remark when something went wrong. Never raises."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _opened(file) as database, database:
            database.execute("begin immediate")
            shown.note(database, reports)
    except (sqlite3.Error, OSError) as error:
        return f"what was seen is not in the history {file}: {error}"
    return None


def _asked(file: Path, question: str, values: Sequence[Any]) -> list[Any]:
    if not file.exists():
        raise Unusable(_NONE.format(file))
    try:
        with _opened(file) as database:
            return database.execute(question, values).fetchall()
    except (sqlite3.Error, OSError) as error:
        raise Unusable(f"{file} cannot be read: {error}") from None
