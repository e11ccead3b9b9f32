"""The other story: `probe audit`. Each negative check by itself, one after the other, never part of a run."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import ModuleType

from probe.judge._filled import filled
from probe.observe.audit import Facts, checks, judge
from probe.observe.audit._scene import Scene
from probe.observe.connection import Deadline
from probe.observe.job import Job
from probe.observe.journal import Journal
from probe.observe.trouble import Stopped
from probe.plain import dataclass
from probe.profile import Profile
from probe.record import Record, Target
from probe.report import EXIT_CODES, Finding, Verdict
from probe.tasks.backoff import remember_proxies
from probe.tasks.plan import Plan, make_plan
from probe.tasks.prepare import Session, begin_apart, prepare

# Long enough for a server that delays each refusal on purpose (Exchange: 5 s).
CHECK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Audited:
    """One check's result. `seconds` is how long it took."""

    id: str
    module: ModuleType
    facts: Facts
    findings: tuple[Finding, ...]
    seconds: float


async def audit(
    profile: Profile,
    only: tuple[str, ...] = (),
    told: Callable[[Audited], None] | None = None,
    options: tuple[str, ...] = (),
) -> list[Audited]:
    """Carry out the checks (all, or those of the ids in `only`); `told` hears of each as it ends.

    A check that sends a message is carried out only where its option is among `options`, or `only` names it.

    Raises ProfileError for a secret that cannot be had, KeyError for an id there is not.
    """
    session = Session()
    plan = await prepare(make_plan(profile), profile, session.place)
    wanted = chosen(only, options)
    loop = asyncio.get_running_loop()
    done = []
    for name, module in wanted.items():
        journal, job = begin_apart(plan, session)
        waits = plan.conduct.delivery_critical if option_of(module) else 0.0
        job.deadline = Deadline(loop.time() + CHECK_SECONDS + waits)
        began = loop.time()
        sides = {reader.side.leg: reader.side for reader in plan.readers}
        scene = Scene(job, journal, plan.submission, sides, _read_back(plan, journal))
        facts = await _observe(module, scene)
        facts = Facts(facts.outcome, journal.redacted(facts.evidence), facts.more)
        found = filled(_nothing_seen(profile), profile, tuple(judge(module, facts)))
        done.append(Audited(name, module, facts, tuple(found), loop.time() - began))
        if told:
            told(done[-1])
    remember_proxies(plan, session.place)
    return done


def option_of(module: ModuleType) -> str | None:
    """The option by which a check is asked for, where it is not carried out by itself."""
    return getattr(module, "OPTION", None)


def chosen(only: tuple[str, ...], options: tuple[str, ...]) -> Mapping[str, ModuleType]:
    """The checks to carry out, by id. Raises KeyError for an id there is not."""
    if only:
        return {name: checks()[name] for name in only}
    return {name: module for name, module in checks().items() if option_of(module) in (None, *options)}


def _read_back(plan: Plan, journal: Journal) -> Callable[[str, Job], Awaitable[None]]:
    readers = {reader.side.leg: reader for reader in plan.readers}

    async def read(leg: str, job: Job) -> None:
        reader = readers[leg]
        await reader.module.read(job, journal, reader.side, reader.settings)

    return read


def _nothing_seen(profile: Profile) -> Record:
    """An audit has no record of its own: its commands are filled from the profile."""
    target = Target(profile.submission.host, profile.submission.port, profile.submission.security)
    return Record("", profile.name, target, "", 0.0, ())


async def _observe(module: ModuleType, scene: Scene) -> Facts:
    """A check that cannot be carried out decides nothing; a bug in one does not end the audit."""
    try:
        facts: Facts = await module.observe(scene)
        return facts
    except Stopped as error:
        return Facts("undecided", error.trouble.text)
    except Exception as bug:
        return Facts("undecided", "internal error: " + "".join(traceback.format_exception_only(bug)).strip())


def verdict(done: Sequence[Audited]) -> Verdict:
    """critical or warning by the worst failed check; unknown when every check is undecided; else ok, also where one found what
    is only worth knowing."""
    severities = {finding.severity for item in done for finding in item.findings if item.facts.outcome == "fail"}
    if "critical" in severities:
        return "critical"
    if "warning" in severities:
        return "warning"
    return "unknown" if all(item.facts.outcome == "undecided" for item in done) else "ok"


def exit_code(done: Sequence[Audited]) -> int:
    return EXIT_CODES[verdict(done)]
