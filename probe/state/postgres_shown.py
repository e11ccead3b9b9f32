"""What servers showed over time (shown.py), in PostgreSQL: the same rows, for each vantage point."""

from collections.abc import Sequence

import psycopg
from psycopg.rows import TupleRow

from probe.report import Report
from probe.report.drift import Service, noted, shown
from probe.state.shown import MOST_NODES, read_row, row

SCHEMA = """
create table if not exists submission_probe_shown (
    vantage text, profile text, leg text, host text, node text, last text not null, spans text not null,
    primary key (vantage, profile, leg, host, node));
"""
_PLACE = "vantage = %s and profile = %s and leg = %s and host = %s and node = %s"
_PUT = (
    "insert into submission_probe_shown values (%s, %s, %s, %s, %s, %s, %s)"
    " on conflict (vantage, profile, leg, host, node) do update set last = excluded.last, spans = excluded.spans"
)


def note(connection: psycopg.Connection[TupleRow], reports: Sequence[Report], vantage: str) -> None:
    """Add what these runs saw. Raises psycopg.Error."""
    for report in reports:
        for seen in shown(report):
            place = (seen.profile, seen.leg, seen.host, seen.node)
            with connection.transaction():
                found = connection.execute(
                    f"select spans from submission_probe_shown where {_PLACE} for update", (vantage, *place)  # noqa: S608
                ).fetchone()  # fmt: skip
                service = noted(read_row(*place, found[0]) if found else Service(*place), seen)
                connection.execute(_PUT, (vantage, *row(service)))
                if not found:
                    _forget(connection, (vantage, *place[:3]))


def _forget(connection: psycopg.Connection[TupleRow], server: tuple[str, ...]) -> None:
    """Of a server's addresses those seen last stay."""
    connection.execute(
        "delete from submission_probe_shown where (vantage, profile, leg, host, node) in (select vantage, profile, leg, host, node"
        " from submission_probe_shown where vantage = %s and profile = %s and leg = %s and host = %s order by last desc offset %s)",
        (*server, MOST_NODES),
    )


def read(connection: psycopg.Connection[TupleRow], profile: str | None) -> list[Service]:
    """Every service; its profile is called `PROFILE from VANTAGE`. Raises psycopg.Error."""
    found = connection.execute(
        "select vantage, profile, leg, host, node, spans from submission_probe_shown where %s::text is null or profile = %s",
        (profile, profile),
    )
    return [read_row(f"{profile} from {vantage}", *rest) for vantage, profile, *rest in found]
