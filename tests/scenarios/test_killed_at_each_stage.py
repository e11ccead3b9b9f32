"""kill -9 at each stage: every message is accounted for afterwards, and nobody else's is touched.

The command names the points of its work (tests/scenarios/tapped.py): each line sent, each reply, each stage's beginning and end,
each write of a trace. It is ended at each of them in turn, then `probe sweep` and `probe run --collect` look. PROBE_KILLS says how
often, 100 times unless it does; with more, each point is met several times.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from probe.message import MARKER_PATTERN
from probe.sandbox import Sandbox
from probe.state.place import Files
from probe.tasks.plan import make_plan
from probe.tasks.run import load_profile

ROOT = Path(__file__).parent.parent.parent
KILLS = int(os.environ.get("PROBE_KILLS", "100"))
LANES = 3
# So many kills lie between two looks at what is left.
A_LOOK = 6
COPIED = "submission-probe-aaaaaaaaaaaaaaaaaaaaaaaaaa"
NEIGHBOURS = (
    b"From: friend@x.test\r\nSubject: lunch?\r\n\r\nAt noon.\r\n",
    f"From: friend@x.test\r\nSubject: Fwd: {COPIED}\r\nX-Submission-Probe: {COPIED}\r\n\r\nis this yours?\r\n".encode(),
)
pytestmark = pytest.mark.not_on_windows("kill -9")


@dataclass(frozen=True)
class Point:
    """Where a run is ended, and a stage that is under way there."""

    name: str
    stages: tuple[str, ...]


class Lane:
    """Runs in a row on a mailbox and a state of their own."""

    def __init__(self, folder: Path, sandbox: Sandbox, user: str) -> None:
        self.sandbox, self.user = sandbox, user
        self.profile, self.state = folder / f"{user.partition('@')[0]}.toml", folder / f"state-{user}"
        self.profile.write_text(sandbox.profile(user))
        self.environ = {**os.environ, "SUBMISSION_PROBE_STATE": str(self.state), "PYTHONPATH": str(ROOT)}
        for raw in NEIGHBOURS:
            sandbox._world.mailbox(user).folders["INBOX"].add(raw)
        self.ended: Counter[str] = Counter()
        self.accounted: Counter[str] = Counter()

    def traced(self) -> set[str]:
        return {entry.marker for entry in Files(self.state).entries()}

    def read(self) -> set[str]:
        """Markers of what its run had read, and was about to delete."""
        return {entry.marker for entry in Files(self.state).entries() if entry.seen}

    def messages(self) -> list[bytes]:
        return [message.raw for folder in self.sandbox.mailboxes[self.user].folders.values() for message in folder.messages]

    def lying(self) -> set[str]:
        """Markers of our messages in the mailbox; the neighbours' are all there."""
        theirs = [raw for raw in self.messages() if raw in NEIGHBOURS]
        assert sorted(theirs) == sorted(NEIGHBOURS)
        found = [MARKER_PATTERN.search(raw.decode("ascii", "replace")) for raw in self.messages() if raw not in NEIGHBOURS]
        return {match[0] for match in found if match}

    async def run(self, *command: str) -> tuple[int, str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, env=self.environ, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate()
        await _served(self.sandbox)
        return process.returncode or 0, out.decode(), err.decode()

    async def points(self) -> list[Point]:
        """Those of a run that nobody ends."""
        code, _, err = await self.run("tests.scenarios.tapped", "list", "run", str(self.profile), "--history", "none")
        assert code == 0, err
        seen = [json.loads(line) for line in err.splitlines()]
        return list(_apart(Point(one["point"], tuple(one["stages"])) for one in seen))

    async def killed(self, point: Point) -> None:
        before = self.traced()
        code, _, err = await self.run("tests.scenarios.tapped", point.name, "run", str(self.profile), "--history", "none")
        if code == 0:
            # Which look found the message is a matter of time: a later look may not take place.
            self.ended["at no point"] += 1
            return
        assert code == -9, err
        for stage in json.loads(err.splitlines()[-1])["stages"]:
            self.ended[stage] += 1
        left = self.traced() - before
        assert len(left) <= 1
        # A message is never where its trace is not; a run that was ended before the trace has sent none.
        assert self.lying() <= self.traced(), point.name

    async def account(self, by: str) -> None:
        """Look at what is left: each message that is there is deleted, each other is said to be missing, unless it was read."""
        traced, lying, read = self.traced(), self.lying(), self.read()
        if by == "collect":
            code, out, err = await self.run("probe", "run", "--collect", str(self.profile), "--history", "none", "-o", "json")
            assert code != 3 and "Traceback" not in err, err
            (facts,) = (stage["facts"] for stage in json.loads(out)["reports"][0]["stages"] if stage["name"] == "imap.find")
            gone = lying - self.lying()
            assert gone == set(facts["deleted"]) and gone <= traced and traced - gone - (read - lying) == self.traced()
            self.accounted["collected"] += len(gone)
            traced, lying, read = self.traced(), self.lying(), self.read()
        code, out, err = await self.run("probe", "sweep", str(self.profile), "--older-than", "0s", "-o", "json")
        swept = json.loads(out)
        missing = {entry["marker"] for entry in swept["missing"]}
        assert set(swept["deleted"]) == lying and missing == traced - lying - read, (traced, lying, read, out, err)
        assert code == (1 if missing else 0) and not self.lying() and not self.traced()
        self.accounted["swept"] += len(lying)
        self.accounted["missing"] += len(missing)


async def _served(sandbox: Sandbox) -> None:
    """Until the sandbox has done what clients that are gone had asked for."""
    smtp = [task for task in asyncio.all_tasks() if "_handle_client" in getattr(task.get_coro(), "__qualname__", "")]
    if waiting := [*sandbox._clients, *smtp]:
        await asyncio.wait(waiting)


def _apart(points: Iterator[Point]) -> Iterator[Point]:
    """Of the lines of one reply the first only: between two of them the server hears nothing."""
    last: dict[str, str] = {}
    for point in points:
        connection, _, kind = point.name.rpartition(" ")[0].partition(" ")
        if kind != "<" or last.get(connection) != "<":
            yield point
        last[connection] = kind


def _chosen(points: Sequence[Point], count: int) -> list[Point]:
    """So many, from all over the run."""
    chance = random.Random(count)
    rounds = [chance.sample(points, len(points)) for _ in range(-(-count // len(points)))]
    # A round that is not whole has gaps of one size, not what chance leaves out.
    whole, rest = rounds[:-1], count - len(points) * (len(rounds) - 1)
    spread = [points[index * len(points) // rest] for index in range(rest)]
    return [*(point for one in whole for point in one), *spread]


async def test_ended_at_each_stage_no_message_is_lost_and_none_of_others_deleted(tmp_path: Path) -> None:
    users = [f"lane{index}@sandbox.test" for index in range(LANES)]
    async with Sandbox(others=users) as sandbox:
        lanes = [Lane(tmp_path, sandbox, user) for user in users]
        points = await lanes[0].points()
        chosen = _chosen(points, KILLS)

        async def ended(lane: Lane, some: Sequence[Point]) -> None:
            for number, point in enumerate(some, 1):
                await lane.killed(point)
                if number % A_LOOK == 0 or number == len(some):
                    await lane.account("collect" if number % (2 * A_LOOK) == 0 else "sweep")

        await asyncio.gather(*(ended(lane, chosen[index::LANES]) for index, lane in enumerate(lanes)))
        stages = {name for name in make_plan(load_profile(lanes[0].profile, {})).stages if name != "smtp.resolve"}
    came, accounted = sum((lane.ended for lane in lanes), Counter()), sum((lane.accounted for lane in lanes), Counter())
    print(len(points), dict(came), dict(accounted))
    assert stages <= set(came), stages - set(came)
    assert came["at no point"] <= KILLS // 10 and all(accounted[how] for how in ("swept", "missing", "collected")), accounted


@pytest.mark.parametrize("by", ["sweep", "collect"])
async def test_a_message_that_was_deleted_before_the_end_is_not_missing(tmp_path: Path, by: str) -> None:
    async with Sandbox(others=["lane@sandbox.test"]) as sandbox:
        lane = Lane(tmp_path, sandbox, "lane@sandbox.test")
        await lane.killed(Point("trace to be removed", ()))
        assert len(lane.traced()) == 1 and lane.traced() == lane.read() and not lane.lying()
        await lane.account(by)
        assert lane.accounted["missing"] == 0
