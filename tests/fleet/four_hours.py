"""Four hours in a minute: a clock that is moved on from one moment of the schedule to the next, a mail system that holds, copies
and returns mail, and the story that each door has to tell of it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from probe.message import MARKER_PATTERN
from probe.report import Report
from probe.sandbox import Sandbox

TICKS = 48
EVERY = timedelta(minutes=5)
LIMITS = '[limits]\ntimeout = "2s"\nlost_after = "58m"\n'


class Clock:
    """The time of day, and waiting for it."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []
        self._asleep = asyncio.Event()

    def utc_now(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        sleeper = (self.now + timedelta(seconds=seconds), asyncio.get_running_loop().create_future())
        self._sleepers.append(sleeper)
        self._asleep.set()
        try:
            await sleeper[1]
        finally:
            self._sleepers.remove(sleeper)

    async def next(self) -> None:
        """On to the moment for which somebody waits, and until he waits for another."""
        await self._asleep.wait()
        self._asleep.clear()
        due, woken = min(self._sleepers, key=lambda sleeper: sleeper[0])
        self.now = max(self.now, due)
        woken.set_result(None)
        await self._asleep.wait()


class Post:
    """What the sandbox does with mail that it has accepted. Its stamps are of the clock's time."""

    def __init__(self, sandbox: Sandbox, clock: Clock) -> None:
        self._world, self._clock = sandbox._world, clock
        self._user = sandbox.username
        self.held: list[bytes] = []
        self.holds = False
        self._world.deliver = self.deliver  # type: ignore[method-assign]

    def deliver(self, recipient: str, raw: bytes) -> None:
        raw = re.sub(rb";\r\n\t[^\r]*\r\n", b";\r\n\t" + self._stamp() + b"\r\n", raw, count=1)
        if self.holds:
            self.held.append(raw)
            self.holds = False
        else:
            self._world._put(recipient, raw)

    def hold(self) -> None:
        """The next message."""
        self.holds = True

    def release(self, copies: int = 1) -> None:
        raw = b"Received: from queue by slow.sandbox.test;\r\n\t" + self._stamp() + b"\r\n" + self.held.pop()
        for _ in range(copies):
            self._world._put(self._user, raw)

    def bounce(self) -> None:
        """Return it: a report, and never the message (RFC 3464)."""
        marker = MARKER_PATTERN.search(self.held.pop().decode("latin-1"))
        assert marker
        self._world._put(
            self._user,
            b"From: MAILER-DAEMON@sandbox.test\r\nTo: probe@sandbox.test\r\nSubject: Undelivered\r\n"
            b"Auto-Submitted: auto-replied\r\n"
            b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\nMIME-Version: 1.0\r\n\r\n'
            b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.sandbox.test\r\n\r\n"
            b"Final-Recipient: rfc822; probe@sandbox.test\r\nAction: failed\r\nStatus: 5.7.1\r\n"
            b"Diagnostic-Code: smtp; 550 rejected\r\n\r\n"
            b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nX-Submission-Probe: " + marker[0].encode() + b"\r\n\r\n--b--\r\n",
        )

    def _stamp(self) -> bytes:
        return format_datetime(self._clock.now).encode()


def acts(post: Post) -> dict[int, Callable[[], None]]:
    """What happens before a tick. Held at 3, and lost; before 18 it comes after all. Held at 30: late. Held at 34: comes twice.
    Held at 40: returned."""
    return {
        3: post.hold, 18: post.release,
        30: post.hold, 32: post.release,
        34: post.hold, 36: lambda: post.release(2),
        40: post.hold, 41: post.bounce,
    }  # fmt: skip


@dataclass
class Told:
    """What was said at each tick: (severity, finding) of every report, and their summaries."""

    findings: list[set[tuple[str, str]]] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)

    def add(self, reports: list[Report]) -> None:
        wrong = [finding for report in reports for finding in report.findings if finding.severity != "info"]
        self.findings.append({(finding.severity, finding.id) for finding in wrong})
        self.summaries.append(" / ".join(finding.summary for report in reports for finding in report.findings))


async def play(post: Post, tick: Callable[[], Awaitable[list[Report]]]) -> Told:
    """Every tick's reports."""
    told, happens = Told(), acts(post)
    for number in range(TICKS):
        happens.get(number, lambda: None)()
        told.add(await tick())
    return told


MISSING, LATE = ("critical", "delivery.missing"), ("critical", "delivery.late")


def check(told: Told) -> None:
    """The same at every door, but for two things: a run that waits for its message says at once that it has not come (3, 30, 34,
    40); and what was given up is found by a collection, or by a run in passing, which only remarks on it."""
    for tick, said in enumerate(told.findings):
        if tick not in (3, 30, 34, 40) and not 18 <= tick < 29:
            assert said == _expected(tick), (tick, said, told.summaries[tick])
    assert "is given up" in told.summaries[15] and not any("is given up" in said for said in told.summaries[:15])
    recovered = [tick for tick in range(18, 29) if re.search("had been given up|had looked for them in vain", told.summaries[tick])]
    assert len(recovered) == 1, told.summaries[18:29]
    for tick in range(18, 29):
        assert told.findings[tick] in (set(), {LATE, ("warning", "delivery.late")} if tick in recovered else set())
    assert "arrived late" in told.summaries[32] and "550 rejected" in told.summaries[47]


def _expected(tick: int) -> set[tuple[str, str]]:
    """Severity and id of all findings that are more than worth knowing."""
    if 3 < tick <= 15 or tick in (31, 35):
        return {MISSING}
    more = {32: {LATE}, 36: {LATE, ("warning", "delivery.duplicate")}}
    return {("critical", "delivery.bounced")} if tick > 40 else more.get(tick, set())
