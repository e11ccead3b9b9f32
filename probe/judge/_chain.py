"""Which of the certificates that a server sends are used: positions in `Certified.chain`."""

from collections.abc import Mapping

from probe.facts import Certified
from probe.facts.parts import Link


def used(facts: Certified) -> list[int]:
    """From the leaf up: what OpenSSL verified, where it did, without what came from the store; else what a client that repairs
    chains would take, by signatures, wherever the issuers stand, and rather what is valid today."""
    if facts.verified_path:
        position = {entry["sha256"]: index for index, entry in reversed(list(enumerate(facts.chain)))}
        return [position[sha256] for sha256 in facts.verified_path if sha256 in position]
    path: list[int] = [0]
    while issuers := [index for index in _issuers(facts.chain[path[-1]]) if index not in path]:
        path.append(next((index for index in issuers if not _expired(facts, index)), issuers[0]))
    return path


def unrelated(facts: Certified) -> list[int]:
    """What belongs to no chain of the leaf's, however it is built. One that is sent twice is no other certificate."""
    related, new = set[int](), {0}
    while new:
        related |= new
        new = {issuer for index in new for issuer in _issuers(facts.chain[index])} - related
    known = {facts.chain[index]["sha256"] for index in related}
    return [index for index, entry in enumerate(facts.chain) if entry["sha256"] not in known]


def spare_and_expired(facts: Certified) -> list[int]:
    """What has expired, and was not needed by the path that OpenSSL verified: a cross-signed root's certificate, for instance."""
    if not facts.verified_path:
        return []
    without = {*used(facts), *unrelated(facts)}
    return [index for index in range(len(facts.chain)) if index not in without and _expired(facts, index)]


def _issuers(entry: Link | Mapping[str, object]) -> list[int]:
    found = entry.get("issuers")
    return list(found) if isinstance(found, list) else []


def _expired(facts: Certified, index: int) -> bool:
    ends = facts.chain[index].get("not_after")
    return ends is not None and facts.checked_at is not None and ends < facts.checked_at
