"""Promise 4 across runs: a refused secret is remembered, and later runs leave it alone until it changes or a while has passed."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from probe.facts import LoggedOn
from probe.observe.job import Side
from probe.record import StageRecord
from probe.sasl import mechanisms
from probe.state.place import Place, files
from probe.state.refusals import Refusal, fingerprint, once_more, still_suspended
from probe.tasks.plan import Plan

_LOGONS = ("auth", "login")
# What could not be stored counts for this process (serve, worker, --repeat), by whose and user; marked by a key of its own.
_UNSTORED: dict[tuple[str, str], Refusal] = {}
_PROCESS_KEY = secrets.token_bytes(32)


def with_backoff(plan: Plan, place: Place | None = None) -> Plan:
    """The plan (credentials in it) with every side suspended whose secret was refused lately."""
    place = place or files()
    readers = tuple(replace(reader, side=_suspended(reader.side, place)) for reader in plan.readers)
    return replace(plan, submission=_suspended(plan.submission, place), readers=readers)


def _suspended(side: Side, place: Place) -> Side:
    if side.credentials is None or not side.credentials.secret:
        return side
    secret = side.credentials.secret
    found = (suspended(whose, side.credentials.username, secret, place) for whose in _asked_of(side))
    why = next((why for why in found if why), None)
    return replace(side, suspended=why) if why else side


def suspended(whose: str, user: str, secret: str, place: Place | None = None) -> str | None:
    """Why this secret is not to be tried there now; None when it may be."""
    place = place or files()
    until = place.suspended_until(whose, user, _mark(secret, place)) if place.is_refused(whose, user) else None
    if (whose, user) in _UNSTORED:
        until = until or still_suspended(_UNSTORED[whose, user], fingerprint(_PROCESS_KEY, secret))
    if until is None:
        return None
    when = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"logon as {user} not tried: this password or token was refused before; not again before {when}"
    return f"{text}, unless it changes or --try-again is given"


def note(whose: str, user: str, secret: str, *, refused: bool, place: Place | None = None) -> bool:
    """Remember how a logon ended; False where a refusal cannot be stored, and counts for this process only. Never raises."""
    place = place or files()
    if not refused:
        _UNSTORED.pop((whose, user), None)
        with suppress(OSError):
            place.forget_refused(whose, user)
        return True
    try:
        place.note_refused(whose, user, _mark(secret, place))
    except OSError:
        _UNSTORED[whose, user] = once_more(_UNSTORED.get((whose, user)), fingerprint(_PROCESS_KEY, secret))
        return False
    return True


def remember(plan: Plan, stages: tuple[StageRecord, ...], place: Place | None = None) -> tuple[StageRecord, ...]:
    """Note each logon's outcome for later runs; the stages, where a refusal cannot be stored with that fact. Never raises."""
    place = place or files()
    unstored = {stage.name for side, stage in _tried(plan, stages) if not _noted(side, stage, place)}
    return tuple(_unstored(stage) if stage.name in unstored else stage for stage in stages)


def _noted(side: Side, stage: StageRecord, place: Place) -> bool:
    assert side.credentials is not None
    user, secret = side.credentials.username, side.credentials.secret
    if stage.status == "ok":
        for whose in _asked_of(side):
            note(whose, user, secret, refused=False, place=place)
        return True
    if stage.trouble is not None and stage.trouble.id == "auth.refused":
        return note(_refused_by(side, stage), user, secret, refused=True, place=place)
    return True


def _unstored(stage: StageRecord) -> StageRecord:
    return replace(stage, facts=replace(stage.seen(LoggedOn), refusal_stored=False))


def _tried(plan: Plan, stages: tuple[StageRecord, ...]) -> Iterator[tuple[Side, StageRecord]]:
    """Each first logon that was really tried. The others follow only when it succeeded."""
    sides = {side.leg: side for side in plan.sides}
    for stage in stages:
        leg, _, step = stage.name.partition(".")
        side = sides.get(leg)
        if side and side.credentials and side.credentials.secret and step in _LOGONS and stage.seen(LoggedOn).attempts:
            yield side, stage


def _whose(side: Side) -> str:
    # One directory may stand behind all protocols, but a refusal over one need not mean the others refuse (IMAP4 switched off).
    return f"{side.leg}://{side.host}:{side.port} {' '.join(side.connect)}"


def _asked_of(side: Side) -> list[str]:
    """By what names a refusal suspends this side: the server's, and that of a mechanism that the profile names."""
    return [_whose(side)] + ([f"{_whose(side)} {side.mechanism}"] if side.mechanism != "AUTO" else [])


def _refused_by(side: Side, stage: StageRecord) -> str:
    """A challenge (CRAM-MD5) may fail where the password is right and kept only hashed: it does not suspend PLAIN, if offered."""
    seen, ours = stage.seen(LoggedOn), mechanisms()
    revealing = {name for name, mechanism in ours.items() if mechanism.reveals}
    challenge = side.mechanism == seen.mechanism and seen.mechanism in ours and seen.mechanism not in revealing
    return f"{_whose(side)} {side.mechanism}" if challenge and revealing & set(seen.offered) else _whose(side)


def _mark(secret: str, place: Place) -> str:
    key, _ = place.key()
    return fingerprint(key, secret)
