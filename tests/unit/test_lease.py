"""The lease on a maildrop: on every system, by a lock that the kernel frees."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probe.state.lease import Held, lease

ROOT = Path(__file__).parent.parent.parent
HOLDER = """
import asyncio, sys
from pathlib import Path
from probe.state.lease import lease
async def hold():
    async with lease(Path(sys.argv[1]), "box", "the killed one", 0):
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(hold())
"""


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture(params=["all there", "no pwrite"])
def names_of_os(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has neither pread nor pwrite."""
    if request.param == "no pwrite":
        for name in ("pread", "pwrite"):
            monkeypatch.delattr(os, name, raising=False)


@pytest.mark.usefixtures("names_of_os")
async def test_it_excludes_within_a_process_and_names_who_holds_it(tmp_path: Path) -> None:
    async with lease(tmp_path, "box", "process 1 on here, profile a-long-name", 0):
        with pytest.raises(Held, match=r"^process 1 on here, profile a-long-name$"):
            async with lease(tmp_path, "box", "another", now()):
                raise AssertionError
        async with lease(tmp_path, "another box", "another", 0):
            pass
    async with lease(tmp_path, "box", "b", 0):
        with pytest.raises(Held, match=r"^b$"):
            async with lease(tmp_path, "box", "c", 0):
                raise AssertionError


async def test_it_is_waited_for(tmp_path: Path) -> None:
    order: list[str] = []
    waiting = asyncio.Event()

    async def second() -> None:
        waiting.set()
        async with lease(tmp_path, "box", "second", now() + 60):
            order.append("second")

    async with lease(tmp_path, "box", "first", 0):
        task = asyncio.create_task(second())
        await waiting.wait()
        await asyncio.sleep(0)
        order.append("first")
    await task
    assert order == ["first", "second"]


async def test_it_excludes_another_process_and_is_freed_when_that_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, str(tmp_path), stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None and (await process.stdout.readline()).strip() == b"held"
        with pytest.raises(Held, match=r"^the killed one$"):
            async with lease(tmp_path, "box", "next", now()):
                raise AssertionError
    finally:
        process.kill()
        await process.communicate()
    async with lease(tmp_path, "box", "next", now() + 60):
        pass


@pytest.mark.not_on_windows("fcntl is not there anyway")
def test_a_system_without_file_locks_has_no_lease_and_no_error(tmp_path: Path) -> None:
    code = "import sys, warnings; sys.modules['fcntl'] = None; warnings.simplefilter('ignore')\n" + HOLDER.replace(
        "await asyncio.Event().wait()", "return"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("held\n", "")


async def test_a_folder_that_cannot_be_made_gives_no_lease_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with lease(tmp_path / "file", "box", "me", 0):
        pass
