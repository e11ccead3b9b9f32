"""Promise 4 across runs: a refused secret is remembered, and later runs leave it alone until it changes or a while has passed."""

import hmac
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from probe.facts import LoggedOn
from probe.observe.connection import Proxy
from probe.observe.job import Side
from probe.record import StageRecord
from probe.sasl import mechanisms
from probe.state.place import Place, files
from probe.state.refusals import Refusals, fingerprint, once_more, still_suspended, without
from probe.tasks.plan import Plan

_LOGONS = ("auth", "login")
# What could not be stored counts for this process (serve, worker, --repeat), by whose and user; marked by a key of its own.
_UNSTORED: dict[tuple[str, str], Refusals] = {}
_PROCESS_KEY = secrets.token_bytes(32)
# By whose and user, the secret that this process last noted as good; and the marks of secrets. Both hold only what is keyed by
# _PROCESS_KEY, which leaves the process nowhere.
_ACCEPTED: dict[tuple[str, str], bytes] = {}
_MARKS: dict[bytes, str] = {}
_MOST_MARKS = 1000
# Runs that are processes of their own (cron) compute no mark for a secret that was noted less than this ago.
ACCEPTED_SECONDS = 3600.0


def with_backoff(plan: Plan, place: Place | None = None) -> Plan:
    """The plan (credentials in it) with every side suspended whose secret was refused lately.

    Of the sides that share a secret which was good before, one tries it again: another failed logon for each would lock accounts.
    """
    place, confirming = place or files(), set[tuple[str, str]]()
    submission = _suspended(_proxied(plan.submission, place), place, confirming)
    readers = tuple(replace(one, side=_suspended(_proxied(one.side, place), place, confirming)) for one in plan.readers)
    return replace(plan, submission=submission, readers=readers)


def _proxied(side: Side, place: Place) -> Side:
    """The side, its proxy suspended where that refused this password lately."""
    proxy = side.proxy
    if proxy is None or proxy.password is None:
        return side
    why = suspended(_of_proxy(proxy), proxy.username or "", proxy.password, place)
    return replace(side, proxy=replace(proxy, suspended=why.replace("logon", "logon at the proxy", 1))) if why else side


def _of_proxy(proxy: Proxy) -> str:
    return f"socks5://{proxy.place}"


def remember_proxies(plan: Plan, place: Place | None = None) -> None:
    """Note for later runs which proxy refused its password, plainly, and which took it. Never raises."""
    known = {id(side.proxy.admission): side.proxy for side in plan.sides if side.proxy is not None and side.proxy.password}
    for proxy in known.values():
        if proxy.admission.state:
            refused = proxy.admission.state == "refused"
            note(_of_proxy(proxy), proxy.username or "", proxy.password or "", refused=refused, place=place)


def _suspended(side: Side, place: Place, confirming: set[tuple[str, str]]) -> Side:
    if side.credentials is None or not side.credentials.secret:
        return side
    user, secret = side.credentials.username, side.credentials.secret
    # Asked once: in a database each question is a round trip of every run.
    refused = {whose: place.is_refused(whose, user) for whose in _asked_of(side)}
    found = (_why_not(user, _until(whose, user, secret, place, is_refused=known)) for whose, known in refused.items())
    why = next((why for why in found if why), None)
    if why is None and any(known and place.is_unconfirmed(whose, user, _mark(secret, place)) for whose, known in refused.items()):
        if (user, secret) in confirming:
            why = f"logon as {user} not tried: this password or token was refused a while ago; another protocol tries it first"
        confirming.add((user, secret))
    return replace(side, suspended=why) if why else side


def _unconfirmed(side: Side, place: Place) -> list[str]:
    """By what names this side's secret was good before, and refused once since."""
    if side.credentials is None or not side.credentials.secret:
        return []
    user, secret = side.credentials.username, side.credentials.secret
    return [
        whose
        for whose in _asked_of(side)
        if place.is_refused(whose, user) and place.is_unconfirmed(whose, user, _mark(secret, place))
    ]


def suspended(whose: str, user: str, secret: str, place: Place | None = None) -> str | None:
    """Why this secret is not to be tried there now; None when it may be."""
    home = place or files()
    return _why_not(user, _until(whose, user, secret, home, is_refused=home.is_refused(whose, user)))


def _why_not(user: str, until: float | None) -> str | None:
    if until is None:
        return None
    when = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"logon as {user} not tried: this password or token was refused before; not again before {when}"
    return f"{text}, unless it changes or --try-again is given"


def again_in(plan: Plan, place: Place | None = None) -> float:
    """Seconds until the first secret that is suspended now may be tried; 0 where none is, so that a run may log on at once."""
    home = place or files()
    held = [
        until
        for side in plan.sides
        if side.credentials is not None and side.credentials.secret
        for user in (side.credentials.username,)
        for whose in _asked_of(side)
        if (until := _until(whose, user, side.credentials.secret, home, is_refused=home.is_refused(whose, user))) is not None
    ]
    return max(0.0, min(held) - time.time()) if held else 0.0


def _until(whose: str, user: str, secret: str, place: Place, *, is_refused: bool) -> float | None:
    until = place.suspended_until(whose, user, _mark(secret, place)) if is_refused else None
    if (whose, user) in _UNSTORED:
        until = until or still_suspended(_UNSTORED[whose, user], fingerprint(_PROCESS_KEY, secret))
    return until


def note(whose: str, user: str, secret: str, *, refused: bool, place: Place | None = None) -> bool:
    """Remember how a logon ended; False where a refusal cannot be stored, and counts for this process only. Never raises."""
    place = place or files()
    if not refused:
        if unstored := _UNSTORED.pop((whose, user), ()):
            _UNSTORED[whose, user] = without(unstored, fingerprint(_PROCESS_KEY, secret))
        with suppress(OSError):
            _forget(whose, user, secret, place)
            _note_accepted(whose, user, secret, place)
        return True
    try:
        place.note_refused(whose, user, _mark(secret, place))
    except OSError:
        _UNSTORED[whose, user] = once_more(_UNSTORED.get((whose, user), ()), fingerprint(_PROCESS_KEY, secret))
        return False
    return True


def _forget(whose: str, user: str, secret: str, place: Place) -> None:
    """End the back-off of this secret, and of no other. Raises OSError."""
    if place.is_refused(whose, user):
        place.forget_refused(whose, user, _mark(secret, place))


def _note_accepted(whose: str, user: str, secret: str, place: Place) -> None:
    """Remember a good secret: that of each process' first success in a while, and each that changed. Raises OSError."""
    seen = hmac.digest(_PROCESS_KEY, secret.encode("utf-8", "surrogateescape"), "sha256")
    known, noted = _ACCEPTED.get((whose, user)), place.accepted_at(whose, user)
    if noted is not None and (known == seen or (known is None and abs(time.time() - noted) < ACCEPTED_SECONDS)):
        return
    place.note_accepted(whose, user, _mark(secret, place))
    _ACCEPTED[whose, user] = seen


def remember(plan: Plan, stages: tuple[StageRecord, ...], place: Place | None = None) -> tuple[StageRecord, ...]:
    """Note each logon's outcome for later runs; the stages, where a refusal cannot be stored with that fact. Never raises.

    Whoever logs on calls this: a run, a collection, a sweep."""
    place, stages = place or files(), _reconsidered(stages)
    remember_proxies(plan, place)
    unstored = {stage.name for side, stage in _tried(plan, stages) if not _noted(plan, side, stage, place)}
    return tuple(_unstored(stage) if stage.name in unstored else stage for stage in stages)


def _reconsidered(stages: tuple[StageRecord, ...]) -> tuple[StageRecord, ...]:
    """What several refusals together mean, of which each alone says less."""
    if not any(stage.trouble and stage.trouble.id == "auth.refused" for stage in stages):
        return stages
    from probe.judge._refused_logon import reconsidered  # the reply entries, which a run that logs on does not load

    return reconsidered(stages)


def _noted(plan: Plan, side: Side, stage: StageRecord, place: Place) -> bool:
    assert side.credentials is not None
    user, secret = side.credentials.username, side.credentials.secret
    refused = stage.trouble is not None and stage.trouble.id == "auth.refused"
    if stage.status != "ok" and not refused:
        return True
    if _unconfirmed(side, place):
        _note_others(plan, side, refused=refused, place=place)
    if refused:
        return note(_refused_by(side, stage), user, secret, refused=True, place=place)
    for whose in _asked_of(side):
        note(whose, user, secret, refused=False, place=place)
    return True


def _note_others(plan: Plan, side: Side, *, refused: bool, place: Place) -> None:
    """What one side found out about a secret that was good before holds for those that waited for it."""
    for other in plan.sides:
        if other is not side and other.credentials is not None and other.credentials == side.credentials:
            for whose in _unconfirmed(other, place):
                user, secret = other.credentials.username, other.credentials.secret
                if refused:
                    note(whose, user, secret, refused=True, place=place)
                else:
                    with suppress(OSError):
                        _forget(whose, user, secret, place)


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
    """The secret's fingerprint, of which a run needs several: each costs 50 ms the first time in a process."""
    key, _ = place.key()
    seen = hmac.digest(_PROCESS_KEY, key + secret.encode("utf-8", "surrogateescape"), "sha256")
    if seen not in _MARKS:
        if len(_MARKS) >= _MOST_MARKS:
            _MARKS.clear()
        _MARKS[seen] = fingerprint(key, secret)
    return _MARKS[seen]
