"""The certificates of many servers: a look at each port, up to where a client would log on; or what the history knows of them.

Nobody logs on and nothing is sent: no secret is asked for. Profiles with the same server share one look.
"""

import asyncio
import contextlib
import secrets
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime

from probe.facts import Certified, Connected, Greeted, greetings
from probe.judge import _fleet
from probe.judge._verdict import judge
from probe.observe import reach
from probe.observe.job import Side
from probe.observe.legs import submission
from probe.observe.trouble import Stopped
from probe.plain import dataclass
from probe.profile import Profile
from probe.record import SUBMISSION_STAGES, Record, StageRecord, Target
from probe.report import Report
from probe.report.changes import renewals
from probe.report.drift import Service, leaf_of, software_of
from probe.report.fleet import Fleet, NotSeen, Sighting, days_between, port_of
from probe.tasks.backoff import remember_proxies, with_backoff
from probe.tasks.credentials import with_proxies
from probe.tasks.interrupted import heeding
from probe.tasks.plan import Plan, ReaderPlan, make_plan
from probe.tasks.prepare import Session, begin, time_of_day

# A port that no run has seen for so long is not in use any more, as far as the history knows.
STALE_DAYS = 30
_CUT = "not looked at: interrupted"


@dataclass(frozen=True, slots=True)
class _Piece:
    """One server's port to look at: its side without whoever would log on, and the profiles that have it, by their place."""

    plan: Plan
    reader: ReaderPlan | None
    side: Side
    profiles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look showed: a record of that leg alone, and the profiles that it is of, by their place."""

    side: Side
    record: Record
    profiles: tuple[int, ...]
    skipped: str = ""


async def look(profiles: Sequence[Profile], session: Session, *, at_once: int, every_address: bool) -> tuple[list[Looked], str]:
    """A look at every port of every profile, `at_once` at a time, and when it began (RFC 3339 UTC).

    Raises ProfileError for a profile that still has a template's names, and where a proxy's password cannot be had.
    What a server or a network does is in the record.
    """
    for profile in profiles:
        profile.require_real()
    started = (session.utc_now or time_of_day)()
    turns = asyncio.Semaphore(at_once)
    pieces = whole = _pieces(profiles, session)
    if every_address:
        each = await asyncio.gather(*(_nodes(piece, session, turns) for piece in pieces))
        pieces = _together(piece for nodes in each for piece in nodes)

    async def one(piece: _Piece) -> Looked:
        async with turns:
            return await _look(piece, session)

    looked = list(await asyncio.gather(*map(one, pieces)))
    for piece in whole:
        remember_proxies(piece.plan, session.place)
    return looked, _stamp(started)


def _stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _pieces(profiles: Sequence[Profile], session: Session) -> list[_Piece]:
    found = []
    for index, profile in enumerate(profiles):
        # Nobody logs on: of all secrets a proxy's alone is fetched.
        plan = with_backoff(with_proxies(make_plan(profile, light=True), profile), session.place)
        readers: list[ReaderPlan | None] = [None, *plan.readers]
        for reader in readers:
            side = replace(
                reader.side if reader else plan.submission, credentials=None, mechanism="AUTO", further=(), suspended=None
            )
            found.append(_Piece(plan, reader, side, (index,)))
    return _together(found)


def _together(pieces: Iterable[_Piece]) -> list[_Piece]:
    """One for each port that is reached and judged in one way, whatever number of profiles has it."""
    found: dict[Side, _Piece] = {}
    for piece in pieces:
        before = found.get(piece.side)
        found[piece.side] = replace(before, profiles=(*before.profiles, *piece.profiles)) if before else piece
    return list(found.values())


async def _nodes(piece: _Piece, session: Session, turns: asyncio.Semaphore) -> list[_Piece]:
    """The piece once for each address behind the name, or of `connect`."""
    if piece.side.security == "plaintext":
        return [piece]
    async with turns:
        found = [str(address) for address in await _addresses(piece, session)]
    # The address is all there is to reach, so that profiles that list several nodes in another order share a look.
    return [replace(piece, side=replace(piece.side, connect=(address,), only=address)) for address in found] or [piece]


async def _addresses(piece: _Piece, session: Session) -> Sequence[object]:
    """Empty where none is known: the look says why."""
    _, job = begin(_alone(piece), session)
    try:
        with heeding(job, session.interrupt):
            return (await reach.addresses(job, piece.side)).addresses
    except Stopped:
        return ()


def _alone(piece: _Piece) -> Plan:
    """The plan with this leg and no other."""
    reader = (replace(piece.reader, side=piece.side),) if piece.reader else ()
    return replace(piece.plan, submission=piece.plan.submission if reader else piece.side, readers=reader)


async def _look(piece: _Piece, session: Session) -> Looked:
    if piece.side.security == "plaintext":
        return Looked(piece.side, _record(piece, (), session), piece.profiles, "the profile says plaintext")
    if session.interrupt is not None and session.interrupt.is_set():
        return Looked(piece.side, _record(piece, (), session), piece.profiles, _CUT)
    journal, job = begin(_alone(piece), session)
    # Nothing is sent, so that nobody waits for it, and no maildrop is held, since nobody logs on.
    job.accepted.give_up()
    job.hold = _unheld
    error = None
    with heeding(job, session.interrupt):
        try:
            if piece.reader is None:
                await submission.submit(job, journal)
            else:
                await piece.reader.module.read(job, journal, piece.side, piece.reader.settings)
        except Exception as bug:
            if session.raise_bugs:
                raise
            error = "internal error: " + "".join(traceback.format_exception_only(bug)).strip()
    names = piece.reader.module.STAGES if piece.reader else SUBMISSION_STAGES
    record = _record(piece, journal.stages(names), session)
    record = replace(record, seconds=journal.now, error=journal.redacted(error) if error else None)
    showed = record.seen(f"{piece.side.leg}.certificate", Certified).chain
    return Looked(piece.side, record, piece.profiles, _CUT if job.interrupted and not showed else "")


def _unheld(mailbox: str, until: float) -> AbstractAsyncContextManager[None]:
    return contextlib.nullcontext()


def _record(piece: _Piece, stages: tuple[StageRecord, ...], session: Session) -> Record:
    side = piece.side
    at = _stamp((session.utc_now or time_of_day)())
    connected = next((stage.seen(Connected) for stage in stages if stage.name == f"{side.leg}.connect"), Connected())
    address = connected.remote or side.only
    target = Target(side.host, side.port, side.security, address, _node(side.leg, stages))
    return Record(secrets.token_hex(8), piece.plan.profile, target, at, 0.0, stages)


def _node(leg: str, stages: tuple[StageRecord, ...]) -> str | None:
    if leg == "smtp":
        return next((stage.seen(Greeted).name for stage in stages if stage.name == "smtp.greeting"), None)
    return next((stage.seen(Connected).node for stage in stages if stage.name == f"{leg}.connect"), None)


def reports_of(looked: Sequence[Looked], profiles: Sequence[Profile]) -> list[Report]:
    """Each look, judged for each of its profiles, in the looks' order."""
    return [
        judge(replace(one.record, profile=profiles[index].name), profiles[index])
        for one in looked if not one.skipped for index in one.profiles
    ]  # fmt: skip


def summed_up(
    looked: Sequence[Looked], profiles: Sequence[Profile], services: Sequence[Service], *, started: str, seconds: float,
    interrupted: bool,
) -> Fleet:  # fmt: skip
    """All looks in one; `services`: what the history knows, for what was renewed when."""
    sightings, not_seen, findings = [], [], []
    earlier = _earlier(services)
    for one in looked:
        names = tuple(profiles[index].name for index in one.profiles)
        seen = _sighting(one, names, earlier)
        margins = [_fleet.margins(profiles[index], one.side.leg, seen.leaf) for index in one.profiles] if seen else []
        if seen:
            sightings.append(replace(seen, warning=max(days[0] for days in margins), critical=max(days[1] for days in margins)))
        judged = () if one.skipped else [judge(one.record, profiles[index]) for index in one.profiles]
        found = [finding for report in judged for finding in _fleet.concerning(report, one.side.leg, shown=seen is not None)]
        findings += [
            (finding, f"{one.side.leg} {one.side.host}:{one.side.port}", seen.leaf.sha1 if seen else None) for finding in found
        ]
        if seen is None:
            not_seen.append(_why(one, names, [finding.id for finding in found]))
    return _fleet.fleet(
        "look", sightings, not_seen, findings, renewals(services), started=started, seconds=seconds, interrupted=interrupted
    )


def _sighting(one: Looked, names: tuple[str, ...], earlier: Mapping[tuple[str, str, str], tuple[str, ...]]) -> Sighting | None:
    leg, target = one.side.leg, one.record.target
    leaf = leaf_of(one.record.seen(f"{leg}.certificate", Certified))
    if leaf is None or target.address is None:
        return None
    software = software_of(next(greetings(one.record.seen, leg), ""))
    before = earlier.get((leg, one.side.host, target.address), ())
    return Sighting(
        names, leg, one.side.host, port_of(target.address), target.address, target.node, software, one.record.started, leaf,
        tuple(sha1 for sha1 in before if sha1 != leaf.sha1),
    )  # fmt: skip


def _why(one: Looked, names: tuple[str, ...], found: Sequence[str]) -> NotSeen:
    side, record = one.side, one.record
    failed = next((stage for stage in record.stages if stage.trouble), None)
    text = one.skipped or record.error or (failed.trouble.text if failed and failed.trouble else "it showed no certificate")
    trouble = failed.trouble.id if failed and failed.trouble else "run.error"
    return NotSeen(
        side.leg, side.host, side.port, record.target.address, names, None if one.skipped else (*found, trouble)[0], text
    )  # fmt: skip


def _earlier(services: Iterable[Service]) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """By leg, host and address, SHA-1 of every certificate that was ever seen there."""
    found: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for service in services:
        key = (service.leg, service.host, service.node)
        values = [value for span in service.spans.get("certificate", ()) for value in span.values]
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), *values)))
    return found


def remembered(services: Sequence[Service], profiles: Mapping[str, Profile], default: Profile, now: datetime) -> Fleet:
    """What the history knows: the certificate that each port showed last. `profiles`: by name, for the days at which they warn."""
    stamp = _stamp(now)
    earlier = _earlier(services)
    sightings, findings = [], []
    for service in services:
        spans = service.spans.get("certificate", ())
        # Of a port that nobody has seen for long nothing is known.
        if not spans or (days_between(spans[-1].last, stamp) or 0.0) > STALE_DAYS:
            continue
        profile = profiles.get(service.profile, default)
        for sha1 in spans[-1].values:
            if (leaf := service.certificates.get(sha1)) is None:
                continue
            before = tuple(one for one in earlier[(service.leg, service.host, service.node)] if one != sha1)
            sighting = Sighting(
                (service.profile,), service.leg, service.host, port_of(service.node), service.node, None,
                _latest(service, "software"), spans[-1].values[sha1], leaf, before, *_fleet.margins(profile, service.leg, leaf),
            )  # fmt: skip
            sightings.append(sighting)
            findings += [(finding, sighting.label, sha1) for finding in _fleet.dates(profile, service.leg, leaf, stamp)]
    return _fleet.fleet("history", sightings, [], findings, renewals(services), started=stamp, seconds=0.0, interrupted=False)


def _latest(service: Service, key: str) -> str:
    spans = service.spans.get(key, ())
    return spans[-1].latest if spans else ""
