"""The secrets of a run: fetched once a source, all that cannot be had reported together, before the first packet."""

import time
from collections.abc import Hashable, Iterator
from dataclasses import field, replace
from importlib.util import find_spec
from pathlib import Path

from probe.observe.connection import Proxy, unusable
from probe.observe.job import Side
from probe.observe.reach import trust_of
from probe.plain import dataclass
from probe.profile import Account, Problem, Profile, ProfileError, Reader, resolve_secret, resolve_token
from probe.profile.model import Submission
from probe.profile.oauth import TokenSource
from probe.profile.private import problem
from probe.profile.problem import SecretOver
from probe.profile.secret import SecretSource
from probe.sasl import Credentials, Need
from probe.state.place import Place, files
from probe.tasks.lasting import lasting
from probe.tasks.plan import Plan


def is_slow(profile: Profile) -> bool:
    """Whether fetching the credentials may take long enough to be kept off an event loop."""
    return any(source.is_slow for source in _sources(profile))


def asks_somebody(profile: Profile) -> bool:
    """Whether somebody at the terminal may be asked: one question at a time, and as long as they take."""
    return any(source.asks for source in _sources(profile))


def _sources(profile: Profile) -> Iterator[SecretSource | TokenSource]:
    accounts = [profile.account, *(profile.account_for(reader) for reader in profile.readers.values())]
    yield from (source for account in accounts for source in (account.password, account.token) if source)
    tables: tuple[Submission | Reader, ...] = (profile.submission, *profile.readers.values())
    yield from (table.proxy_password for table in tables if table.proxy_password)


@dataclass(slots=True)
class _Fetching:
    """The secrets of one run: what was fetched or could not be had, by source, and until when (monotonic clock)."""

    until: float
    place: Place
    fetched: dict[Hashable, str | ProfileError] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    proxies: dict[Hashable, Proxy] = field(default_factory=dict)


def with_credentials(plan: Plan, profile: Profile, place: Place | None = None) -> Plan:
    """The plan with the secrets fetched: the last step before the first packet. The time it took is the run's: what is left of
    `timeout` is less by it, a person's time at a prompt excepted.

    Blocks while a command runs or a token is fetched (`is_slow`). Raises ProfileError with every secret that cannot be had.
    """
    began = time.monotonic()
    fetching = _Fetching(began + plan.timeout, place or files())
    submission = _credited(plan.submission, profile.account, profile, "account", fetching)
    bound = []
    for reader in plan.readers:
        where = f"readback.{reader.side.leg}.account" if reader.settings.account else "account"
        side = _credited(reader.side, profile.account_for(reader.settings), profile, where, fetching)
        bound.append(replace(reader, side=side))
    submission = _proxied(submission, profile.submission, profile, "submission", fetching)
    bound = [replace(one, side=_proxied(one.side, one.settings, profile, f"readback.{one.side.leg}", fetching)) for one in bound]
    sides = [*plan.sides]
    fetching.problems += [*_open_keys(sides), *_unusable_files(sides)]
    if fetching.problems:
        raise ProfileError(dict.fromkeys(fetching.problems))
    spent = 0.0 if asks_somebody(profile) else time.monotonic() - began
    whole = replace(plan, submission=submission, readers=tuple(bound), timeout=max(0.1, plan.timeout - spent))
    return replace(whole, lasting=lasting(whole, profile))


def _open_keys(sides: list[Side]) -> list[Problem]:
    """A private key that others can read is no secret any more."""
    files = dict.fromkeys(side.client_key or side.client_certificate for side in sides)
    return [
        Problem(None, None, "tls.client_key", f"{file} holds a private key and {why}; run: chmod 600 {file}")
        for file in files
        if file and (why := problem(Path(file)))
    ]


def _unusable_files(sides: list[Side]) -> Iterator[Problem]:
    """Files of the table tls that have changed since the profile was read, and cannot be used as they are now: the server is not
    to blame for them."""
    trusts = dict.fromkeys(trust_of(side) for side in sides if side.security != "plaintext")
    for key, text in filter(None, map(unusable, trusts)):
        yield Problem(None, None, f"tls.{key}", text)


def _credited(side: Side, account: Account, profile: Profile, where: str, fetching: _Fetching) -> Side:
    """The side with its credentials. One source is asked once a run, however many protocols use it."""
    if account.username is None:
        return side
    if account.password is None and account.token is None:
        kind: Need = "ticket" if "ticket" in account.needs else "certificate"
        return replace(side, credentials=Credentials(account.username, kind=kind))
    try:
        secret = _secret(account, profile, where, fetching)
    except SecretOver as error:
        # The endpoint's refusal is the run's result, not a mistake in the profile.
        return replace(side, credentials=Credentials(account.username, kind="token"), over=error.problems[0].text)
    except ProfileError as error:
        fetching.problems += error.problems
        return side
    if any(ord(character) < 32 or ord(character) == 127 for character in secret):
        source, key = (account.password, "password") if account.password else (account.token, "token")
        fetching.problems.append(Problem(None, None, f"{where}.{key}", f"{source} holds a control character"))
        return side
    return replace(side, credentials=Credentials(account.username, secret, "token" if account.token else "password"))


def with_proxies(plan: Plan, profile: Profile) -> Plan:
    """The plan with its proxies' passwords and no other secret: for what asks servers and logs on nowhere. Raises ProfileError."""
    fetching = _Fetching(time.monotonic() + plan.timeout, files())
    submission = _proxied(plan.submission, profile.submission, profile, "submission", fetching)
    readers = tuple(
        replace(one, side=_proxied(one.side, one.settings, profile, f"readback.{one.side.leg}", fetching)) for one in plan.readers
    )
    if fetching.problems:
        raise ProfileError(dict.fromkeys(fetching.problems))
    return replace(plan, submission=submission, readers=readers)


def _proxied(side: Side, table: Submission | Reader, profile: Profile, where: str, fetching: _Fetching) -> Side:
    """The side with its proxy's password. Sides that use one proxy share it, so that a wrong password is tried once."""
    proxy, source = side.proxy, table.proxy_password
    if proxy is not None and find_spec("python_socks") is None:
        text = "a proxy needs python-socks, not installed here; install: pip install 'submission-probe[socks]'"
        fetching.problems.append(Problem(None, None, f"{where}.connect", text))
    if proxy is None or source is None:
        return side
    key = ("proxy", proxy.host, proxy.port, proxy.username, source)
    if key not in fetching.fetched:
        try:
            seconds = fetching.until - time.monotonic()
            secret = resolve_secret(
                source, profile.base, key=f"{where}.proxy_password", username=proxy.username or "", seconds=seconds
            )
            fetching.fetched[key] = secret
            if not secret.isascii() or not secret.isprintable() or len(secret) > 255:
                raise ProfileError(
                    Problem(None, None, f"{where}.proxy_password", f"{source} is no text of 255 ASCII characters at most")
                )
            fetching.proxies[key] = replace(proxy, password=secret)
        except ProfileError as error:
            fetching.fetched[key] = error
            fetching.problems += error.problems
    return replace(side, proxy=fetching.proxies.get(key, proxy))


def _secret(account: Account, profile: Profile, where: str, fetching: _Fetching) -> str:
    """A source that failed is not asked again either: it would be given the client's secret once a protocol."""
    # By its values: written out, a command is its program alone, and OAuth the client's id.
    source = account.username, account.password, account.token
    if source not in fetching.fetched:
        try:
            fetching.fetched[source] = _asked(account, profile, where, fetching)
        except ProfileError as error:
            fetching.fetched[source] = error
    found = fetching.fetched[source]
    if isinstance(found, ProfileError):
        raise found
    return found


def _asked(account: Account, profile: Profile, where: str, fetching: _Fetching) -> str:
    seconds = fetching.until - time.monotonic()
    if account.token is not None:
        return resolve_token(
            account.token, profile.base, fetching.place.tokens(), key=f"{where}.token", username=account.username, seconds=seconds
        )
    assert account.password is not None
    return resolve_secret(account.password, profile.base, key=f"{where}.password", username=account.username, seconds=seconds)
