"""DKIM-Signature fields (RFC 6376): read, and verified with the key that DNS has. No clock and no network here."""

import re
from collections.abc import Iterator
from dataclasses import replace

from probe.message.evidence.header import Delivered, Field
from probe.message.evidence.signed import (
    MOST_SIGNATURE,
    Bodies,
    Key,
    Outcome,
    decoded,
    header,
    held,
    selected,
    signed_text,
    tags,
    unfolded,
)
from probe.plain import dataclass

# Signatures of one message that are verified: each may cost a look-up in DNS.
MOST_SIGNATURES = 20
ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*")
_NUMBER = re.compile(r"[0-9]{1,12}")
_NEEDED = ("a", "b", "bh", "d", "h", "s")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature as it says of itself. `wrong`: why it cannot hold whatever the key; instants in seconds since 1970."""

    field: Field
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    headers: tuple[str, ...] = ()
    relaxed_header: bool = False
    relaxed_body: bool = False
    length: int | None = None
    expires: int | None = None
    signed_at: int | None = None
    body_hash: bytes = b""
    signature: bytes = b""
    wrong: str | None = None

    @property
    def place(self) -> str:
        """The DNS name of its key record."""
        return f"{self.selector}._domainkey.{self.domain}"


def signatures(message: Delivered) -> Iterator[Signature]:
    """Every DKIM-Signature of a message, from the top."""
    return (read(field) for field in message.named("dkim-signature"))


def read(field: Field, *, needed: tuple[str, ...] = _NEEDED, version: str | None = "1") -> Signature:
    """A signature's tags. `version`: what its `v=` must be; None where there is none (ARC)."""
    found = Signature(field)
    if len(field.raw) > MOST_SIGNATURE:
        return replace(found, wrong=f"the signature field is longer than is read ({MOST_SIGNATURE} octets)")
    given = tags(field.value.decode("utf-8", "replace"))
    if given is None:
        return replace(found, wrong="the signature is malformed: it is no list of tags")
    found = replace(
        found,
        domain=given.get("d", "").lower() if _DOMAIN.fullmatch(given.get("d", "")) else "",
        selector=given.get("s", "") if _DOMAIN.fullmatch(given.get("s", "")) else "",
        algorithm=given.get("a", "").lower()[:40],
    )
    if missing := [tag for tag in needed if not given.get(tag)]:
        return replace(found, wrong=f"the signature is malformed: it has no {'=, '.join(missing)}=")
    return _whole(found, given, version)


def _whole(found: Signature, given: dict[str, str], version: str | None) -> Signature:
    how, _, of_body = given.get("c", "simple/simple").partition("/")
    numbers = [given[tag] for tag in ("l", "x", "t") if tag in given]
    found = replace(
        found,
        headers=tuple(unfolded(given.get("h", "")).lower().split(":")),
        relaxed_header=how == "relaxed",
        relaxed_body=of_body == "relaxed",
        body_hash=decoded(given.get("bh", "")) or b"",
        signature=decoded(given["b"]) or b"",
    )
    if not found.domain or not found.selector:
        return replace(found, wrong="the signature is malformed: its domain or selector is no DNS name")
    if found.algorithm == "rsa-sha1":
        return replace(found, wrong="rsa-sha1 proves nothing any more (RFC 8301)")
    if found.algorithm not in ALGORITHMS:
        return replace(found, wrong="the signature is of an unknown algorithm")
    if how not in ("simple", "relaxed") or of_body not in ("", "simple", "relaxed") or not found.signature:
        return replace(found, wrong="the signature is malformed")
    if version is not None and given.get("v") != version:
        return replace(found, wrong="the signature is of an unknown version")
    if not all(map(_NUMBER.fullmatch, numbers)):
        return replace(found, wrong="the signature is malformed: a number is none")
    length, expires, at = (int(given[tag]) if tag in given else None for tag in ("l", "x", "t"))
    return replace(found, length=length, expires=expires, signed_at=at, wrong=_unsound(found, given))


def _unsound(found: Signature, given: dict[str, str]) -> str | None:
    """What a verifier refuses before it looks for the key (section 6.1.1)."""
    if "bh" in given and "from" not in found.headers:
        return "the signature does not cover the From field"
    _, at, domain = given.get("i", "").rpartition("@")
    if at and not f".{domain.lower()}".endswith(f".{found.domain}"):
        return "the signature is malformed: the identity in i= is not of its domain"
    return None


def verified(found: Signature, message: Delivered, bodies: Bodies, key: Key, now: float) -> Outcome:
    """Whether a signature holds at the instant `now` (seconds since 1970)."""
    if found.wrong:
        return Outcome("fail", found.wrong)
    if not message.whole:
        return Outcome("unknown", message.limits[0])
    digest = bodies.digest(relaxed=found.relaxed_body, length=found.length)
    fields = b"".join(header(field, relaxed=found.relaxed_header) for field in selected(message, found.headers))
    outcome = held(key, found.algorithm, fields + signed_text(found.field, relaxed=found.relaxed_header), found.signature)
    if digest != found.body_hash and (outcome.result == "pass" or outcome.key_bits):
        return replace(outcome, result="fail", why="the body was changed behind the signature")
    if outcome.result == "pass" and found.expires is not None and found.expires < now:
        return replace(outcome, result="fail", why="the signature has expired")
    return outcome
