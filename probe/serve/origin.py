"""Who asks: this exporter's own pages, a program, or a page of somebody else in a browser of this network.

A foreign page can have a browser send requests here, and by DNS rebinding read the answers: then the name in Host is the page's. So
without users only our own names are answered, and nobody's page but our own starts a run or a reload.
https://www.w3.org/TR/fetch-metadata/ (browsers send it over https and to loopback), RFC 6454 section 7 (Origin).
"""

import ipaddress
from collections.abc import Collection, Mapping

_OUR_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def name_in(host: str) -> str:
    """The name in a Host header: lower case, without port, brackets and final dot."""
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether what is listened on is this machine's alone."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def knows(listening: str, allowed: Collection[str], host: str) -> bool:
    """Whether a request for `host` (its header) is meant for us. On a wildcard every address is: only names can be rebound."""
    name, ours = name_in(host), _address(listening)
    if name in _OUR_LOOPBACK or name == name_in(f"[{listening}]" if ":" in listening else listening):
        return True
    if ours is not None and ours.is_unspecified and _address(name) is not None:
        return True
    return name in {name_in(one) for one in allowed}


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a page of another origin asks (header names in lower case)."""
    if headers.get("sec-fetch-site", "none").lower() not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    return origin.lower().partition("://")[2] != headers.get("host", "").strip().lower()
