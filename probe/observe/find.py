"""What the readers share: waiting for the submission, looking at growing intervals, proving what was found."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from probe.message import Proof, carries_marker, prove
from probe.observe.connection import Connection
from probe.observe.job import Accepted, Job
from probe.observe.journal import Journal, Stage
from probe.observe.trouble import Stopped, stop

MOST_CANDIDATES = 10
FIRST_INTERVAL = 0.008
GROWTH = 1.6
LAST_INTERVAL = 1.0


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
    proof = prove(raw, marker=job.draft.marker, key=job.prove_key, sender=job.draft.sender)
    return Candidate(folder, number, raw, at, proof)


async def accepted(job: Job, journal: Journal, stages: Sequence[str]) -> Accepted | None:
    """Wait for the submission; None, with the rest of the reader's stages skipped, when there is nothing to read."""
    value = await job.accepted.settled()
    if value is None:
        reason = "nothing is sent in light mode" if job.draft is None else "no message was submitted"
        for name in stages[-3:]:
            journal.skip(name, reason)
    return value


async def look_until_found(
    job: Job,
    since: Accepted,
    journal: Journal,
    stage: Stage,
    look: Callable[[int], Awaitable[list[Candidate]]],
    connection: Connection | None,
) -> list[Candidate]:
    """Look at once, then at growing intervals, until a proven message is seen or the time is up.

    Raises Stopped: `delivery.missing`, or `message.forged` when only unproven copies were seen.
    """
    loop = asyncio.get_running_loop()
    interval = FIRST_INTERVAL
    seen: list[Candidate] = []
    while True:
        if connection is not None:
            job.renew(connection)
        stage.facts["looks"] += 1
        seen = await look(stage.facts["looks"]) or seen
        if any(item.ours for item in seen):
            return sorted(seen, key=lambda item: not item.ours)
        until = min(job.find_until, loop.time() - journal.now + since.at + job.delivery_critical)
        left = until - loop.time()
        if left <= 0:
            raise _missing(seen, journal.now - since.at)
        await job.sleep(min(interval, left))
        interval = min(interval * GROWTH, LAST_INTERVAL)


def _missing(seen: Sequence[Candidate], seconds: float) -> Exception:
    if seen:
        return stop("message.forged", "a message with our marker came, but without a valid proof: it is not ours")
    return stop("delivery.missing", f"the message was accepted, but not found within {seconds:.1f} s")


@contextmanager
def cleaning_up() -> Iterator[None]:
    """Trouble while cleaning up takes nothing from what was proven: whatever it is, the message may stay, and that is all."""
    try:
        yield
    except Stopped as error:
        if error.trouble.id == "cleanup.failed":
            raise
        raise stop("cleanup.failed", f"the message may stay: {error.trouble.text}", error.trouble.evidence) from None


def verify(job: Job, stage: Stage, candidates: Sequence[Candidate]) -> None:
    """Put into the stage what the proven message shows."""
    first = candidates[0]
    proof: dict[str, Any] = asdict(first.proof)
    proof["hops"] = [asdict(hop) for hop in first.proof.hops]
    stage.facts |= {**proof, "octets": len(first.raw), "folder": first.folder}
