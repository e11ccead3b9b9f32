"""A run that somebody ends early: it hears of it, and what was under way is cut short, which is no fault of the server."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace

from probe.observe.job import Job
from probe.observe.trouble import is_unanswered
from probe.record import StageRecord, Trouble

# How long clean-up may take after an interrupt: schedulers often kill soon after they ask.
INTERRUPT_SECONDS = 3.0


@contextlib.contextmanager
def heeding(job: Job, interrupt: asyncio.Event | None) -> Iterator[None]:
    """Bring the job's deadline forward when the event is set within the block."""
    listener = asyncio.ensure_future(_listen(job, interrupt)) if interrupt is not None else None
    try:
        yield
    finally:
        if listener is not None:
            listener.cancel()


async def _listen(job: Job, interrupt: asyncio.Event) -> None:
    await interrupt.wait()
    job.interrupt(INTERRUPT_SECONDS)


def cut_short(stages: tuple[StageRecord, ...], at: float) -> tuple[StageRecord, ...]:
    """The stages of a run that was interrupted `at` seconds after its beginning.

    One that was still waiting then, and waited in vain, was skipped from there on: had we not ended the wait, the answer might have
    come. What a server did answer, before and after, stands.
    """
    cut = {stage.name for stage in stages if _was_waiting(stage, at)}
    because = {f"because {name} failed": f"because {name} was cut short" for name in cut}
    return tuple(
        _skipped(stage) if stage.name in cut else replace(stage, reason=because.get(stage.reason or "", stage.reason))
        for stage in stages
    )


def _was_waiting(stage: StageRecord, at: float) -> bool:
    return stage.trouble is not None and stage.at + stage.seconds >= at and is_unanswered(stage.trouble)


def _skipped(stage: StageRecord) -> StageRecord:
    text = f"cut short after {stage.seconds:.1f} s: the run was interrupted"
    if stage.name.endswith(".delete"):
        text += "; the message may stay, until the next run or `probe sweep` deletes it"
    return replace(stage, status="skipped", reason=text, trouble=Trouble("run.cancelled", text))
