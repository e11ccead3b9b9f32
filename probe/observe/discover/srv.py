"""SRV records: RFC 6186 section 3 (_submission, _imap, _imaps, _pop3, _pop3s), RFC 8314 section 5.1 (_submissions)."""

import asyncio
from typing import Any

from probe.observe.connection.nameserver import resolver_at
from probe.observe.discover.published import MOST_TOLD, Answer, PublishedServer, entry

SOURCE = "srv"
SECONDS = 5.0
SERVICES = {
    "_submission": ("smtp", "starttls"),
    "_submissions": ("smtp", "tls"),
    "_imap": ("imap", "starttls"),
    "_imaps": ("imap", "tls"),
    "_pop3": ("pop3", "starttls"),
    "_pop3s": ("pop3", "tls"),
}


async def ask(domain: str, resolver: str | None) -> tuple[Answer, ...]:
    """One Answer a service, all asked at once. `resolver` is HOST[:PORT], None the system's. Never raises."""
    return tuple(await asyncio.gather(*(_ask(service, domain, resolver) for service in SERVICES)))


async def _ask(service: str, domain: str, resolver: str | None) -> Answer:
    import dns.exception
    import dns.resolver

    place = f"{service}._tcp.{domain}"
    try:
        found = await (await resolver_at(resolver)).resolve(f"{place}.", "SRV", lifetime=SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return Answer(SOURCE, place, "absent", "no such record")
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return Answer(SOURCE, place, "failed", f"look up {place}: {why(error, resolver)}")
    return _read(service, place, list(found))


def why(error: Exception, resolver: str | None) -> str:
    """No answer in time, no resolver, SERVFAIL, a reply that cannot be read: in plain words, where there are some."""
    import dns.exception
    import dns.resolver

    whose = resolver or "this machine's resolver"
    if isinstance(error, dns.exception.Timeout):
        return f"no answer from {whose} in {SECONDS:g} s"
    if isinstance(error, dns.resolver.NoResolverConfiguration):
        return f"this machine has no resolver set up ({error})"
    return f"{whose} gave no answer that can be used: {type(error).__name__}: {error}"


def _read(service: str, place: str, records: list[Any]) -> Answer:
    protocol, security = SERVICES[service]
    told: list[PublishedServer] = []
    declined = False
    for record in sorted(records, key=lambda one: (one.priority, -one.weight)):
        target = str(record.target).rstrip(".")
        if target:
            told += entry(protocol, target, record.port, security)
        else:
            declined = True
    if told:
        return Answer(SOURCE, place, "found", told=tuple(told[:MOST_TOLD]))
    text = "the record says that the service is not offered" if declined else "the record names no host"
    return Answer(SOURCE, place, "empty", text, declined=(protocol,) if declined else ())
