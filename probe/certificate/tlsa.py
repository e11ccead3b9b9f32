"""TLSA records against the chain that a server sends (RFC 6698; RFC 7671 says how they are used). Octets in, values out."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice

from probe.certificate.chain import read_chain
from probe.certificate.der import fields_of
from probe.certificate.host_name import name_matches
from probe.plain import dataclass

PKIX_TA, PKIX_EE, DANE_TA, DANE_EE = range(4)
_OF_THE_LEAF = (PKIX_EE, DANE_EE)
_OF_PKIX = (PKIX_TA, PKIX_EE)
# Matching types 0 (the octets themselves), 1 and 2 (RFC 6698 section 2.1.3).
_DIGESTS: Mapping[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: lambda octets: hashlib.sha256(octets).digest(),
    2: lambda octets: hashlib.sha512(octets).digest(),
}


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One record, by the fields of RFC 6698 section 2.1."""

    usage: int
    selector: int
    matching_type: int
    data: bytes

    @property
    def is_known(self) -> bool:
        """Whether its parameters have a meaning; a record of any others is as good as none (RFC 6698 section 4.1)."""
        return self.usage in range(4) and self.selector in (0, 1) and self.matching_type in _DIGESTS


def mismatch(record: Tlsa, chain: Sequence[bytes], hosts: Collection[str], instant: str, *, trusted: bool) -> str | None:
    """Why a record does not stand for the server that sent this chain (DER, leaf first); None where it does.

    `hosts`: usage 2 wants one of these names in the leaf; `instant`: RFC 3339 UTC, when its dates are to hold; `trusted`: whether
    chain and name hold by the trusted roots, which usages 0 and 1 want besides.
    """
    if not record.is_known:
        return "its usage, selector or matching type is not known"
    places = (0,) if record.usage in _OF_THE_LEAF else range(1, len(chain))
    found = [place for place in places if chain and associated(chain[place], record.selector, record.matching_type) == record.data]
    if not found:
        what = "the server's certificate is another" if record.usage in _OF_THE_LEAF else "the server sends no such issuer"
        return what if record.selector == 0 else f"{what} (by its public key)"
    if record.usage == DANE_EE:
        # Neither its names nor its dates count, nor who signed it (RFC 7671 section 5.1).
        return None
    if record.usage in _OF_PKIX:
        return None if trusted else "the certificate is the one, but is not trusted by the roots, as usages 0 and 1 want"
    return _unanchored(chain, found, hosts, instant)


def _unanchored(chain: Sequence[bytes], anchors: Collection[int], hosts: Collection[str], instant: str) -> str | None:
    """Usage 2: why the leaf is not below one of these anchors, in its name and today (RFC 7671 section 5.2)."""
    entries: Sequence[Mapping[str, object]] = read_chain(tuple(chain))
    path = [0]
    while path[-1] not in anchors:
        issuer = entries[path[-1]].get("issuer_index")
        if not isinstance(issuer, int) or issuer in path:
            return "the issuer is sent, but did not sign the server's certificate"
        path.append(issuer)
    for place in path:
        entry = entries[place]
        if not str(entry.get("not_before")) <= instant <= str(entry.get("not_after")):
            return f"{entry['subject']} is not valid today"
        if place and entry.get("basic_constraints") and not entry.get("ca"):
            return f"{entry['subject']} is no CA"
    if not any(name_matches(entries[0], host) for host in hosts):
        return f"the server's certificate is not valid for {' or '.join(hosts)}"
    return None


def right(chain: Sequence[bytes]) -> str:
    """The record that RFC 7671 section 5.1 recommends for the server that sends this chain, such as `3 1 1 ab…`."""
    selector = 1 if public_key(chain[0]) else 0
    return f"3 {selector} 1 {(associated(chain[0], selector, 1) or b'').hex()}"


def associated(der: bytes, selector: int, matching_type: int) -> bytes | None:
    """A certificate's association data for these (known) parameters; None where its public key cannot be read."""
    octets = der if selector == 0 else public_key(der)
    return None if octets is None else _DIGESTS[matching_type](octets)


def public_key(der: bytes) -> bytes | None:
    """A certificate's SubjectPublicKeyInfo in the octets it was sent in (RFC 5280 section 4.1); None where there is none.

    Not by a library, which would write the key anew: other octets than were sent have another digest.
    """
    # The version, which has a tag of its own and may be missing; then serial, signature, issuer, validity, subject.
    try:
        fields = fields_of(der)
        first = next(fields)
        return next(islice(fields, 5 if first[0] == 0xA0 else 4, None))
    except (StopIteration, ValueError):
        return None
