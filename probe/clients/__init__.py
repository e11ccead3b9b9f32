"""What mail programs offer in a TLS handshake, and how they log on: data, in offers.toml, each row with its source. Values only."""

import tomllib
from collections.abc import Mapping
from dataclasses import field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from probe.plain import dataclass

# What TLS says of a program and no list of names can imitate; shown beside every table.
NOT_IMITATED = (
    "the order of extensions, GREASE values (RFC 8701), ALPN and other extensions are OpenSSL's, not the program's",
    "SSL 3.0, export suites and what OpenSSL was built without (3DES, RC4, DSS, as a rule) are not offered: see each offer's list",
    "limits of a program on the size of Diffie-Hellman or RSA keys, and its own list of trusted roots, are not known here",
)


@dataclass(frozen=True, slots=True)
class Offer:
    """The TLS of a system or library. `suites` are those of TLS 1.3, `ciphers` the others, by OpenSSL's names, best first; an empty
    list of groups or signatures: the program sends no such extension. `unnamed` suites have no name in OpenSSL. `unsure` says what
    of it is not certain."""

    id: str
    what: str
    minimum: str
    maximum: str
    suites: tuple[str, ...]
    ciphers: tuple[str, ...]
    groups: tuple[str, ...]
    signatures: tuple[str, ...]
    unnamed: int
    source: str
    checked: date
    unsure: str


@dataclass(frozen=True, slots=True)
class Client:
    """One mail program. `services` are the ports it can use, such as `smtp-starttls`; `mechanisms` by protocol: SASL names, and
    `login` (IMAP's command), `user` (POP3's USER and PASS), `apop`."""

    id: str
    name: str
    offer: Offer
    services: frozenset[str]
    mechanisms: Mapping[str, tuple[str, ...]] = field(hash=False)
    source: str
    checked: date
    # What is not certain of its mechanisms and ports; and that the offer is its own.
    unsure: str
    unsure_tls: str

    @property
    def doubts(self) -> str:
        """What is not certain of what it offers in TLS; empty where all is."""
        return "; ".join(filter(None, (self.offer.unsure, self.unsure_tls)))

    def speaks(self, protocol: str) -> bool:
        """Whether it uses that protocol (smtp, imap, pop3) at all."""
        return any(service.startswith(f"{protocol}-") for service in self.services)


@cache
def clients() -> Mapping[str, Client]:
    """Every program by its id, in the order of the file."""
    text = Path(__file__).with_name("offers.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    offers = {name: _offer(name, row) for name, row in data["offers"].items()}
    return {name: _client(name, row, offers) for name, row in data["clients"].items()}


def _offer(name: str, row: Mapping[str, Any]) -> Offer:
    lists = {key: tuple(row.get(key, "").split()) for key in ("suites", "ciphers", "groups", "signatures")}
    return Offer(
        id=name, what=row["what"], minimum=row["minimum"], maximum=row["maximum"], **lists, unnamed=row.get("unnamed", 0),
        source=row["source"], checked=row["checked"], unsure=row.get("unsure", ""),
    )  # fmt: skip


def _client(name: str, row: Mapping[str, Any], offers: Mapping[str, Offer]) -> Client:
    return Client(
        id=name, name=row["name"], offer=offers[row["offer"]], services=frozenset(row["services"].split()),
        mechanisms={protocol: tuple(row.get(protocol, "").split()) for protocol in ("smtp", "imap", "pop3")},
        source=row["source"], checked=row["checked"], unsure=row.get("unsure", ""), unsure_tls=row.get("unsure_tls", ""),
    )  # fmt: skip
