"""DANE: TLSA records are looked up beside the legs, which wait for none of it, and compared with the chains when all have ended.

No secret depends on it, either way: may_send_secret (gate.py) does not ask.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import import_module

from probe.certificate.tlsa import Tlsa, mismatch, right
from probe.facts import Certified
from probe.facts.parts import TlsaAnswer, TlsaRecord
from probe.observe.aside import beside
from probe.observe.connection.resolve import literal
from probe.observe.connection.tlsa import SYSTEM, ask_each, nothing
from probe.observe.job import Job, Side
from probe.observe.journal import Journal

_TEXT = 300


def wanted(job: Job, sides: Iterable[Side]) -> list[Side]:
    """Those whose TLSA records are to be looked up."""
    return [side for side in sides if _is_wanted(job, side)]


async def look_up(job: Job, sides: Iterable[Side]) -> None:
    """Ask for the TLSA records of these sides, all at once, within the run's deadline; the job keeps the answers."""
    # Some 50 ms, in which the loop is to go on with the legs.
    await beside(lambda: import_module("dns.asyncresolver"), "import dnspython")
    await asyncio.gather(*(_look_up(job, side) for side in sides))


def _is_wanted(job: Job, side: Side) -> bool:
    """Where the profile expects DANE; else only where it has resolvers of its own asked for this host's addresses."""
    if side.security == "plaintext":
        return False
    return job.conduct.dane or (bool(job.conduct.resolvers) and not side.connect and not literal(side.host))


async def _look_up(job: Job, side: Side) -> None:
    servers = job.conduct.resolvers
    try:
        async with job.deadline.limit():
            job.tlsa[side.leg] = await ask_each(servers, side.host, side.port)
    except TimeoutError:
        late = nothing(None, side.host, side.port, "failed", "the run ended before there was an answer")
        job.tlsa[side.leg] = {name: {**late, "server": servers.get(name, SYSTEM)} for name in servers or (SYSTEM,)}


def compare(job: Job, journal: Journal, sides: Iterable[Side]) -> None:
    """Give each `*.certificate` stage that showed a chain the records of its port, and which of them match."""
    for side in sides:
        name, answers, chain = f"{side.leg}.certificate", job.tlsa.get(side.leg), job.chains.get(side.leg)
        if answers and chain:
            seen = journal.seen(name, Certified)
            compared = {place: _compared(answer, chain, seen, journal) for place, answer in answers.items()}
            journal.see(name, replace(seen, tlsa=compared, tlsa_right=right(chain)))


def _compared(answer: TlsaAnswer, chain: Sequence[bytes], seen: Certified, journal: Journal) -> TlsaAnswer:
    hosts = tuple(dict.fromkeys((seen.name_checked or "", answer["name"].partition("._tcp.")[2])))
    trusted = bool(seen.trusted and seen.name_matches)

    def judged(record: TlsaRecord) -> TlsaRecord:
        one = Tlsa(record["usage"], record["selector"], record["matching_type"], bytes.fromhex(record["data"]))
        return {**record, "mismatch": mismatch(one, chain, hosts, seen.checked_at or "", trusted=trusted)}

    return {**answer, "records": [judged(one) for one in answer["records"]], "text": journal.brief(answer["text"], _TEXT)}
