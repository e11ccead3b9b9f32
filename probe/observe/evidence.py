"""What came back: the delivered message, read from memory when the round trip is over and the message deleted.

Nothing here delays or fails a run: what cannot be read, verified or looked up within SECONDS, or before the run's deadline, is
`unknown`, and why. Keys are asked for, and dnspython and the arithmetic loaded, only where there is a signature.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING

from probe.facts import Verified, rebuilt, to_json
from probe.message import parts
from probe.observe.aside import beside
from probe.observe.hunt import Hunt
from probe.observe.job import Job
from probe.observe.journal import Journal
from probe.plain import dataclass

if TYPE_CHECKING:
    from probe.message.evidence import Delivered
    from probe.message.evidence.arc import Chain
    from probe.message.evidence.dkim import Signature
    from probe.message.evidence.signed import Bodies, Key, Outcome

SECONDS = 5.0
_LATE = "the run ended before it was verified"


async def of_run(job: Job, journal: Journal, *, raise_bugs: bool = False) -> None:
    """Put what came back into the facts of each stage that proved the message."""
    found = await of_messages(job, job.delivered, raise_bugs=raise_bugs)
    for stage, facts in found.items():
        journal.see(stage, rebuilt(Verified, {**to_json(journal.seen(stage, Verified)), **facts}))


async def of_collection(job: Job, journal: Journal, hunts: Mapping[str, Hunt]) -> None:
    """The same for what a collection found, by reader."""
    every = {f"{leg} {marker}": raw for leg, hunt in hunts.items() for marker, raw in hunt.found.delivered.items()}
    found = await of_messages(job, every)
    for leg, hunt in hunts.items():
        for marker, message in hunt.found.messages.items():
            message.update(found.get(f"{leg} {marker}", {}))  # type: ignore[typeddict-item]
        if hunt.found.delivered:
            journal.see(f"{leg}.find", hunt.found.facts())


async def of_messages(job: Job, messages: Mapping[str, bytes], *, raise_bugs: bool = False) -> dict[str, dict[str, object]]:
    """Of each message, by the key it is given under, the fields of `Verified` that are evidence. Never raises, except for bugs with
    `raise_bugs`."""
    try:
        return await _of_messages(job, messages) if messages else {}
    except Exception as bug:
        if raise_bugs:
            raise
        # An error of our own over a stranger's fields: the round trip is proven all the same.
        return {name: {"evidence": f"an error of our own ({type(bug).__name__})"} for name in messages}


@dataclass(frozen=True, slots=True)
class _Open:
    """A message whose signatures are not verified yet."""

    message: "Delivered"
    author: str
    signatures: "list[Signature]"
    left_out: int
    chain: "Chain | None"

    @property
    def places(self) -> list[str]:
        """DNS names of the keys that are needed."""
        wanted = [*self.signatures, *(self.chain.signatures if self.chain else ())]
        return [each.place for each in wanted if not each.wrong]


async def _of_messages(job: Job, messages: Mapping[str, bytes]) -> dict[str, dict[str, object]]:
    opened = {name: _opened(raw) for name, raw in messages.items()}
    places = [place for each in opened.values() for place in each.places]
    now, trusted = job.utc_now().timestamp(), job.conduct.authserv_ids
    keys: Mapping[str, Key] = {}
    try:
        async with job.deadline.limit(asyncio.get_running_loop().time() + SECONDS):
            if places:
                keys = await _keys(job, places)
                return await beside(lambda: _all_facts(opened, keys, now, trusted), "verify signatures")
    except TimeoutError:
        keys = {}
    return _all_facts(opened, keys, now, trusted)


def _all_facts(
    opened: Mapping[str, _Open], keys: "Mapping[str, Key]", now: float, trusted: tuple[str, ...]
) -> dict[str, dict[str, object]]:
    return {name: _facts(each, keys, now, trusted) for name, each in opened.items()}


def _opened(raw: bytes) -> _Open:
    from probe.message.evidence import arc, delivered, dkim

    message = delivered(raw)
    every = list(dkim.signatures(message))
    authors = sorted(parts.addresses(parts.read(raw).header, "From"))
    author = authors[0].rpartition("@")[2] if authors else ""
    return _Open(message, author, every[: dkim.MOST_SIGNATURES], max(0, len(every) - dkim.MOST_SIGNATURES), arc.chain(message))


async def _keys(job: Job, places: list[str]) -> "dict[str, Key]":
    # Some 50 ms, in which other runs of this loop go on.
    txt = await beside(_txt, "import dnspython")
    found: dict[str, Key] = await txt.keys(job.conduct.resolvers, places)
    return found


def _txt() -> ModuleType:
    import dns.asyncresolver  # noqa: F401

    from probe.observe.connection import txt

    return txt


def _facts(opened: _Open, keys: "Mapping[str, Key]", now: float, trusted: tuple[str, ...]) -> dict[str, object]:
    """Everything that is read of one message, as fields of `Verified`."""
    from probe.message.evidence import authentication, spam
    from probe.message.evidence.signed import Bodies, Outcome

    message, bodies = opened.message, Bodies(opened.message.body)
    chain, holds = opened.chain, Outcome("unknown")
    if chain is not None:
        from probe.message.evidence import arc

        holds = arc.verified(chain, message, bodies, keys, now)
    results = authentication.results(message, trusted, chain, proven=holds.result == "pass")
    limits = [*message.limits, *([f"{opened.left_out} more signatures were not verified"] if opened.left_out else [])]
    return {
        "evidence": "; ".join(limits) or "whole",
        "author": opened.author or None,
        "signatures": [_signature(each, opened, bodies, keys, now) for each in opened.signatures],
        "arc": None if chain is None else _arc(chain, holds),
        "authentication": [asdict(each) for each in results],
        "spam": [{**asdict(each), "tests": list(each.tests)} for each in spam.verdicts(message, trusted)],
    }


def _signature(found: "Signature", opened: _Open, bodies: "Bodies", keys: "Mapping[str, Key]", now: float) -> dict[str, object]:
    from probe.message.evidence import dkim
    from probe.message.evidence.alignment import aligned
    from probe.message.evidence.signed import Key

    key = keys.get(found.place, Key(None, _LATE))
    outcome = dkim.verified(found, opened.message, bodies, key, now)
    return {
        "domain": found.domain,
        "selector": found.selector,
        "algorithm": found.algorithm,
        "key_bits": outcome.key_bits,
        "result": outcome.result,
        "why": outcome.why,
        "aligned": aligned(found.domain, opened.author) if found.domain and opened.author else None,
        "testing": outcome.testing,
        "expires": _instant(found.expires),
        "covers": found.length,
        "resolver": key.resolver or None,
    }


def _arc(chain: "Chain", holds: "Outcome") -> dict[str, object]:
    return {
        "sets": len(chain.sets),
        "sealers": [each.seal.domain for each in chain.sets],
        "result": holds.result,
        "why": holds.why,
    }


def _instant(seconds: int | None) -> str | None:
    """RFC 3339 UTC; None for what no calendar has."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
