"""The facts of a `*.certificate` stage: what was sent, what OpenSSL said of it, and our own reading."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from probe.certificate.chain import named_alike, read_chain, rfc3339, sha256
from probe.certificate.host_name import name_matches, why_not
from probe.certificate.identifier import identifier
from probe.facts import Certified
from probe.facts.parts import Link

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_NAME_CODES = (62, 64)


def certified(
    chain: Sequence[bytes],
    *,
    host: str,
    openssl_code: int | None,
    openssl_text: str,
    now: datetime,
    verified_path: Sequence[bytes] = (),
    roots: Sequence[bytes] = (),
) -> Certified:
    """The facts of a `*.certificate` stage (contract section 5).

    `openssl_code` is None when OpenSSL was asked not to verify. OpenSSL looks at the name (codes 62, 64) before it looks at
    dates and signatures, so with these codes `trusted` also asks our own reading of the chain.
    """
    entries = read_chain(tuple(chain))
    leaf: Mapping[str, Any] = entries[0] if entries else {}
    sound = openssl_code == 0 or (openssl_code in _NAME_CODES and _dates_hold(entries, now))
    matches = bool(leaf) and name_matches(leaf, host)
    return Certified(
        trusted=bool(entries) and sound,
        openssl_code=openssl_code,
        openssl_text=openssl_text,
        name_checked=host,
        name_matches=matches,
        name_reasons=why_not(leaf, host) if leaf and not matches else [],
        thumbprint=leaf.get("sha1"),
        sha256=leaf.get("sha256"),
        not_before=leaf.get("not_before"),
        not_after=leaf.get("not_after"),
        subject_names=[*leaf.get("dns_names", ()), *leaf.get("ip_addresses", ())],
        certificate_name=identifier(leaf) if leaf else None,
        scts=leaf.get("scts"),
        checked_at=rfc3339(now),
        chain=cast("list[Link]", list(entries)),
        roots_named_alike=named_alike(tuple(chain), roots) if openssl_code else [],
        verified_path=[sha256(der) for der in verified_path],
        chain_der=[base64.b64encode(der).decode() for der in chain],
    )


def _dates_hold(entries: Sequence[Mapping[str, Any]], now: datetime) -> bool:
    instant = rfc3339(now)
    return all(entry.get("not_before", "") <= instant <= entry.get("not_after", "") for entry in entries)
