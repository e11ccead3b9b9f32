"""May a secret be sent on this connection? The one function, called by every leg before it authenticates.

Promise 1: no password, token or challenge answer leaves unless the handshake verified against the profile's trust and
the FQDN, or the leaf is the one pinned by thumbprint. Where a
thumbprint is given, no other leaf will do, however valid. Every exception is an explicit setting, named in the answer so that a
finding can say so.
"""

import hashlib

from probe.observe.connection import Connection, Handshake
from probe.plain import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """What the profile allows: `thumbprint` is normalised upper hex (SHA-1 or SHA-256)."""

    plaintext: bool = False
    trust_any_certificate: bool = False
    thumbprint: str | None = None


@dataclass(frozen=True, slots=True)
class Permission:
    """`by`: `verified`, `thumbprint`, `trust-any-certificate`, `plaintext`, or, when refused, why."""

    granted: bool
    by: str

    @property
    def of_the_server(self) -> bool:
        """Whether the server is who it should be, and not merely one that the profile does without knowing."""
        return self.by in ("verified", "thumbprint")


def may_send_secret(connection: Connection, policy: Policy, *, name_matches: bool) -> Permission:
    """Judge one connection by what was recorded on it. `name_matches` is our own reading of the leaf's names."""
    handshake = connection.handshake
    if handshake is None or not connection.is_tls:
        return Permission(True, "plaintext") if policy.plaintext else Permission(False, "the connection is not TLS")
    return certificate_allows(handshake, policy, name_matches=name_matches)


def certificate_allows(handshake: Handshake, policy: Policy, *, name_matches: bool) -> Permission:
    """The part of the gate that looks at the certificate only."""
    pinned = not policy.thumbprint or policy.thumbprint in thumbprints(handshake)
    if handshake.verified and name_matches and pinned:
        return Permission(True, "verified")
    # A pin needs neither name nor chain: Exchange's own certificate is self-signed, for the server's name, not the users'.
    if policy.thumbprint and pinned:
        return Permission(True, "thumbprint")
    if policy.trust_any_certificate:
        return Permission(True, "trust-any-certificate")
    # A pin says which certificate it must be: a valid chain to another one is what somebody in between would show.
    return Permission(False, "the certificate is not verified" if pinned else "the certificate is not the one pinned by thumbprint")


def thumbprints(handshake: Handshake) -> tuple[str, ...]:
    """SHA-1 and SHA-256 thumbprints of the leaf, upper hex; empty when no certificate was seen."""
    if not handshake.chain:
        return ()
    leaf = handshake.chain[0]
    # SHA-1 because Exchange and Windows name certificates by it; nothing is signed with it here.
    return (hashlib.sha1(leaf, usedforsecurity=False).hexdigest().upper(), hashlib.sha256(leaf).hexdigest().upper())
