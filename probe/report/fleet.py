"""The certificates of many servers: which port shows which, until when, and what was renewed. Values only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Literal

from probe.facts import Certified, Connected, instant
from probe.plain import dataclass
from probe.record import Instant, Name, Seconds
from probe.report import EXIT_CODES, EXIT_INTERRUPTED, Report, Severity, Verdict
from probe.report.changes import Renewal
from probe.report.drift import Leaf, leaf_of
from probe.version import __version__

SCHEMA = "submission-probe/certificates/1"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A certificate at one port of one machine.

    `address`: address and port; `at`: when it was seen; `earlier`: SHA-1 of those that this port showed before, as far as a history
    knows; `warning` and `critical`: how many days before its end the strictest of the profiles warns.
    """

    profiles: tuple[str, ...]
    protocol: Name
    host: str
    port: int
    address: str
    node: str | None
    software: str
    at: Instant
    leaf: Leaf
    earlier: tuple[str, ...] = ()
    warning: float | None = None
    critical: float | None = None

    @property
    def machine(self) -> str:
        """The address without the port."""
        return self.address.rpartition(":")[0]

    @property
    def label(self) -> str:
        return f"{self.protocol} {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Port:
    """Where a certificate is shown. `renewed_as`: SHA-1 of the certificate that has taken its place at another port; null: none."""

    protocol: Name
    host: str
    port: int
    address: str
    node: str | None
    software: str
    profiles: tuple[str, ...]
    seen: Instant
    renewed_as: str | None = None

    @property
    def label(self) -> str:
        return f"{self.protocol} {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate. `days_left` is negative where it has ended; `share_left` of its lifetime, from 0 to 1; `warning_days` and
    `critical_days`: how many days before its end the strictest profile warns."""

    name: str
    sha1: str
    sha256: str
    subject: str
    issuer: str
    serial: str
    names: tuple[str, ...]
    not_before: str
    not_after: str
    days_left: float | None
    share_left: float | None
    warning_days: float | None
    critical_days: float | None
    status: Verdict
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class NotSeen:
    """A port whose certificate was not seen. `finding`: why; null of a plaintext port, and where it was not looked at."""

    protocol: Name
    host: str
    port: int
    address: str | None
    profiles: tuple[str, ...]
    finding: Name | None
    text: str


@dataclass(frozen=True, slots=True)
class FleetFinding:
    """A finding, once for all places (`smtp mail.contoso.com:587`) that have it; `certificate`: whose it is, by SHA-1."""

    id: Name
    severity: Severity
    summary: str
    evidence: str
    cause: str
    remedy: tuple[str, ...]
    places: tuple[str, ...]
    certificate: str | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """All of them, what ends next first. `source`: `look` or `history`."""

    source: Literal["look", "history"]
    started: Instant
    seconds: Seconds
    verdict: Verdict
    interrupted: bool
    certificates: tuple[Certificate, ...]
    not_seen: tuple[NotSeen, ...]
    renewals: tuple[Renewal, ...]
    findings: tuple[FleetFinding, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        return EXIT_INTERRUPTED if self.interrupted else EXIT_CODES[self.verdict]

    @property
    def ports(self) -> int:
        return sum(len(one.ports) for one in self.certificates)


def fleet_to_json(fleet: Fleet) -> dict[str, object]:
    """One object; keys are the fields' names."""
    return {"schema": SCHEMA, "version": __version__, "exit_code": fleet.exit_code, **asdict(fleet)}


def days_between(begin: str, end: str) -> float | None:
    """Days from one RFC 3339 instant to another; None where one of them is none."""
    first, last = instant(begin), instant(end)
    return None if first is None or last is None else (last - first) / 86400


def name_of(leaf: Leaf) -> str:
    """What people call it: its common name, else its first name, else the whole subject."""
    common = next((part[3:] for part in leaf.subject.split(", ") if part.startswith("CN=")), "")
    return common or (leaf.names[0] if leaf.names else leaf.subject or leaf.sha1)


def together(sightings: Iterable[Sighting]) -> list[Sighting]:
    """One for each port and certificate: those of several profiles are one."""
    found: dict[tuple[str, str, str, str], Sighting] = {}
    for one in sightings:
        key = (one.protocol, one.host, one.address, one.leaf.sha1)
        if before := found.get(key):
            days = [
                max(pair) for pair in ((before.warning or 0.0, one.warning or 0.0), (before.critical or 0.0, one.critical or 0.0))
            ]
            profiles = tuple(dict.fromkeys((*before.profiles, *one.profiles)))
            one = replace(one, profiles=profiles, at=max(before.at, one.at), warning=days[0], critical=days[1])
        found[key] = one
    return list(found.values())


def sightings_of(reports: Iterable[Report]) -> list[Sighting]:
    """The certificates that these runs saw, each port once."""
    return together(one for report in reports for one in _sightings(report))


def _sightings(report: Report) -> Iterator[Sighting]:
    for stage in report.stages:
        leaf = leaf_of(stage.record.seen(Certified))
        leg = stage.name.partition(".")[0]
        node = report.seen(f"{leg}.connect", Connected).remote
        if leaf is not None and node:
            host = report.target.host if leg == "smtp" else stage.record.seen(Certified).name_checked or report.target.host
            yield Sighting((report.profile,), leg, host, port_of(node), node, None, "", report.started, leaf)


def port_of(address: str) -> int:
    """The port of `ADDRESS:PORT`; 0 where there is none."""
    digits = address.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def certificates(
    sightings: Sequence[Sighting], now: str, renewed: Mapping[Sighting, Sighting], status: Mapping[str, Verdict]
) -> tuple[Certificate, ...]:  # fmt: skip
    """Each certificate once, what ends next first. `renewed`: of an old one, where its renewal is seen; `status`: by SHA-1."""
    by_leaf: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        by_leaf.setdefault(sighting.leaf.sha1, []).append(sighting)
    made = [_certificate(group, now, renewed, status.get(sha1, "ok")) for sha1, group in by_leaf.items()]
    # One without a date that can be read comes first: nobody knows when it ends.
    return tuple(sorted(made, key=lambda one: (one.days_left is not None, one.days_left or 0.0, one.sha1)))


def _certificate(group: Sequence[Sighting], now: str, renewed: Mapping[Sighting, Sighting], status: Verdict) -> Certificate:
    leaf = group[0].leaf
    left, lifetime = days_between(now, leaf.not_after), days_between(leaf.not_before, leaf.not_after)
    share = None if left is None or not lifetime or lifetime < 0 else max(0.0, min(1.0, left / lifetime))
    ports = (
        Port(
            one.protocol, one.host, one.port, one.address, one.node, one.software, one.profiles, one.at,
            renewed[one].leaf.sha1 if one in renewed else None,
        )
        for one in group
    )  # fmt: skip
    return Certificate(
        name=name_of(leaf), sha1=leaf.sha1, sha256=leaf.sha256, subject=leaf.subject, issuer=leaf.issuer, serial=leaf.serial,
        names=leaf.names, not_before=leaf.not_before, not_after=leaf.not_after,
        days_left=None if left is None else round(left, 3), share_left=None if share is None else round(share, 4),
        warning_days=_most(one.warning for one in group), critical_days=_most(one.critical for one in group), status=status,
        ports=tuple(sorted(ports, key=lambda port: (port.host, port.address, port.port, port.protocol))),
    )  # fmt: skip


def _most(days: Iterable[float | None]) -> float | None:
    return max((one for one in days if one is not None), default=None)
