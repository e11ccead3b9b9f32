"""The story: plan → observe → judge → Report; the one place that knows all wings.

(It would be called run.py, were `probe.run` not the name of its main function.)
"""

import asyncio
import contextlib
import secrets
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from os import PathLike

from probe.facts import Connected, Greeted, LoggedOn, Submitted
from probe.judge._verdict import judge
from probe.observe import dane, evidence, leftovers
from probe.observe.connection import Deadline, Pace
from probe.observe.job import Job, Side
from probe.observe.journal import Journal, Watch
from probe.observe.legs import submission
from probe.observe.trouble import Stopped
from probe.profile import Profile, load, load_mapping
from probe.profile.options import overlays
from probe.record import Record, StageRecord
from probe.report import Report
from probe.state.place import Place, files
from probe.tasks import backoff
from probe.tasks.interrupted import INTERRUPT_SECONDS, cut_short, heeding
from probe.tasks.plan import Plan, ReaderPlan, further_stage, imap_of, make_plan, plugins, readers
from probe.tasks.prepare import Session, begin, prepare
from probe.tasks.pulse import Pulse
from probe.tasks.whose import accounted


async def run(
    profile: Profile | str | PathLike[str] | Mapping[str, object],
    *,
    light: bool = False,
    delete: bool = True,
    pipelining: bool = True,
    interrupt: asyncio.Event | None = None,
    watch: Watch | None = None,
    raise_bugs: bool = False,
    pace: Pace | None = None,
    try_again: bool = False,
    place: Place | None = None,
    **options: object,
) -> Report:
    """Carry out one run and judge it.

    `profile`: a Profile, the name of a shipped or user profile, a path to a TOML file, or a mapping shaped like one.
    `options`: as on the command line (host, port, security, user, password_env, password_file, readback, connect,
    ca_file, trust_any_certificate, timeout, set). `light` logs on everywhere and sends nothing; `delete=False` leaves
    the message; `pipelining=False` is for servers that lie about it. Setting `interrupt` ends the run early, clean-up
    included. `watch` hears of each stage. Runs that share an event loop should share a `pace`. A secret that was
    refused is not tried again before the back-off has passed (state/refusals.py), unless `try_again`. `place` is where the
    installation's state is; by default, files.

    Raises ProfileError for a mistake of the caller's; whatever a server or the network does is in the Report.
    """
    loaded = load_profile(profile, options)
    if not light:
        loaded.require_in_time()
    plan = make_plan(loaded, light=light, delete=delete, pipelining=pipelining)
    session = Session(place or files(), pace or Pace(), interrupt, watch, raise_bugs)
    plan = await prepare(plan, loaded, session.place, try_again=try_again)
    return judge(await observe(plan, session), loaded)


def unproven(plan: Plan, profile: Profile, why: str, *, interrupted: bool = False) -> Report:
    """The report of a run that could not begin: unknown, and why."""
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    record = Record(secrets.token_hex(8), plan.profile, plan.target, started, 0.0, (), (), error=why, interrupted=interrupted)
    return judge(record, profile)


def load_profile(profile: Profile | str | PathLike[str] | Mapping[str, object], options: Mapping[str, object]) -> Profile:
    """The profile with the options laid over it. Raises ProfileError."""
    if isinstance(profile, Profile):
        # A Profile is final: options would have to be checked against the file it came from.
        if any(value is not None for value in options.values()):
            raise TypeError("options go with a profile's name, path or mapping, not with a loaded Profile")
        return profile
    if isinstance(profile, Mapping):
        return load_mapping(profile, overlays(options, tuple(readers())), plugins=plugins())
    return load(profile, overlays(options, tuple(readers())), plugins=plugins())


async def observe(plan: Plan, session: Session) -> Record:
    """Carry out a plan (prepared) and return the record. Never raises, except for bugs with `raise_bugs`."""
    await session.pace.turn()
    journal, job = begin(plan, session)
    started = job.utc_now()
    async with Pulse() as pulse:
        with heeding(job, session.interrupt):
            bugs = await _legs(plan, job, journal)
    dane.compare(job, journal, plan.sides)
    await evidence.of_run(job, journal, raise_bugs=session.raise_bugs)
    if job.untraced:
        journal.see("smtp.submit", replace(journal.seen("smtp.submit", Submitted), remembered=False))
    await session.pace.turn()
    stages = backoff.remember(plan, journal.stages(plan.stages), session.place)
    if job.draft is not None:
        stages = accounted(plan, session.place, stages)
        gone = _is_gone(stages, job) or (bugs and await _removed(plan, job, journal, job.draft.marker))
        (session.place.remove if gone else session.place.end)(job.draft.marker)
    if job.interrupted_at is not None:
        stages = cut_short(stages, job.interrupted_at - journal.begin)
    if bugs and session.raise_bugs:
        raise bugs[0]
    error = "internal error: " + "".join(traceback.format_exception_only(bugs[0])).strip() if bugs else None
    return Record(
        id=job.id,
        profile=plan.profile,
        target=replace(plan.target, address=_address(stages), node=_node(stages)),
        started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        seconds=journal.now,
        stages=stages,
        transcript=journal.lines,
        error=journal.redacted(error) if error else None,
        interrupted=job.interrupted,
        paused=pulse.paused,
        lasting=plan.lasting,
    )


async def _legs(plan: Plan, job: Job, journal: Journal) -> list[Exception]:
    """The submission and every reader at once: a run costs the longer leg, not the sum. Returns errors of our own.

    Such an error ends its own leg only: the others still find the message and delete it.
    """
    bugs: list[Exception] = []

    async def guarded(leg: Awaitable[None]) -> None:
        try:
            await leg
        except Exception as bug:
            bugs.append(bug)

    try:
        async with asyncio.TaskGroup() as legs:
            legs.create_task(guarded(_submission(job, journal)))
            for reader in plan.readers:
                legs.create_task(guarded(_reader(job, journal, reader)))
            if missing := _not_imported(plan):
                legs.create_task(guarded(_import_while_waiting(missing)))
            if wanted := dane.wanted(job, plan.sides):
                legs.create_task(guarded(dane.look_up(job, wanted)))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return bugs


async def _submission(job: Job, journal: Journal) -> None:
    try:
        await submission.submit(job, journal)
    finally:
        job.accepted.give_up()
    await _further(job, journal, job.submission, "smtp.auth", submission.log_on)


async def _reader(job: Job, journal: Journal, reader: ReaderPlan) -> None:
    leg = reader.side.leg
    try:
        await reader.module.read(job, journal, reader.side, reader.settings)
    finally:
        job.read[leg].give_up()
        job.done[leg].give_up()
    await _further(job, journal, reader.side, f"{leg}.login", reader.module.log_on)


async def _removed(plan: Plan, job: Job, journal: Journal, marker: str) -> bool:
    """Whether a last look over IMAP4 deleted the message that an error of our own had left. Not where the logon had failed: the
    account gets no second failed attempt."""
    reader = imap_of(plan)
    if reader is None or not plan.conduct.delete or journal.failed("imap.login"):
        return False
    loop = asyncio.get_running_loop()
    apart = Journal(loop.time, journal.redactor)
    last = replace(job, deadline=Deadline(min(job.deadline.when, loop.time() + INTERRUPT_SECONDS)))
    try:
        return await leftovers.remove(last, apart, reader.side, reader.settings, marker)
    except Exception as bug:
        journal.line("probe", "*", f"the last look for the message failed too: {type(bug).__name__}")
        return False
    finally:
        journal.take_lines(apart, "imap last look")


LogOn = Callable[[Job, Journal, Side], Awaitable[None]]


async def _further(job: Job, journal: Journal, side: Side, first: str, log_on: LogOn) -> None:
    """Each further mechanism of the profile's list: logon only, on a connection of its own, one verdict each.

    Not after a refused password: every further mechanism would be one more failed logon of the same account. Nor after a
    server that did not prove itself.
    """
    last = first
    for mechanism in side.further:
        name = further_stage(side.leg, mechanism)
        if ended := journal.ends_logons(last):
            journal.skip(name, ended)
            continue
        apart = Journal(asyncio.get_running_loop().time, journal.redactor)
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(contextlib.suppress(Stopped))
            stage = await stack.enter_async_context(journal.stage(name, f"log on to {side.host} with {mechanism}", LoggedOn()))
            try:
                await log_on(job, apart, replace(side, mechanism=mechanism, further=()))
            finally:
                stage.facts = apart.seen(first, LoggedOn)
                journal.take_lines(apart, f"{side.leg} {mechanism.lower()}")
        last = name


def _not_imported(plan: Plan) -> list[str]:
    """What the legs will use, and this process has not loaded yet."""
    needed = ("aiosmtplib.protocol", "cryptography.x509", *(name for reader in plan.readers for name in reader.module.NEEDS))
    return [name for name in needed if name not in sys.modules]


async def _import_while_waiting(missing: Sequence[str]) -> None:
    """Load it while their first packets travel, so that no reply finds them importing."""
    for _ in range(5):
        # Name look-up and connect are under way after these turns of the loop.
        await asyncio.sleep(0)
    for name in missing:
        import_module(name)
        await asyncio.sleep(0)


def _is_gone(stages: tuple[StageRecord, ...], job: Job) -> bool:
    """Whether the message is known not to lie anywhere: it never left, was refused for good, or was deleted."""
    ended = {stage.name: stage.status for stage in stages}
    refused = ended.get("smtp.submit") == "failed" and job.accepted.value is None
    return not job.content_sent or refused or any(ended.get(f"{leg}.delete") == "ok" for leg in job.read)


def _address(stages: tuple[StageRecord, ...]) -> str | None:
    return next((stage.seen(Connected).remote for stage in stages if stage.name == "smtp.connect"), None)


def _node(stages: tuple[StageRecord, ...]) -> str | None:
    """The node that answered: what the final 250 says (Exchange), else the name in the greeting."""
    named = {stage.name: stage.seen(Submitted).hostname or stage.seen(Greeted).name for stage in stages}
    return named.get("smtp.submit") or named.get("smtp.greeting")
