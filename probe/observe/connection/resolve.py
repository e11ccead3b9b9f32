"""A name to addresses, by the system's resolver."""

import ipaddress
import socket

from probe.observe.aside import beside
from probe.observe.trouble import stop
from probe.plain import dataclass

MOST_ADDRESSES = 16
_FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Address:
    """Where to dial: an IP address in text and a port."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name gave: addresses in the resolver's order, at most MOST_ADDRESSES, and how many were left out."""

    addresses: tuple[Address, ...]
    left_out: int = 0


def literal(host: str) -> str | None:
    """The host as an IP address in its canonical text, or None when it is a name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


async def resolve(host: str, port: int, family: str = "any") -> Resolution:
    """Ask the system's resolver (getaddrinfo, in a thread) for `host`.

    `family` is `any`, `ipv4` or `ipv6`. Raises Stopped with `dns.no-record`, `dns.failed` or `dns.bad-name`.
    """
    address = literal(host)
    if address is not None:
        # No need for the resolver, nor for the thread that it would run in.
        return Resolution((Address(address, port),))
    try:
        # A thread of its own: in the loop's pool a few names whose servers do not answer would delay everybody else's.
        found = await beside(lambda: socket.getaddrinfo(host, port, _FAMILIES[family], socket.SOCK_STREAM), "resolve")
    except socket.gaierror as error:
        raise _no_addresses(host, family, error) from None
    except (UnicodeError, ValueError) as error:
        # Python's IDNA codec refuses empty labels and those of more than 63 characters (RFC 1035 section 2.3.4).
        raise stop("dns.bad-name", f"look up {host!r}: not a name that DNS can hold ({error})") from None
    # The system has sorted them (RFC 6724; /etc/gai.conf): dialled in the order in which other programs would.
    unique = list(dict.fromkeys(Address(str(entry[4][0]), port) for entry in found))
    return Resolution(tuple(unique[:MOST_ADDRESSES]), max(0, len(unique) - MOST_ADDRESSES))


# By name, since not every system has each (musl and Windows have no EAI_ADDRFAMILY), and Windows' own numbers: WSATRY_AGAIN;
# WSAHOST_NOT_FOUND and WSANO_DATA ("Windows Sockets Error Codes").
_FOR_NOW = (("EAI_AGAIN",), (11002,))
_NO_ADDRESS = (("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY"), (11001, 11004))


def _no_addresses(host: str, family: str, error: socket.gaierror) -> Exception:
    kind = "" if family == "any" else f" {family}"
    if _is_one_of(error, *_FOR_NOW):
        return stop("dns.failed", f"look up {host}: the resolver gave no answer for now", str(error))
    if _is_one_of(error, *_NO_ADDRESS):
        return stop("dns.no-record", f"look up {host}: the name has no{kind} address", str(error))
    return stop("dns.failed", f"look up {host}: {error.strerror or error}", str(error))


def _is_one_of(error: socket.gaierror, names: tuple[str, ...], numbers: tuple[int, ...]) -> bool:
    return error.errno in (*numbers, *(getattr(socket, name) for name in names if hasattr(socket, name)))
