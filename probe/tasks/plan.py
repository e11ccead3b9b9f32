"""Profile + folders → Plan: the stages to come and every server to reach, plug-ins bound to their settings.

This is what `--dry-run` shows. A Plan holds no secret: credentials are put in when the run begins.
"""

from collections.abc import Mapping
from dataclasses import field
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from probe.observe.connection import Proxy
from probe.observe.connection.ourselves import full_name
from probe.observe.gate import Policy
from probe.observe.job import Conduct, Side
from probe.plain import dataclass
from probe.profile import Account, Profile, Reader, Table, Tls
from probe.profile.model import Submission
from probe.profile.values import nodes, proxy_of
from probe.record import SUBMISSION_STAGES, Lasting, Target

# A leg that is not a reader: it has no Settings of its own.
_SUBMISSION = "submission"
MOST_SECONDS = 3600.0
MOST_SECONDS_PER_CONNECTION = 120.0


@cache
def readers() -> Mapping[str, ModuleType]:
    """Every reader by name: the files of observe/legs, which are the list."""
    folder = Path(__file__).parent.parent / "observe" / "legs"
    names = sorted(path.stem for path in folder.glob("[!_]*.py") if path.stem != _SUBMISSION)
    return {name: import_module(f"probe.observe.legs.{name}") for name in names}


def plugins() -> dict[str, dict[str, type[Table]]]:
    """Each plug-in's own settings, for the profile to check and the schema to show."""
    return {"readback": {name: module.Settings for name, module in readers().items()}}


@dataclass(frozen=True, slots=True)
class ReaderPlan:
    """One reader: its module, the server it reads from, its own settings."""

    module: ModuleType
    side: Side
    settings: Reader


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do. `sender` and `recipient` are None when nothing is sent; seconds are floats."""

    profile: str
    target: Target
    conduct: Conduct
    submission: Side
    readers: tuple[ReaderPlan, ...]
    sender: str | None
    recipient: str | None
    timeout: float
    # The message's size in octets; None: as large as its text.
    size: int | None = None
    # An address for the message's text, to see what becomes of it; empty: none.
    link: str = ""
    # Host, port, user and recipient: what earlier runs of it sent is known by them, whatever the profile is called.
    probed: str = ""
    every_address: str = "off"
    # Sent and left for a later `--collect`: remembered, though nobody reads it back now.
    send_only: bool = False
    stages: tuple[str, ...] = field(default=())
    # Why this run cannot begin (a secret that cannot be had), where others go on.
    unready: str = ""
    # What it logs on with and ends some day; with the credentials.
    lasting: tuple[Lasting, ...] = ()

    @property
    def sends(self) -> bool:
        return self.sender is not None

    @property
    def sides(self) -> tuple[Side, ...]:
        """Every server: the submission's, then the readers'."""
        return (self.submission, *(reader.side for reader in self.readers))


def make_plan(
    profile: Profile, *, light: bool = False, delete: bool = True, pipelining: bool = True, send_only: bool = False
) -> Plan:
    """Lay out a run. `light`: log on everywhere, send nothing. `pipelining=False`: one command at a time. `send_only`: leave
    the message for a later `--collect`."""
    submission = profile.submission
    bound = tuple(
        ReaderPlan(readers()[name], _reader_side(profile, name, settings), settings)
        for name, settings in ({} if send_only else profile.readers).items()
    )
    return Plan(
        profile=profile.name,
        target=Target(submission.host, submission.port, submission.security),
        conduct=_conduct(profile, delete=delete, pipelining=pipelining),
        submission=_side("smtp", submission, submission.host, profile.account, profile.tls),
        readers=bound,
        sender=None if light else profile.sender,
        recipient=None if light else profile.recipient,
        timeout=profile.limits.timeout or MOST_SECONDS,
        size=profile.message.size,
        link=profile.message.link or "",
        probed=f"{submission.host}:{submission.port} {profile.account.username or ''} {profile.recipient}".lower(),
        every_address=submission.every_address,
        send_only=send_only,
        stages=_stages(profile, bound),
    )


def _conduct(profile: Profile, *, delete: bool, pipelining: bool) -> Conduct:
    limits = profile.limits
    return Conduct(
        resolvers=dict(profile.dns.resolvers),
        reader_hosts=_reader_hosts(profile),
        ehlo=profile.submission.ehlo or own_name(),
        per_connection=limits.per_connection or MOST_SECONDS_PER_CONNECTION,
        delivery_warning=limits.delivery_warning,
        delivery_critical=limits.delivery_critical,
        delete=delete,
        pipelining=pipelining,
        dane=profile.expect.dane,
        authserv_ids=profile.expect.authserv_id,
        clients=profile.expect.clients,
    )


def _reader_hosts(profile: Profile) -> tuple[str, ...]:
    """Names other than the submission's that DNS is asked for."""
    hosts = (profile.host_for(reader) for reader in profile.readers.values() if not reader.connect)
    return tuple(dict.fromkeys(host for host in hosts if host != profile.submission.host))


def _stages(profile: Profile, bound: tuple[ReaderPlan, ...]) -> tuple[str, ...]:
    """Every stage to come, in order; a further mechanism's logon stands at the end of its leg."""
    names = [*SUBMISSION_STAGES, *(further_stage("smtp", name) for name in profile.account.mechanisms[1:])]
    for reader in bound:
        names += [*reader.module.STAGES, *(further_stage(reader.side.leg, name) for name in reader.side.further)]
    return tuple(names)


def imap_of(plan: Plan) -> ReaderPlan | None:
    """The IMAP4 reader: the only protocol that can search a mailbox for leftovers."""
    return next((reader for reader in plan.readers if reader.side.leg == "imap"), None)


def further_stage(leg: str, mechanism: str) -> str:
    """The stage of a further mechanism's logon, such as `smtp.auth.ntlm`."""
    return f"{leg}.{'auth' if leg == 'smtp' else 'login'}.{mechanism.lower()}"


def _reader_side(profile: Profile, name: str, settings: Reader) -> Side:
    host = profile.host_for(settings)
    return _side(name, settings, host, profile.account_for(settings), profile.tls_for(settings))


def _side(leg: str, table: Any, host: str, account: Account, tls: Tls) -> Side:
    return Side(
        leg=leg,
        host=host,
        port=table.port,
        security=table.security,
        connect=nodes(table.connect),
        proxy=_proxy(table),
        family=table.family,
        credentials=None,
        mechanism=account.mechanisms[0],
        further=account.mechanisms[1:],
        policy=Policy(
            plaintext=table.security == "plaintext",
            trust_any_certificate=tls.trust_any_certificate,
            thumbprint=tls.thumbprint,
        ),
        ca_file=str(tls.ca_file) if tls.ca_file else None,
        minimum_version=tls.minimum_version,
        client_certificate=str(tls.client_certificate) if tls.client_certificate else None,
        client_key=str(tls.client_key) if tls.client_key else None,
    )


def _proxy(table: Submission | Reader) -> Proxy | None:
    """Without its password, which is fetched when the run begins."""
    found = proxy_of(table.connect)
    return Proxy(found[1], found[2], found[0]) if found else None


def own_name() -> str:
    """The name to give in EHLO: this machine's full one; empty where it has none, and then the connection's address is given."""
    return full_name() or ""
