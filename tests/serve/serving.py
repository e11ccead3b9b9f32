"""`probe serve` as a process of its own, for tests."""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parent.parent.parent
WAIT_SECONDS = 30.0


class Serving:
    """An async context manager. `state` is its state directory; `said` what it wrote to stderr so far."""

    COMMAND = "serve"

    def __init__(self, folder: Path, *arguments: str, environ: dict[str, str] | None = None, listen: str = "127.0.0.1:0") -> None:
        self.state = folder / "serve-state"
        self._arguments, self._listen = arguments, listen
        self._environ = {**os.environ, "SUBMISSION_PROBE_STATE": str(self.state), "PYTHONUNBUFFERED": "1", **(environ or {})}
        self.said = ""
        self.url = ""

    async def __aenter__(self) -> "Serving":
        command = [sys.executable, "-m", "probe", self.COMMAND, *self._arguments, "--listen", self._listen]
        self.process = await asyncio.create_subprocess_exec(*command, env=self._environ, stderr=asyncio.subprocess.PIPE, cwd=ROOT)
        self._reading = asyncio.create_task(self._read())
        found = await self.until(lambda: re.search(r"https?://\S+", self.said) or self.process.returncode is not None)
        assert not isinstance(found, bool), self.said
        self.url = found[0].rstrip("/")
        self.client = httpx2.AsyncClient(base_url=self.url, timeout=60, verify=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.said += line.decode()

    async def until(self, seen: Callable[[], Any]) -> Any:
        """What `seen` gives once it gives something."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not (found := seen()):  # noqa: ASYNC110  a process and its files have no event
                await asyncio.sleep(0.02)
        return found

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        return await self.client.get(path, **more)

    async def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        return values((await self.get("/metrics")).text)

    async def until_metric(self, name: str, least: float, *labels: str) -> float:
        """The metric's value once it is at least so much; labels are values, in any order."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                found = (await self.metrics()).get(name, {}).get(tuple(sorted(labels)))
                if found is not None and found >= least:
                    return found
                await asyncio.sleep(0.05)

    async def end(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.process.wait()


def values(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample by name and by its labels' values, sorted. Raises for text that is no metrics."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.values()))
            assert labels not in found.get(sample.name, {}), f"twice: {sample}"
            found.setdefault(sample.name, {})[labels] = sample.value
    return found
