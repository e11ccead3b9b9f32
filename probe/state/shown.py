"""What servers showed over time, in the history's file: a row for each address of each server of a profile.

It outlives the runs that it was seen in, since a row grows with what changes and not with runs. Bounded: so many addresses of one
server, and so many rows in all; those seen last are kept.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from probe.report import Report
from probe.report.drift import Service, Shown, from_json, noted, shown, shown_in_json, to_json

MOST_NODES = 32
MOST_ROWS = 20_000
TABLE = """
create table if not exists shown (
    profile text not null, leg text not null, host text not null, node text not null, last text not null, spans text not null,
    primary key (profile, leg, host, node)
) strict;
"""
_PUT = "insert or replace into shown values (?, ?, ?, ?, ?, ?)"


def note(database: sqlite3.Connection, reports: Sequence[Report]) -> None:
    """Add what these runs saw; within the caller's transaction."""
    for report in reports:
        for seen in shown(report):
            place = (seen.profile, seen.leg, seen.host, seen.node)
            found = database.execute(
                "select spans from shown where profile = ? and leg = ? and host = ? and node = ?", place
            ).fetchone()  # fmt: skip
            service = noted(read_row(*place, found[0]) if found else Service(*place), seen)
            database.execute(_PUT, row(service))
            if not found:
                _forget(database, seen)


def _forget(database: sqlite3.Connection, seen: Shown) -> None:
    """Where an address is new: those of the same server, and the rows, that are too many."""
    database.execute(
        "delete from shown where rowid in (select rowid from shown where profile = ? and leg = ? and host = ?"
        " order by last desc limit -1 offset ?)",
        (seen.profile, seen.leg, seen.host, MOST_NODES),
    )
    database.execute(
        "delete from shown where rowid in (select rowid from shown order by last desc limit -1 offset ?)", (MOST_ROWS,)
    )


def row(service: Service) -> tuple[str, ...]:
    """What a store keeps of it: profile, leg, host, node, when it was last seen, and the rest as JSON."""
    return service.profile, service.leg, service.host, service.node, service.last, json.dumps(to_json(service))


def read_row(profile: str, leg: str, host: str, node: str, spans: str) -> Service:
    """The inverse; a service of which nothing is known for what cannot be read."""
    try:
        return from_json(profile, leg, host, node, json.loads(spans))
    except (ValueError, LookupError, TypeError, AttributeError):
        return Service(profile, leg, host, node)


def read(database: sqlite3.Connection, profile: str | None) -> list[Service]:
    where, values = ("where profile = ?", [profile]) if profile else ("", [])
    found = database.execute(f"select profile, leg, host, node, spans from shown {where}", values)  # noqa: S608
    return [read_row(*one) for one in found]


def catch_up(database: sqlite3.Connection, runs: Iterable[Mapping[str, object]]) -> None:
    """Read all from the stored runs, oldest first: of a file to which an earlier version added its runs without this. Where runs
    have been pruned since, that were noted, what is known reaches further back, and stays."""
    known = min((service.first for service in read(database, None)), default=None)
    services: dict[tuple[str, ...], Service] = {}
    for run in runs:
        try:
            seen_in = list(shown_in_json(run))
        except (LookupError, TypeError, AttributeError):
            continue
        for seen in seen_in:
            place = (seen.profile, seen.leg, seen.host, seen.node)
            services[place] = noted(services.get(place) or Service(*place), seen)
    began = min((service.first for service in services.values()), default=None)
    if began is None or (known is not None and known <= began):
        return
    database.execute("delete from shown")
    for service in sorted(services.values(), key=lambda service: service.last):
        database.execute(_PUT, row(service))
        _forget(database, Shown(service.profile, service.leg, service.host, service.node, "", {}))
