"""What the legs of one run share: settings, the message, the deadline, and the points at which they wait for each other."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from datetime import datetime
from typing import Generic, Literal, TypeVar

from probe.facts.parts import TlsaAnswer
from probe.message import Draft, Sent
from probe.observe.connection import Connection, Deadline, Pace, Proxy, Resolution
from probe.observe.gate import Policy
from probe.plain import dataclass
from probe.sasl import Credentials

T = TypeVar("T")
# What is to become of a message of ours: deleted; left, since it is young; left, since another run or profile waits for it.
Claim = Literal["ours", "young", "left"]


class Milestone(Generic[T]):
    """A point that one leg reaches, or gives up on, once, and others wait for."""

    def __init__(self) -> None:
        self._future: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

    def reach(self, value: T) -> None:
        if not self._future.done():
            self._future.set_result(value)

    def give_up(self) -> None:
        """It will not be reached; a no-op when it was."""
        if not self._future.done():
            self._future.set_result(None)

    @property
    def value(self) -> T | None:
        return self._future.result() if self._future.done() else None

    @property
    def is_settled(self) -> bool:
        return self._future.done()

    async def settled(self) -> T | None:
        """Wait until it is reached (its value) or given up (None)."""
        return await asyncio.shield(self._future)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The message has left: `at` is the instant of the final reply in seconds since the run began.

    `certain` is False when the connection was cut after the final dot.
    """

    at: float
    certain: bool


@dataclass(frozen=True, slots=True)
class Side:
    """How to reach one server: plain settings, so that no leg depends on where they came from. Ports are TCP ports."""

    leg: str
    host: str
    port: int
    security: str
    connect: tuple[str, ...]
    family: str
    credentials: Credentials | None
    mechanism: str
    policy: Policy
    ca_file: str | None
    minimum_version: str
    client_certificate: str | None = None
    client_key: str | None = None
    # Of the addresses, dial this one only: `IP` or `IP:PORT`.
    only: str | None = None
    # Further mechanisms, each tried after the run on a connection of its own (logon only).
    further: tuple[str, ...] = ()
    # The SOCKS5 proxy on the way; it looks up the names, those of `connect` too.
    proxy: Proxy | None = None
    # Why this logon is not tried at all: the same secret was refused before, and the back-off has not passed.
    suspended: str | None = None
    # Why there is no token: what we identify ourselves with has ended, and the token endpoint said so.
    over: str | None = None


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a run goes about it, as its profile and options say, at every server alike. Times in seconds."""

    # Further DNS servers to ask, by the name the profile gives them.
    resolvers: Mapping[str, str]
    # Our name in EHLO; empty: the address of the connection.
    ehlo: str
    per_connection: float
    delivery_warning: float
    delivery_critical: float
    # Whether the message is deleted once it was read.
    delete: bool
    # False: one command at a time, whatever the server advertises.
    pipelining: bool = True
    # Names of the readers for which the resolvers are asked too.
    reader_hosts: tuple[str, ...] = ()
    # Why this run sends no message, where it sends none.
    unsent: str = "nothing is sent in light mode"
    # Whether the profile expects TLSA records that stand for the servers.
    dane: bool = False
    # Authserv-ids whose results count; none: those of the receiving side's servers.
    authserv_ids: tuple[str, ...] = ()
    # The mail programs that the profile says must be able to log on.
    clients: tuple[str, ...] = ()


@dataclass(slots=True)
class Job:
    """One run's shared state. Times in seconds."""

    conduct: Conduct
    submission: Side
    draft: Draft | None
    prove_key: bytes
    deadline: Deadline
    utc_now: Callable[[], datetime]
    # What a refused logon means, as the id of a finding: (stage, the server's answer, its greetings) → id.
    refused_logon: Callable[[str, str, str], str] = lambda stage, answer, greeting: "auth.refused"
    # By marker, messages of this installation that are not known to be gone.
    known: Mapping[str, Sent] = field(default_factory=dict)
    reserve: float = 2.0
    # Called just before the message leaves, so that a killed run leaves a trace of it.
    before_message: Callable[[], None] = lambda: None
    # Whether that trace could not be left.
    untraced: bool = False
    # By which the run is known later.
    id: str = ""
    # Called just before the message is deleted: should the run be killed then, it is known to have come.
    before_deletion: Callable[[], None] = lambda: None
    # What the run does with an earlier message that is proven to be ours.
    claim: Callable[[Sent], Claim] = lambda sent: "left"
    # Holds a POP3 maildrop against other runs of this machine; given the mailbox's name and the instant to wait until.
    hold: Callable[[str, float], AbstractAsyncContextManager[None]] = lambda mailbox, until: contextlib.nullcontext()
    pace: Pace = field(default_factory=Pace)
    # All of the message has left, at this instant; its reply is on the way.
    leaving: Milestone[float] = field(default_factory=Milestone)
    accepted: Milestone[Accepted] = field(default_factory=Milestone)
    content_sent: bool = False
    # Whether a report that it will not come is what is waited for, so that nothing is looked for behind it.
    report_awaited: bool = False
    # The loop's instant at which the run was interrupted.
    interrupted_at: float | None = None
    # By reader: the folder it read the message from; and its end.
    read: dict[str, Milestone[str]] = field(default_factory=dict)
    done: dict[str, Milestone[str]] = field(default_factory=dict)
    resolved: dict[tuple[str, int, str], asyncio.Future[Resolution]] = field(default_factory=dict)
    # By leg, what each resolver answered for the TLSA records of its port.
    tlsa: dict[str, Mapping[str, TlsaAnswer]] = field(default_factory=dict)
    # By stage that proved it, the message as it was delivered: what came back on it is read when all legs have ended.
    delivered: dict[str, bytes] = field(default_factory=dict)
    # By leg, the chain it was shown (DER, leaf first): the facts have it without whatever looks like a secret.
    chains: dict[str, Sequence[bytes]] = field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        return self.interrupted_at is not None

    @property
    def find_until(self) -> float:
        """The loop's instant at which looking ends, so that clean-up still has its share of the time."""
        return self.deadline.when - self.reserve

    def renew(self, connection: Connection) -> None:
        """Give a connection that was kept waiting for another leg its whole limit again."""
        connection.limit(asyncio.get_running_loop().time() + self.conduct.per_connection)

    async def sleep(self, seconds: float) -> None:
        """Wait between two looks; an interrupt, which brings the deadline forward, ends it early."""
        with contextlib.suppress(TimeoutError):
            async with self.deadline.limit():
                await asyncio.sleep(seconds)

    def interrupt(self, allowance: float) -> None:
        """Bring the run to its end: what was sent is still looked for and deleted within `allowance` seconds."""
        now = self.interrupted_at = asyncio.get_running_loop().time()
        self.deadline.shorten(now + (allowance if self.content_sent else 0.0))

    async def partners_have_read(self, leg: str, seconds: float | None = None) -> None:
        """Wait, for `seconds` at most, until every other reader has read the message or given up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for name, milestone in self.read.items():
                    if name != leg:
                        await milestone.settled()

    async def partners_are_done(self, leg: str) -> None:
        """Wait until every other reader has ended, its own clean-up included."""
        for name, milestone in self.done.items():
            if name != leg:
                await milestone.settled()
