"""What changed when: from what servers showed over time (drift.py) to one change each, in the order of time."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Literal

from probe.plain import dataclass
from probe.record import Instant, Name
from probe.report.drift import KEYS, Service, Span
from probe.version import __version__

CHANGES = "submission-probe/changes/1"
# The key of a change of address; the others are drift.KEYS.
ADDRESS = "address"
How = Literal["changed", "alternates", "settled", "moved", "added"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `at`: the first run that saw it; `before_at`: the last run that saw what was before. `before` and `after`: one
    value, or several that are seen in turn; of mechanisms and EHLO keywords one in a line.

    `how`: changed; alternates (from then on several values in turn); settled (one of them is left); of an address moved (the one
    before was seen no more) or added. `downgrade`: what protects the connection became weaker.
    """

    at: Instant
    before_at: Instant
    profile: str
    protocol: Name
    host: str
    node: str
    key: Name
    how: How
    before: tuple[str, ...]
    after: tuple[str, ...]
    downgrade: bool


def changes(services: Sequence[Service]) -> list[Change]:
    """All changes, oldest first."""
    found: list[Change] = []
    for service in services:
        found += _within(service)
    for group in _groups(services):
        found += _between(group)
    return sorted(found, key=lambda change: (change.at, change.profile, change.protocol, _ORDER.get(change.key, 0), change.node))


_ORDER = {key: index + 1 for index, key in enumerate(KEYS)}


@dataclass(frozen=True, slots=True)
class Changes:
    """The latest changes, oldest first; `left_out`: how many earlier ones there are."""

    left_out: int
    changes: tuple[Change, ...]


def changes_to_json(found: Sequence[Change], most: int) -> dict[str, object]:
    """The latest `most`, as one object."""
    shown = Changes(max(0, len(found) - most), tuple(found[-most:]))
    return {"schema": CHANGES, "version": __version__, **asdict(shown)}


def _groups(services: Sequence[Service]) -> list[list[Service]]:
    """The addresses of one server, in the order in which they were first seen."""
    groups: dict[tuple[str, str, str], list[Service]] = {}
    for service in sorted(services, key=lambda service: service.first):
        groups.setdefault((service.profile, service.leg, service.host), []).append(service)
    return list(groups.values())


def _within(service: Service) -> Iterator[Change]:
    for key, spans in service.spans.items():
        for before, after in pairwise(spans):
            values = tuple(sorted(before.values)), tuple(sorted(after.values))
            if values[0] == values[1]:
                continue
            several = len(after.values) > 1
            settled = len(before.values) > 1 and not several and values[1][0] in before.values
            how: How = "alternates" if several else "settled" if settled else "changed"
            yield _change(service, key, how, after.first, before.last, values)


def _between(group: Sequence[Service]) -> Iterator[Change]:
    """What an address showed that was new, where no other address of the server had ever shown it."""
    for index, service in enumerate(group[1:], 1):
        others = [other for other in group[:index] if other.first]
        latest = max(others, key=lambda other: min(other.last, service.first))
        how: How = "moved" if all(other.last < service.first for other in others) else "added"
        nodes = (
            tuple(sorted(other.node for other in others if other.last >= _last_before(others, service.first))),
            (service.node,),
        )
        yield _change(service, ADDRESS, how, service.first, latest.last, nodes)
        for key, spans in service.spans.items():
            known = [span for other in others for span in other.spans.get(key, ()) if span.first < service.first]
            if not known or any(value in span.values for span in known for value in spans[0].values):
                continue
            then = _at(latest.spans.get(key, ()), service.first) or known[-1]
            values = tuple(sorted(then.values)), tuple(sorted(spans[0].values))
            yield _change(service, key, "changed", spans[0].first, min(then.last, spans[0].first), values)


def _last_before(others: Sequence[Service], at: str) -> str:
    """When the address was last seen that was seen last before that instant; those seen since then are all in use."""
    return min(at, max(other.last for other in others))


def _at(spans: Sequence[Span], at: str) -> Span | None:
    return next((span for span in reversed(spans) if span.first < at), None)


def _change(
    service: Service, key: str, how: How, at: str, before_at: str, values: tuple[tuple[str, ...], tuple[str, ...]]
) -> Change:  # fmt: skip
    worse = _worse(key, *values)
    return Change(at, before_at, service.profile, service.leg, service.host, service.node, key, how, *values, worse)


# -- downgrades ----------------------------------------------------------------------------------------------------


def _worse(key: str, before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether what is seen now protects less, at its worst, than what was seen before did at its worst."""
    weigh = _WEIGHTS.get(key)
    return weigh is not None and bool(before and after) and weigh(before, after)


def _lower_version(before: Sequence[str], after: Sequence[str]) -> bool:
    return min(map(_version, after)) < min(map(_version, before))


def _version(name: str) -> float:
    """TLSv1.3 → 1.3; SSLv3 lies below TLS 1.0; what is not known is never a downgrade by itself."""
    number = re.search(r"\d+(?:\.\d+)?", name)
    return (float(number[0]) if number else 9.0) - (4.0 if name.upper().startswith("SSL") else 0.0)


def _no_longer_post_quantum(before: Sequence[str], after: Sequence[str]) -> bool:
    return all(map(is_post_quantum, before)) and not all(map(is_post_quantum, after))


def is_post_quantum(group: str) -> bool:
    """Whether a key-exchange group is a hybrid with ML-KEM, such as X25519MLKEM768."""
    return "MLKEM" in group.upper().replace("-", "")


def _lost_scram(before: Sequence[str], after: Sequence[str]) -> bool:
    return bool(_scram(before) - _scram(after))


def _scram(offers: Sequence[str]) -> set[str]:
    """The SCRAM mechanisms that every one of these offers has."""
    return set.intersection(*({name for name in offer.split("\n") if name.startswith("SCRAM")} for offer in offers))


def _lost_signature(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether a domain that always signed does not always sign any more."""
    first, then = (set.intersection(*(set(filter(None, value.split("\n"))) for value in side)) for side in (before, after))
    return bool(first - then)


def _weaker_cipher(before: Sequence[str], after: Sequence[str]) -> bool:
    return min(map(_strength, after)) < min(map(_strength, before))


def _strength(cipher: str) -> int:
    """2: authenticated encryption with forward secrecy; 1: one of both; 0: neither (OpenSSL's names)."""
    modern = cipher.startswith("TLS_")
    return (modern or any(word in cipher for word in ("GCM", "CHACHA", "CCM"))) + (modern or "DHE" in cipher)


_WEIGHTS = {
    "tls": _lower_version, "group": _no_longer_post_quantum, "mechanisms": _lost_scram, "cipher": _weaker_cipher,
    "dkim": _lost_signature,
}  # fmt: skip


# -- renewals ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Renewal:
    """A certificate that took another's place at one port. `at`: the first run that saw it, RFC 3339 UTC; `before` and `after`:
    SHA-1 thumbprints; `not_after` of both, null where it is not known any more."""

    at: Instant
    profile: str
    protocol: Name
    host: str
    node: str
    before: str
    after: str
    before_not_after: str | None
    not_after: str | None


def renewals(services: Sequence[Service]) -> list[Renewal]:
    """What was renewed when, oldest first. A certificate that comes and goes is none."""
    return sorted((renewal for service in services for renewal in _renewals(service)), key=lambda renewal: renewal.at)


def _renewals(service: Service) -> Iterator[Renewal]:
    for change in _within(service):
        if change.key == "certificate" and change.how == "changed" and len(change.before) == len(change.after) == 1:
            before, after = change.before[0], change.after[0]
            ends = [known.not_after if (known := service.certificates.get(sha1)) else None for sha1 in (before, after)]
            yield Renewal(change.at, change.profile, change.protocol, change.host, change.node, before, after, *ends)
