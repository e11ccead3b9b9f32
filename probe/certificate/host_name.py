"""Whether a certificate is valid for a host name (RFC 9525), and of each of its names why not."""

import ipaddress
from collections.abc import Mapping, Sequence


def name_matches(entry: Mapping[str, object], host: str) -> bool:
    """Whether a certificate is valid for `host` (RFC 9525 section 6): subjectAltName only, wildcard for one whole label."""
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return any(dns_name_matches(name, host) for name in _texts(entry, "dns_names"))
    return address in _texts(entry, "ip_addresses")


def _texts(entry: Mapping[str, object], key: str) -> Sequence[str]:
    found = entry.get(key)
    return [text for text in found if isinstance(text, str)] if isinstance(found, Sequence) else []


def dns_name_matches(pattern: str, host: str) -> bool:
    """One dNSName against one host name; compared as A-labels, without case. A dNSName is IA5String (RFC 5280 section 4.2.1.6):
    clients do not convert a U-label that stands in a certificate."""
    presented, wanted = _labels(pattern), _labels(host)
    if not presented or not pattern.isascii() or len(presented) != len(wanted):
        return False
    if presented[0] == "*":
        # A wildcard needs something that is not one: `*` and `*.com` would match half the world (CA/B Forum BR, 3.2.2.6).
        return len(presented) > 2 and presented[1:] == wanted[1:] and "*" not in presented[1:]
    return "*" not in pattern and presented == wanted


def why_not(entry: Mapping[str, object], host: str) -> list[str]:
    """Of each name in the certificate, why it does not match `host`; a name that matches is left out."""
    wanted = _labels(host)
    told = [f"{name}: {_why_not(name, wanted)}" for name in _texts(entry, "dns_names") if not dns_name_matches(name, host)]
    told += [f"{address}: an IP address" for address in _texts(entry, "ip_addresses") if address != host.strip("[]")]
    if not entry.get("has_san"):
        told += [f"CN {name}: clients do not look at the CN (RFC 9525)" for name in _texts(entry, "common_names")]
    return told


def _why_not(pattern: str, wanted: list[str]) -> str:
    presented = _labels(pattern)
    if not presented:
        return "not a name that DNS can hold"
    if not pattern.isascii():
        return f"an international name has to stand there in its A-form: {'.'.join(presented)}"
    if "*" not in pattern:
        return "another name"
    if presented[0] != "*" or "*" in "".join(presented[1:]):
        return "a wildcard counts only as the whole left-most label"
    if len(presented) <= 2:
        return "a wildcard for a whole top-level domain counts for nothing"
    if wanted[-len(presented) + 1 :] == presented[1:]:
        return "a wildcard stands for one label, no more and no less"
    return "another domain"


def _labels(name: str) -> list[str]:
    # Neither certificates nor SNI have the final dot (RFC 6066 section 3).
    name = name.rstrip(".").lower()
    try:
        labels = [label if label.isascii() else _a_label(label) for label in name.split(".")]
    except ValueError:
        return []
    return labels if all(labels) else []


def _a_label(label: str) -> str:
    """Not by Python's codec, which is IDNA 2003 (RFC 3490): there `ß` is `ss`, another domain. Raises ValueError."""
    import idna  # names that are not ASCII are few

    return idna.encode(label, uts46=True, transitional=False).decode("ascii")
