"""kill -9 at random moments, a hundred times: every message is accounted for as found, swept, or reported missing."""

import asyncio
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

from probe.message import MARKER_PATTERN
from probe.sandbox import Sandbox

LANES, RUNS = 4, 25
# Half of the kills fall into the time when the message is on its way, which is short.
MOST_SECONDS_ON_THE_WAY = 0.008


class Lane:
    """Runs in a row on a mailbox and a state of their own."""

    def __init__(self, folder: Path, sandbox: Sandbox, user: str) -> None:
        self.sandbox, self.user = sandbox, user
        self.profile, self.state = folder / f"{user.partition('@')[0]}.toml", folder / f"state-{user}"
        self.profile.write_text(sandbox.profile(user).partition("[readback.pop3]")[0] + _tail(sandbox))
        self.environ = {**os.environ, "SUBMISSION_PROBE_STATE": str(self.state)}
        self.came: Counter[str] = Counter()

    def outbox(self) -> set[str]:
        return {path.stem for path in (self.state / "outbox").glob("submission-probe-*.json")}

    def read(self) -> set[str]:
        """Those whose run had read them, and was about to delete them."""
        return {
            path.stem for path in (self.state / "outbox").glob("submission-probe-*.json") if json.loads(path.read_text())["seen"]
        }

    def lying(self) -> set[str]:
        """Markers of the messages in the mailbox."""
        folders = self.sandbox.mailboxes[self.user].folders.values() if self.user in self.sandbox.mailboxes else ()
        raw = [message.raw.decode("ascii", "replace") for folder in folders for message in folder.messages]
        return {MARKER_PATTERN.search(text)[0] for text in raw}  # type: ignore[index]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "probe", *arguments]
        return await asyncio.create_subprocess_exec(*command, env=self.environ, stdout=pipe, stderr=asyncio.subprocess.STDOUT)

    async def whole(self) -> float:
        """Seconds of a run that nobody kills."""
        begun = asyncio.get_running_loop().time()
        # So long that no later run takes it for over, and sweeps what it left.
        process = await self.start("run", str(self.profile), "--history", "none", "--timeout", "1h")
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed.decode()
        return asyncio.get_running_loop().time() - begun

    async def killed(self, chance: random.Random, seconds: float, on_the_way: bool) -> None:
        before = self.outbox()
        # So long that no later run takes it for over, and sweeps what it left.
        process = await self.start("run", str(self.profile), "--history", "none", "--timeout", "1h")
        if on_the_way:
            while self.outbox() <= before and process.returncode is None:  # noqa: ASYNC110  a file has no event
                await asyncio.sleep(0.001)
            await asyncio.sleep(chance.uniform(0, MOST_SECONDS_ON_THE_WAY))
        else:
            await asyncio.sleep(chance.uniform(0, seconds * 1.1))
        if process.returncode is None:
            process.kill()
        await process.communicate()
        left = self.outbox() - before
        self.came["finished" if process.returncode == 0 else "killed on the way" if left else "killed before"] += 1
        # A message is never where its trace is not.
        assert self.lying() <= self.outbox()

    async def account(self) -> tuple[int, int]:
        """Sweep: how many messages are accounted for, how many are missing. Nothing may be left."""
        traced, lying, read = self.outbox(), self.lying(), self.read()
        process = await self.start("sweep", str(self.profile), "--older-than", "0s", "-o", "json")
        printed, _ = await process.communicate()
        swept = json.loads(printed)
        missing = {entry["marker"] for entry in swept["missing"]}
        assert set(swept["deleted"]) == lying and missing == traced - lying - read, printed.decode()
        assert process.returncode == (1 if missing else 0) and not self.lying() and not self.outbox()
        return len(traced) - len(missing), len(missing)


def _tail(sandbox: Sandbox) -> str:
    return "[tls]" + sandbox.profile().partition("[tls]")[2]


async def test_killed_a_hundred_times_nothing_is_lost(tmp_path: Path) -> None:
    users = [f"lane{index}@sandbox.test" for index in range(LANES)]
    async with Sandbox(others=users) as sandbox:
        lanes = [Lane(tmp_path, sandbox, user) for user in users]

        async def one(index: int, lane: Lane) -> tuple[int, int]:
            chance = random.Random(index)
            seconds = await lane.whole()
            for number in range(RUNS):
                await lane.killed(chance, seconds, on_the_way=bool(number % 2))
            return await lane.account()

        accounted = await asyncio.gather(*(one(index, lane) for index, lane in enumerate(lanes)))
        came = sum((lane.came for lane in lanes), Counter())
        print(dict(came), {"swept": sum(a for a, _ in accounted), "missing": sum(b for _, b in accounted)})
        assert came.total() == LANES * RUNS and came["killed on the way"] >= LANES
        assert came["killed on the way"] == sum(found + missing for found, missing in accounted)
