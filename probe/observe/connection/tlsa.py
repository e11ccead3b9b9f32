"""The TLSA records of a port (RFC 6698 section 3), and whether the resolver that was asked vouches for them by DNSSEC."""

import asyncio
from collections.abc import Mapping
from typing import Any

from probe.facts.parts import TlsaAnswer, TlsaRecord
from probe.observe.connection.nameserver import resolver_at
from probe.observe.connection.resolve import literal

# For one resolver, all it is asked together.
SECONDS = 5.0
MOST_RECORDS = 32
SYSTEM = "system"


async def ask_each(resolvers: Mapping[str, str], host: str, port: int) -> dict[str, TlsaAnswer]:
    """Each resolver's answer, by its name in the profile; without any, that of the system's own, as `system`.

    The `text` of an answer is not redacted yet. Never raises.
    """
    servers: Mapping[str, str | None] = resolvers or {SYSTEM: None}
    answers = await asyncio.gather(*(_ask(server, host, port) for server in servers.values()))
    return dict(zip(servers, answers, strict=True))


def nothing(server: str | None, host: str, port: int, error: str | None = None, text: str = "") -> TlsaAnswer:
    """An answer without records, and why there are none."""
    name = f"_{port}._tcp.{host.rstrip('.')}"
    return TlsaAnswer(
        server=server or SYSTEM, name=name, authenticated=None, signed=None, records=[], left_out=0, error=error, text=text
    )


async def _ask(server: str | None, host: str, port: int) -> TlsaAnswer:
    if literal(host):
        return nothing(server, host, port, "no-record", "the host is an address: only names have TLSA records")
    try:
        async with asyncio.timeout(SECONDS):
            return await _find(server, host, port)
    except TimeoutError:
        return nothing(server, host, port, "failed", "no answer in time")
    except Exception as error:
        # dnspython has some thirty kinds of exception; each means that this resolver gave no usable answer.
        return nothing(server, host, port, "failed", f"{type(error).__name__}: {error}")


async def _find(server: str | None, host: str, port: int) -> TlsaAnswer:
    import dns.flags
    import dns.rdatatype

    resolver = await resolver_at(server)
    # DO: a resolver says only to those who ask for DNSSEC whether it has validated (AD; RFC 4035 section 3.2.3).
    resolver.use_edns(0, dns.flags.DO, 1232)
    for base in await _bases(resolver, host):
        answer = await _answer(resolver, f"_{port}._tcp.{base}", "TLSA")
        if answer is not None and answer.rrset:
            records = [_record(record) for record in answer.rrset]
            signed = any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in answer.response.answer)
            return {
                **nothing(server, base, port),
                "authenticated": bool(answer.response.flags & dns.flags.AD),
                "signed": signed,
                "records": records[:MOST_RECORDS],
                "left_out": max(0, len(records) - MOST_RECORDS),
            }
    return nothing(server, host, port, "no-record", "there is no such record")


async def _bases(resolver: Any, host: str) -> list[str]:
    """The names that the port may stand below: an alias's target first, if the resolver vouches for it (RFC 7671 section 7)."""
    import dns.flags

    answer = await _answer(resolver, host, "A")
    if answer is None or not answer.response.flags & dns.flags.AD:
        return [host]
    return list(dict.fromkeys([str(answer.canonical_name).rstrip("."), host.rstrip(".")]))


async def _answer(resolver: Any, name: str, kind: str) -> Any:
    """dnspython's answer; None where the name does not exist."""
    import dns.resolver

    try:
        return await resolver.resolve(f"{name.rstrip('.')}.", kind, search=False, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return None


def _record(record: Any) -> TlsaRecord:
    return {
        "usage": record.usage,
        "selector": record.selector,
        "matching_type": record.mtype,
        "data": record.cert.hex(),
        "mismatch": None,
    }
