"""Ask the resolvers a profile names (internal, public) for a host, each by itself: what do they say, how do they differ?"""

import asyncio
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from probe.facts.parts import Lookup
from probe.observe.connection.resolve import literal

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

SECONDS = 5.0
_TYPES = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}


async def ask_each(resolvers: Mapping[str, str], host: str, family: str) -> dict[str, Lookup]:
    """Each resolver's answer, by its name in the profile: server, addresses, CNAMEs, ttl (seconds), error.

    `error` is None, `no-record` (NXDOMAIN or no address) or `failed`, with the reason in `text`, which is not redacted yet.
    Never raises.
    """
    answers = await asyncio.gather(*(_ask(server, host, family) for server in resolvers.values()))
    return dict(zip(resolvers, answers, strict=True))


async def _ask(server: str, host: str, family: str) -> Lookup:
    found = Lookup(server=server, addresses=[], cnames=[], ttl=None, error=None, text="")
    failed: list[str] = []
    for kind in _TYPES[family]:
        try:
            await _ask_type(server, host, kind, found)
        except Exception as error:
            # dnspython has some thirty kinds of exception; each means that this resolver gave no usable answer.
            failed.append(f"{kind}: {type(error).__name__}: {error}")
    if failed:
        # A good A beside a SERVFAIL for AAAA is an answer, and worth a word.
        found["error"], found["text"] = None if found["addresses"] else "failed", "; ".join(failed)
    elif not found["addresses"]:
        found["error"], found["text"] = "no-record", found["text"] or "the name has no address there"
    else:
        found["text"] = ""
    return found


async def _ask_type(server: str, host: str, kind: str, found: Lookup) -> None:
    import dns.resolver

    try:
        resolver = await resolver_at(server)
        answer = await resolver.resolve(host.rstrip(".") + ".", kind, lifetime=SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as error:
        found["text"] = str(error)
        return
    found["addresses"] += [str(record) for record in answer]
    found["ttl"] = answer.rrset.ttl if answer.rrset is not None else None
    found["cnames"] += [str(name.target).rstrip(".") for name in _cnames(answer) if str(name.target) not in found["cnames"]]


async def _address_of(host: str) -> str:
    """Of a resolver that the profile gives by name: dnspython takes addresses only. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 53, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])


async def resolver_at(server: str | None) -> "Resolver":
    """dnspython's resolver for one server, HOST[:PORT]; None: the system's. Raises what dnspython raises where there is none."""
    import dns.asyncresolver

    if server is None:
        return dns.asyncresolver.Resolver()
    # Without /etc/resolv.conf or Windows' registry: the one server of the profile, and nobody's search list.
    resolver = dns.asyncresolver.Resolver(configure=False)
    address, _, port = server.rpartition(":") if server.count(":") == 1 or server.startswith("[") else (server, "", "53")
    resolver.nameservers = [literal(address) or await _address_of(address)]
    resolver.port = int(port)
    return resolver


def _cnames(answer: Any) -> list[Any]:
    """The CNAME records on the way to the answer, in the order they came."""
    return [record for rrset in answer.response.answer if rrset.rdtype.name == "CNAME" for record in rrset]
