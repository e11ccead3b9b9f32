"""From a plan to work that can begin: credentials, back-off, key and outbox, prepared in one way for every task."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime

from probe.message import Sent, compose, new_marker
from probe.observe.aside import beside
from probe.observe.connection import Deadline, Pace
from probe.observe.connection.ourselves import machine_name
from probe.observe.job import Job, Milestone
from probe.observe.journal import Journal, Watch
from probe.observe.trouble import stop
from probe.plain import dataclass
from probe.profile import Profile, ProfileError
from probe.redact import Redactor
from probe.state import outbox
from probe.state.lease import Held
from probe.state.place import Place, files
from probe.tasks.backoff import with_backoff
from probe.tasks.credentials import asks_somebody, is_slow, with_credentials
from probe.tasks.plan import Plan
from probe.tasks.whose import claims_in_passing, longest

_Pair = tuple[Plan, Profile]


@dataclass(frozen=True, slots=True)
class Session:
    """What surrounds a run: where the installation's state is, how connections are spaced, what ends it early (an event that is
    set), who watches its stages, whether an error of our own is raised instead of reported, and what the time of day is (None: as
    the machine has it)."""

    place: Place = field(default_factory=files)
    pace: Pace = field(default_factory=Pace)
    interrupt: asyncio.Event | None = None
    watch: Watch | None = None
    raise_bugs: bool = False
    utc_now: Callable[[], datetime] | None = None


def prepared(plan: Plan, profile: Profile, place: Place, *, try_again: bool = False) -> Plan:
    """The plan with its credentials, and with every side suspended whose secret was refused lately, unless `try_again`.

    Blocks while a command runs or a token is fetched. Raises ProfileError with every secret that cannot be had, and, before one is
    asked for, where the profile still has a template's placeholders.
    """
    profile.require_real()
    plan = with_credentials(plan, profile, place)
    return plan if try_again else with_backoff(plan, place)


async def prepare(plan: Plan, profile: Profile, place: Place, *, try_again: bool = False) -> Plan:
    """The same within an event loop: what is slow is done beside it. Raises ProfileError.

    Not a question to a person: an interrupt would end its thread at the prompt, and leave the terminal without its echo.
    """
    if is_slow(profile) and not asks_somebody(profile):
        return await beside(lambda: prepared(plan, profile, place, try_again=try_again), "secrets")
    return prepared(plan, profile, place, try_again=try_again)


def prepare_all(
    plans: Sequence[Plan], profiles: Sequence[Profile], place: Place | None = None, *, try_again: bool = False
) -> list[Plan]:
    """`prepared` for each; a plan whose secrets cannot be had becomes `unready`, and the others go on.

    Raises ProfileError with every secret of every profile when no run can begin.
    """
    home = place or files()

    def one(pair: _Pair) -> Plan | ProfileError:
        try:
            return prepared(*pair, home, try_again=try_again)
        except ProfileError as error:
            return error

    found = _answers(one, list(zip(plans, profiles, strict=True)))
    errors = [error for error in found if isinstance(error, ProfileError)]
    if errors and len(errors) == len(found):
        raise ProfileError(dict.fromkeys(problem for error in errors for problem in error.problems))
    return [
        replace(plan, unready=str(ready)) if isinstance(ready, ProfileError) else ready
        for plan, ready in zip(plans, found, strict=True)
    ]


def _answers(
    one: Callable[[tuple[Plan, Profile]], Plan | ProfileError], pairs: list[tuple[Plan, Profile]]
) -> list[Plan | ProfileError]:
    """All at once, since one source's seconds are not every profile's; but questions to a person one at a time, and first."""
    from concurrent.futures import ThreadPoolExecutor, wait

    from probe.profile.bounded import end_commands

    # By place in the list: two profiles may have one name.
    asked = {index: one(pair) for index, pair in enumerate(pairs) if len(pairs) == 1 or asks_somebody(pair[1])}
    with ThreadPoolExecutor(len(pairs) or 1, "secrets") as pool:
        fetched = {index: pool.submit(one, pair) for index, pair in enumerate(pairs) if index not in asked}
        try:
            wait(fetched.values())
        except KeyboardInterrupt:
            end_commands()
            raise
    return [asked[index] if index in asked else fetched[index].result() for index in range(len(pairs))]


def begin(plan: Plan, session: Session) -> tuple[Journal, Job]:
    """A journal and a job for a run of this plan (prepared). Made inside a running event loop."""
    journal = Journal(asyncio.get_running_loop().time, Redactor(_secrets_of(plan)), session.watch)
    return journal, _job(plan, journal, session)


def begin_apart(plan: Plan, session: Session) -> tuple[Journal, Job]:
    """The same for a piece of work outside a run (a sweep, a collection, an audit check), that knows what was sent."""
    journal, job = begin(plan, session)
    job.prove_key = session.place.key()[0]
    # What its run has read is no delivery to be judged any more.
    known = [entry for entry in (*session.place.lost(), *session.place.entries()) if not entry.seen]
    job.known = {one.marker: Sent(one.marker, one.sender, one.recipient, one.sent, one.link) for one in known}
    return journal, job


def _secrets_of(plan: Plan) -> list[str]:
    sides = plan.sides
    proxies = [side.proxy.password for side in sides if side.proxy is not None and side.proxy.password]
    return [*(side.credentials.secret for side in sides if side.credentials is not None), *proxies]


def time_of_day() -> datetime:
    """UTC, as the machine has it."""
    return datetime.now(UTC)


def _job(plan: Plan, journal: Journal, session: Session) -> Job:
    """All that the legs of one run share. The key is asked for only where a message is sent."""
    key, draft, place = b"", None, session.place
    utc_now = session.utc_now or time_of_day
    if plan.sender is not None and plan.recipient is not None:
        key, remark = place.key()
        if remark:
            journal.line("probe", "*", remark)
        marker = new_marker(secrets.token_bytes(16))
        draft = compose(
            marker=marker, key=key, sender=plan.sender, recipient=plan.recipient, now=utc_now(), size=plan.size, link=plan.link
        )
    names = [reader.side.leg for reader in plan.readers]
    # With nobody to read it back, the message is meant to stay.
    remembered = draft is not None and (bool(names) or plan.send_only) and plan.conduct.delete
    job = Job(
        conduct=plan.conduct,
        submission=plan.submission,
        draft=draft,
        prove_key=key,
        id=secrets.token_hex(8),
        refused_logon=_refused_logon,
        deadline=Deadline(journal.begin + plan.timeout),
        hold=lambda mailbox, until: _held(place, plan.profile, mailbox, until),
        pace=session.pace,
        utc_now=utc_now,
        reserve=min(2.0, plan.timeout / 5),
        read={name: Milestone() for name in names},
        done={name: Milestone() for name in names},
    )
    if draft is not None:
        job.claim = claims_in_passing(plan, place, utc_now)
    if remembered:
        job.before_message = lambda: _remember(plan, job, journal, place)
        job.before_deletion = lambda: place.mark_seen(draft.marker, utc_now()) if draft else None
    return job


def _refused_logon(stage: str, answer: str, greeting: str) -> str:
    from probe.judge._refused_logon import finding_of  # reads every reply entry: only where a logon was refused

    return finding_of(stage, answer, greeting)


@contextlib.asynccontextmanager
async def _held(place: Place, profile: str, mailbox: str, until: float) -> AsyncIterator[None]:
    """The lease on a maildrop, its refusal as a trouble."""
    holder = f"process {os.getpid()} on {machine_name()}, profile {profile}"
    try:
        async with place.lease(mailbox, holder, until):
            yield
    except Held as error:
        raise stop("lease.held", f"the maildrop is in use by another run: {error}") from None


def _remember(plan: Plan, job: Job, journal: Journal, place: Place) -> None:
    draft = job.draft
    assert draft is not None
    # What is sent and left is for whoever collects it, at once.
    until = "" if plan.send_only else outbox.stamp(job.utc_now() + longest(plan))
    entry = outbox.Entry(
        draft.marker, plan.profile, draft.sent, draft.recipient, plan.target.host, draft.sender, plan.probed, until,
        outbox.this_process(), run=job.id, left="for a collection" if plan.send_only else "", link=draft.link,
    )  # fmt: skip
    try:
        place.put(entry)
    except OSError as error:
        job.untraced = True
        text = f"the message cannot be remembered ({error.strerror}): if this run is killed, no sweep misses it"
        journal.line("probe", "*", text)
