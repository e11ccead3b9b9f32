"""What the readers share: waiting for the submission, looking at growing intervals, proving what was found."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

from probe.facts import Found, Verified
from probe.facts.parts import HopSeen, Returned
from probe.message import MESSAGE_OCTETS, Bounce, Filled, Hop, Proof, carries_marker, prove, read
from probe.observe.connection import Connection
from probe.observe.job import Accepted, Job
from probe.observe.journal import Journal, Stage
from probe.observe.trouble import Stopped, is_unanswered, stop
from probe.plain import dataclass
from probe.record import NOTHING_SENT

MOST_CANDIDATES = 10
FIRST_INTERVAL = 0.008
GROWTH = 1.6
LAST_INTERVAL = 1.0
# How much of what a report says is shown: its reason, and the name of who wrote it (RFC 5321 section 4.5.3.1.2).
_REASON = 500
_NAME = 255


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message with our marker: UID or message number, its octets, when it was seen, and whether it is proven ours."""

    folder: str
    number: int
    raw: bytes
    seen_at: float
    proof: Proof

    @property
    def ours(self) -> bool:
        return self.proof.ours


def marked(octets: bytes, job: Job) -> bool:
    """Whether these octets carry this run's marker."""
    return job.draft is not None and carries_marker(octets, job.draft.marker)


def candidate(job: Job, folder: str, number: int, raw: bytes, at: float) -> Candidate:
    """A message with our marker, with its proof tried."""
    assert job.draft is not None
    proof = prove(read(raw), key=job.prove_key, expected=job.draft)
    return Candidate(folder, number, raw, at, proof)


async def accepted(job: Job, journal: Journal, stages: Sequence[str]) -> Accepted | None:
    """Wait for the submission; None, with the rest of the reader's stages skipped, when there is nothing to read."""
    value = await job.accepted.settled()
    if value is None:
        reason = job.conduct.unsent if job.draft is None else NOTHING_SENT
        for name in stages[-3:]:
            journal.skip(name, reason)
    return value


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to look, in seconds after the acceptance, and why not more often; by default at once, then at growing intervals."""

    times: Sequence[float]
    why: str = ""


def look_times(begin: float, warning: float, critical: float, early: int, late: int) -> list[float]:
    """`begin`, then at most `early` looks until `warning` and `late` more until `critical`, ever further apart.

    All in seconds after the acceptance, no two less than a second apart.
    """
    first = _spread(begin, warning, early)
    return [begin, *first, *_spread(max(begin, warning), critical, late + early - len(first) if begin >= warning else late)]


def _spread(begin: float, end: float, most: int) -> list[float]:
    """Points after `begin`, the last at `end`: gaps of a second, growing by one ratio so that so many reach that far."""
    count = min(most, int(end - begin))
    if count <= 0:
        return []
    low, high = 1.0, end - begin + 1
    for _ in range(50):
        ratio = (low + high) / 2
        low, high = (ratio, high) if sum(ratio**step for step in range(count)) < end - begin else (low, ratio)
    points = [begin + sum(high**step for step in range(index + 1)) for index in range(count)]
    return [*points[:-1], end]


async def look_until_found(
    job: Job,
    since: Accepted,
    journal: Journal,
    stage: Stage[Found],
    look: Callable[[int], Awaitable[list[Candidate]]],
    connection: Connection | None,
    schedule: Schedule | None = None,
    at_the_end: Callable[[], Awaitable[list[Candidate]]] | None = None,
) -> list[Candidate]:
    """Look at once, then at growing intervals, until a proven message is seen or the time is up.

    `at_the_end` is one last look elsewhere. Raises Stopped: `delivery.missing`; `delivery.bounced` when a report says that it will
    not come; `message.forged` when only a message came that claims our proof and does not hold it.
    """
    loop = asyncio.get_running_loop()
    interval = FIRST_INTERVAL
    looks = 0
    planned = list(schedule.times[1:]) if schedule else []
    seen: list[Candidate] = []
    while True:
        if connection is not None:
            job.renew(connection)
        looks += 1
        stage.facts = replace(stage.facts, looks=looks)
        seen = await look(looks) or seen
        stage.facts = replace(stage.facts, report=_report(journal, seen))
        if proven := _proven_first(seen):
            return proven
        if job.report_awaited and (bounce := _final(seen)):
            raise returned(journal, bounce)
        until = min(job.find_until, loop.time() - journal.now + since.at + job.conduct.delivery_critical)
        left = until - loop.time()
        if left <= 0 or (schedule and not planned):
            seen = (await at_the_end() if at_the_end else []) or seen
            stage.facts = replace(stage.facts, report=_report(journal, seen))
            if proven := _proven_first(seen):
                return proven
            raise _missing(journal, seen, journal.now - since.at, schedule.why if schedule else "")
        if schedule:
            interval = max(0.0, planned.pop(0) - (journal.now - since.at))
        await job.sleep(min(interval, left))
        interval = min(interval * GROWTH, LAST_INTERVAL)


def _proven_first(seen: Sequence[Candidate]) -> list[Candidate]:
    """All of them, a proven one first; none where none is proven."""
    return sorted(seen, key=lambda item: not item.ours) if any(item.ours for item in seen) else []


def found(facts: Found, candidates: Sequence[Candidate], since: Accepted) -> Found:
    """The stage's facts with where and when the message was seen first, and how many copies came."""
    first = candidates[0]
    return replace(
        facts,
        folder=first.folder,
        seconds=round(max(0.0, first.seen_at - since.at), 6),
        copies=sum(candidate.ours for candidate in candidates),
    )


def _missing(journal: Journal, seen: Sequence[Candidate], seconds: float, why: str) -> Exception:
    if bounce := _final(seen):
        return returned(journal, bounce)
    if any(item.proof.what == "forged" for item in seen):
        return stop("message.forged", "a message with our marker came, but without a valid proof: it is not ours")
    text = f"the message was accepted, but not found within {seconds:.1f} s"
    if (report := _report(journal, seen)) is not None and report["action"] == "delayed":
        text += f"; a report of {report['reporting'] or 'a server on the way'} says that it is delayed: {report['diagnostic']}"
    return stop("delivery.missing", f"{text}; {why}" if why else text)


def _final(seen: Sequence[Candidate]) -> Bounce | None:
    """The report that says that the message will not come."""
    return next((item.proof.bounce for item in seen if item.proof.bounce and item.proof.bounce.is_final), None)


def _report(journal: Journal, seen: Sequence[Candidate]) -> Returned | None:
    """The report that came, one that is final before one that is not."""
    bounce = _final(seen) or next((item.proof.bounce for item in seen if item.proof.bounce), None)
    if bounce is None:
        return None
    return Returned(
        action=journal.brief(bounce.action, _NAME),
        status=journal.brief(bounce.status, _NAME),
        diagnostic=journal.brief(bounce.diagnostic, _REASON),
        recipient=journal.brief(bounce.recipient, _NAME),
        reporting=journal.brief(bounce.reporting, _NAME),
        remote=journal.brief(bounce.remote, _NAME),
        arrived=journal.brief(bounce.arrived, _NAME),
    )


def reason(journal: Journal, bounce: Bounce) -> str:
    """Why the message did not come, in the report's words."""
    return journal.brief(" ".join(filter(None, (bounce.status, bounce.diagnostic))), _REASON) or "no reason given"


def returned(journal: Journal, bounce: Bounce) -> Exception:
    """The message did not come: a report says why."""
    said = reason(journal, bounce)
    by = f" by {journal.brief(bounce.reporting, _NAME)}" if bounce.reporting else ""
    return stop("delivery.bounced", f"the message was accepted, then returned{by}: {said}", said)


@contextmanager
def cleaning_up(job: Job) -> Iterator[None]:
    """Trouble while cleaning up takes nothing from what was proven: whatever it is, the message may stay, and that is all."""
    try:
        yield
    except Stopped as error:
        if error.trouble.id == "cleanup.failed":
            raise
        if job.interrupted and is_unanswered(error.trouble):
            raise
        raise stop("cleanup.failed", f"the message may stay: {error.trouble.text}", error.trouble.evidence) from None


def filling_of(job: Job) -> Filled | None:
    """What compares the attachment of a message of a chosen size; None for any other."""
    draft = job.draft
    return Filled(draft.marker, draft.filling) if draft is not None and draft.filling else None


def most_octets(job: Job) -> int:
    """How much of a message is read: a message of a chosen size may have grown on its way, and been encoded anew."""
    octets = job.draft.octets if job.draft is not None and job.draft.filling else 0
    return MESSAGE_OCTETS * 16 + 2 * octets


def way(proof: Proof) -> list[HopSeen]:
    """The message's way as facts: oldest hop first."""
    return [_hop(hop) for hop in proof.hops]


def _hop(hop: Hop) -> HopSeen:
    more = {"exchange": hop.exchange, **asdict(hop.carried)}
    seen = HopSeen(by=hop.by, at=hop.at, seconds=hop.seconds)
    seen.update({name: said for name, said in more.items() if said})  # type: ignore[typeddict-item]
    return seen


def link_of(journal: Journal, proof: Proof) -> str | None:
    """What came in place of our link: redacted first, and then cut."""
    return None if proof.link_rewritten is None else journal.brief(proof.link_rewritten, _REASON)


def verify(
    job: Job, journal: Journal, stage: Stage[Verified], candidates: Sequence[Candidate], filled: Filled | None = None
) -> None:
    """Put into the stage what the proven message shows; `filled` what its attachment does, which was read beside it."""
    first = candidates[0]
    proof = first.proof
    job.delivered[stage.name] = first.raw
    stage.facts = Verified(
        ours=first.ours,
        proven_by=proof.proven_by,
        text=proof.text,
        enclosed=proof.enclosed,
        subject=proof.subject,
        subject_changed=proof.subject_changed,
        message_id_changed=proof.message_id_changed,
        sender_rewritten=proof.sender_rewritten,
        link_rewritten=link_of(journal, proof),
        hops=way(proof),
        octets=filled.octets if filled else len(first.raw),
        filling=filled.state if filled else None,
        filling_same=filled.same if filled else None,
        folder=first.folder,
    )
