"""What ends, and when: the rows of sunset.toml, whose head says what each key holds."""

import datetime
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import TypedDict

from probe.plain import dataclass

# Warnings begin this many days before the date.
WARNS_DAYS = 90


class Where(TypedDict, total=False):
    """What a run has to show for a row: a lifetime of more than `days`, an `issuer` with these words, one of these `roots`
    (SHA-256), an Exchange build from `build_from` on and below `build_below`. What is not there is not asked for."""

    days: int
    issuer: str
    roots: list[str]
    build_from: str
    build_below: str


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that ends on `date`. `source` is the page that names the date, `checked` the day on which it was looked at, and
    `read` is false where its text could not be had. `finding` is None where a run shows it by another check's findings."""

    id: str
    date: datetime.date
    ends: str
    concerns: str
    shows: str
    do: tuple[str, ...]
    source: str
    checked: datetime.date
    note: str = ""
    read: bool = True
    finding: str | None = None
    warns: bool = True
    where: Where = field(default_factory=lambda: Where())

    def said(self, on: datetime.date) -> str:
        """The sentence about it, as it holds on that day."""
        days = (self.date - on).days
        if days < 0:
            return f"has ended on {self.date}: {self.ends}"
        return f"ends on {self.date}, in {days} days: {self.ends}"

    @property
    def remedy(self) -> tuple[str, ...]:
        return (*self.do, f"More: probe explain sunset; {self.source}")


@cache
def rows() -> tuple[Row, ...]:
    """Every row, by date."""
    import tomllib  # a run that relies on nothing that ends does not read the file

    text = Path(__file__).with_name("sunset.toml").read_text(encoding="utf-8")
    found = [Row(**{**row, "do": tuple(row["do"])}) for row in tomllib.loads(text)["row"]]
    return tuple(sorted(found, key=lambda row: (row.date, row.id)))
