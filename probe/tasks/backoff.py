"""Promise 4 across runs: a refused secret is remembered, and later runs leave it alone until it changes or a while has passed."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from probe.facts import LoggedOn
from probe.observe.job import Side
from probe.record import StageRecord
from probe.sasl import mechanisms
from probe.state.place import Place, files
from probe.state.refusals import fingerprint
from probe.tasks.plan import Plan

_LOGONS = ("auth", "login")


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
    if not place.is_refused(whose, user):
        return None
    until = place.suspended_until(whose, user, _mark(secret, place))
    if until is None:
        return None
    when = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"logon as {user} not tried: this password or token was refused before; not again before {when}"
    return f"{text}, unless it changes or --try-again is given"


def note(whose: str, user: str, secret: str, *, refused: bool, place: Place | None = None) -> None:
    """Remember how a logon outside a run ended. Never raises."""
    place = place or files()
    with suppress(OSError):
        if refused:
            place.note_refused(whose, user, _mark(secret, place))
        else:
            place.forget_refused(whose, user)


def remember(plan: Plan, stages: tuple[StageRecord, ...], place: Place | None = None) -> None:
    """Note each logon's outcome for later runs. Never raises: without a state directory there is nothing to remember."""
    place = place or files()
    try:
        for side, stage in _tried(plan, stages):
            assert side.credentials is not None
            user = side.credentials.username
            if stage.status == "ok":
                for whose in _asked_of(side):
                    place.forget_refused(whose, user)
            elif stage.trouble is not None and stage.trouble.id == "auth.refused":
                place.note_refused(_refused_by(side, stage), user, _mark(side.credentials.secret, place))
    except OSError:
        pass


def _tried(plan: Plan, stages: tuple[StageRecord, ...]) -> Iterator[tuple[Side, StageRecord]]:
    """Each first logon that was really tried. The others follow only when it succeeded."""
    sides = {side.leg: side for side in (plan.submission, *(reader.side for reader in plan.readers))}
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
