"""TXT records, such as a signature's key (RFC 6376 section 3.6.2), from the profile's resolvers or the system's."""

import asyncio
from collections.abc import Iterable, Mapping

from probe.message.evidence.signed import MOST_RECORD, Key
from probe.observe.connection.nameserver import resolver_at
from probe.observe.connection.tlsa import SYSTEM

# For all keys of a message together.
SECONDS = 5.0


async def keys(resolvers: Mapping[str, str], places: Iterable[str]) -> dict[str, Key]:
    """The key record of each DNS name, all asked for at once. The texts are not redacted. Never raises."""
    wanted = list(dict.fromkeys(places))
    found = await asyncio.gather(*(_key(resolvers, place) for place in wanted))
    return dict(zip(wanted, found, strict=True))


async def _key(resolvers: Mapping[str, str], place: str) -> Key:
    """The first resolver that has the record, in the profile's order; else the best word of those that have not."""
    servers: Mapping[str, str | None] = resolvers or {SYSTEM: None}
    answers = await asyncio.gather(*(_ask(name, server, place) for name, server in servers.items()))
    return next((each for each in answers if each.record is not None or each.problem == _TOO_LONG), None) or next(
        (each for each in answers if each.missing), answers[0]
    )


_TOO_LONG = f"the key record is longer than is read ({MOST_RECORD} octets)"


async def _ask(name: str, server: str | None, place: str) -> Key:
    import dns.exception
    import dns.resolver

    try:
        async with asyncio.timeout(SECONDS):
            resolver = await resolver_at(server)
            answer = await resolver.resolve(f"{place}.", "TXT", lifetime=SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return Key(None, "there is no key in DNS", missing=True, resolver=name)
    except (TimeoutError, dns.exception.Timeout):
        return Key(None, "the resolver gave no answer in time", resolver=name)
    except Exception as error:
        # dnspython has some thirty kinds of exception; each means that this resolver gave no usable answer.
        return Key(None, f"the key could not be looked up ({type(error).__name__})", resolver=name)
    texts = [b"".join(record.strings) for record in answer]
    # Several records: "undefined" (RFC 6376 section 3.6.2.2). The one that has a key is meant.
    text = next((each for each in texts if b"p=" in each), texts[0])
    if len(text) > MOST_RECORD:
        return Key(None, _TOO_LONG, missing=True, resolver=name)
    return Key(text.decode("utf-8", "replace"), resolver=name)
