"""Which mail programs can still use a server: values for every output, and their JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from probe.plain import dataclass

# `unused`: the program does not speak that protocol.
CanUse = Literal["yes", "no", "undecided", "unused"]


@dataclass(frozen=True, slots=True)
class Used:
    """One program at one port. Empty text where nothing was agreed on; `why` is for everything but yes. `chain` is empty where
    our own trust accepts the certificate, else the reason. `doubts`: what is not certain of what the program offers in TLS;
    `logon_doubts`: of how it logs on."""

    client: str
    name: str
    service: str
    outcome: CanUse
    version: str = ""
    cipher: str = ""
    group: str = ""
    chain: str = ""
    mechanism: str = ""
    why: str = ""
    doubts: str = ""
    logon_doubts: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """One port: what it advertises after TLS (None: it could not be asked), and each program's row."""

    leg: str
    host: str
    port: int
    security: str
    mechanisms: Sequence[str] | None
    rows: Sequence[Used]


@dataclass(frozen=True, slots=True)
class ClientsTable:
    """All ports of a profile. `expected` are the programs that the profile says must work; `left_out` the names of each offer that
    OpenSSL could not make, by program."""

    profile: str
    trust: str
    openssl: str
    expected: Sequence[str]
    services: Sequence[Service]
    left_out: Mapping[str, Sequence[str]]
    not_imitated: Sequence[str]

    @property
    def rows(self) -> list[Used]:
        return [row for service in self.services for row in service.rows]

    @property
    def failed(self) -> list[Used]:
        """Of the expected programs, where they cannot."""
        return [row for row in self.rows if row.client in self.expected and row.outcome == "no"]

    @property
    def verdict(self) -> Literal["ok", "critical", "unknown"]:
        """critical where an expected program cannot; unknown where nothing, or not every expected one, could be decided."""
        if self.failed:
            return "critical"
        open_ones = [row for row in self.rows if row.client in self.expected and row.outcome == "undecided"]
        decided = any(row.outcome in ("yes", "no") for row in self.rows)
        return "unknown" if open_ones or not decided else "ok"


def clients_to_json(table: ClientsTable) -> dict[str, object]:
    """The schema `submission-probe/clients/1`."""
    return {"schema": "submission-probe/clients/1", "verdict": table.verdict, **asdict(table)}
