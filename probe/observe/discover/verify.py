"""Try what is published: the legs themselves, without credentials and without a message, one published server each.

Where a server does not speak as published, the other way (STARTTLS for TLS and the reverse) is tried too, so that the finding can
say what is true and not only what is false.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from probe.facts import Certified, Connected, Tried
from probe.observe import dane
from probe.observe.connection import Deadline, Pace
from probe.observe.discover.published import Answer, PublishedServer
from probe.observe.discover.web import look_up
from probe.observe.gate import Policy
from probe.observe.job import Conduct, Job, Milestone, Side
from probe.observe.journal import Journal
from probe.observe.legs import imap, pop3
from probe.observe.legs.submission import submit
from probe.observe.trouble import Stopped
from probe.record import Trouble
from probe.redact import Redactor

MOST_SERVERS = 12
AT_ONCE = 4
SECONDS = 8.0
_READERS = {"imap": imap, "pop3": pop3}
_ENCRYPTED = ("starttls", "tls")
# Not wrong: nobody gave credentials, and no message is sent.
_EXPECTED = ("auth.no-credentials",)
# How a port answers that is spoken to in the other way.
_WRONG_WAY = (
    "tls.handshake-failed",
    "reply.timeout",
    "protocol.malformed",
    "protocol.too-long",
    "connect.closed",
    "starttls.not-offered",
)


async def verify(answers: Iterable[Answer], ehlo: str, *, ca_file: str | None, resolver: str | None) -> Tried:
    """What became of each published server, and how many more are published than are tried."""
    servers = published_by(answers)
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(told: PublishedServer, sources: Sequence[str]) -> dict[str, Any]:
        async with turns:
            seen = await _try(told, ehlo, ca_file, resolver, by_dns="srv" in sources)
            return {**asdict(told), "sources": list(sources), **seen}

    chosen = list(servers.items())[:MOST_SERVERS]
    tried = await asyncio.gather(*(one(told, sources) for told, sources in chosen))
    return Tried(servers=list(tried), left_out=max(0, len(servers) - MOST_SERVERS))


def published_by(answers: Iterable[Answer]) -> dict[PublishedServer, list[str]]:
    """Each server once, with who published it. What anybody publishes for outside is not internal, whoever else says so."""
    found: dict[tuple[str, str, int, str], PublishedServer] = {}
    sources: dict[tuple[str, str, int, str], list[str]] = {}
    for answer in answers:
        for told in answer.told:
            key = (told.protocol, told.host, told.port, told.security)
            before = found.get(key)
            found[key] = replace(told, username=None) if before is None or before.scope == "internal" else before
            if answer.source not in sources.setdefault(key, []):
                sources[key].append(answer.source)
    return {told: sources[key] for key, told in found.items()}


async def _try(told: PublishedServer, ehlo: str, ca_file: str | None, resolver: str | None, *, by_dns: bool) -> dict[str, Any]:
    """`by_dns`: an SRV record names it, so that its TLSA records are asked for too (RFC 7673)."""
    connect: tuple[str, ...] = ()
    if resolver is not None:
        try:
            connect = tuple(await look_up(resolver, told.host))
        except Stopped as error:
            return _facts(Journal(asyncio.get_running_loop().time, Redactor()), told, error.trouble)
    side = _side(told, ca_file, connect)
    seen = await _talk(side, ehlo, told, {"": resolver} if resolver else {}, by_dns=by_dns)
    if seen["trouble"] and seen["trouble"]["id"] in _WRONG_WAY and told.security in _ENCRYPTED:
        other = "tls" if told.security == "starttls" else "starttls"
        again = await _talk(replace(side, security=other), ehlo, told)
        spoke = again["certificate"] is not None
        return {**seen, "really": other if spoke else None, "certificate": again["certificate"] if spoke else seen["certificate"]}
    return seen


def _side(told: PublishedServer, ca_file: str | None, connect: tuple[str, ...]) -> Side:
    return Side(
        leg=told.protocol,
        host=told.host,
        port=told.port,
        security=told.security,
        connect=connect,
        family="any",
        credentials=None,
        mechanism="AUTO",
        policy=Policy(plaintext=told.security == "plaintext"),
        ca_file=ca_file,
        minimum_version="TLSv1.2",
    )


async def _talk(
    side: Side, ehlo: str, told: PublishedServer, resolvers: Mapping[str, str] | None = None, *, by_dns: bool = False
) -> dict[str, Any]:
    """One conversation up to where a client would log on."""
    loop = asyncio.get_running_loop()
    journal = Journal(loop.time, Redactor())
    job = _job(side, ehlo, Deadline(loop.time() + SECONDS), resolvers or {}, by_dns=by_dns)
    job.accepted.give_up()
    if side.leg == "smtp":
        await submit(job, journal)
    else:
        reader = _READERS[side.leg]
        await reader.read(job, journal, side, reader.Settings())
    if by_dns:
        await dane.look_up(job, [side])
        dane.compare(job, journal, [side])
    return _facts(journal, told, None)


def _job(side: Side, ehlo: str, deadline: Deadline, resolvers: Mapping[str, str], *, by_dns: bool) -> Job:
    return Job(
        conduct=Conduct(
            resolvers, ehlo, per_connection=SECONDS, delivery_warning=0.0, delivery_critical=0.0, delete=False, dane=by_dns
        ),
        submission=side,
        draft=None,
        prove_key=b"",
        deadline=deadline,
        utc_now=lambda: datetime.now(UTC),
        pace=Pace(),
        read={side.leg: Milestone()},
        done={side.leg: Milestone()},
    )


_STAGES = ("resolve", "connect", "greeting", "ehlo", "starttls", "tls", "certificate", "ehlo_tls", "login")


def _facts(journal: Journal, told: PublishedServer, trouble: Trouble | None) -> dict[str, Any]:
    """What one conversation showed: addresses tried, the first trouble, the certificate, STARTTLS offered in clear or not."""
    stages = journal.stages([f"{told.protocol}.{step}" for step in _STAGES])
    first = trouble or next((stage.trouble for stage in stages if stage.trouble and stage.trouble.id not in _EXPECTED), None)
    certificate = journal.seen(f"{told.protocol}.certificate", Certified)
    attempts = journal.seen(f"{told.protocol}.connect", Connected).attempts
    kept = (
        "trusted",
        "openssl_code",
        "openssl_text",
        "name_matches",
        "subject_names",
        "not_after",
        "thumbprint",
        "certificate_name",
    )
    return {
        "addresses": [attempt["address"] for attempt in attempts],
        "trouble": {"id": first.id, "text": first.text} if first else None,
        "really": None,
        "certificate": {key: getattr(certificate, key) for key in kept} if certificate.chain else None,
        "dane": _dane(certificate),
    }


def _dane(certificate: Certified) -> dict[str, Any] | None:
    """How many TLSA records the port has, and how many are this certificate's; None where none are known."""
    for answer in certificate.tlsa.values():
        if records := answer["records"]:
            wrong = [record["mismatch"] for record in records if record["mismatch"]]
            matching = len(records) - len(wrong)
            return {
                "authenticated": answer["authenticated"],
                "records": len(records),
                "matching": matching,
                "text": "; ".join(wrong)[:300],
            }
    return None
