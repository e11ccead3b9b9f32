"""`probe explain sunset`: the calendar of what ends, as people and as programs read it."""

import json
from collections.abc import Iterator
from datetime import date

from probe.judge._calendar import Row, rows


def lines(today: date) -> Iterator[str]:
    """What is to come first, by date; then what is over, the latest first."""
    coming = [row for row in rows() if row.date >= today]
    over = [row for row in rows() if row.date < today]
    yield f"What ends, as of {today}. A run that relies on it has a finding sunset.…: a warning from 90 days before the date."
    for title, listed in (("To come", coming), ("Over", over[::-1])):
        yield from ("", f"{title}:")
        for row in listed:
            yield ""
            yield from _row(row, today)


def _row(row: Row, today: date) -> Iterator[str]:
    yield f"{row.date}{f' (in {(row.date - today).days} days)' if row.date >= today else ''}  {row.ends}"
    yield f"  concerns: {row.concerns}"
    yield f"  shows:    {row.shows}"
    if row.finding:
        yield f"  finding:  {row.finding}"
    for index, step in enumerate(row.do):
        yield f"  {'do:      ' if index == 0 else '         '} {step}"
    if row.note:
        yield f"  note:     {row.note}"
    yield f"  source:   {row.source} ({checked(row)})"


def checked(row: Row) -> str:
    """When the source was looked at, and whether it could be read."""
    return f"checked {row.checked}" if row.read else f"could not be read on {row.checked}"


def as_json() -> str:
    keys = ("id", "ends", "concerns", "shows", "note", "source", "read", "finding")
    listed = [
        {"date": str(row.date), **{key: getattr(row, key) for key in keys}, "do": list(row.do), "checked": str(row.checked)}
        for row in rows()
    ]
    return json.dumps({"schema": "submission-probe/sunset/1", "rows": listed}, indent=2)
