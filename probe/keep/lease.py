"""One POP3 maildrop, one run at a time: a file lock per mailbox, freed by the kernel however the holder ends."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

LOOK_SECONDS = 0.05


class Held(Exception):
    """Another run has the mailbox; the text says which."""


@asynccontextmanager
async def lease(state: Path, mailbox: str, holder: str, until: float) -> AsyncIterator[None]:
    """Hold the mailbox (any text that names it) in the block, waiting until the loop's instant `until`.

    Raises Held when it stays taken. Where no lock can be kept (no state directory, no file locks as on Windows), there is none:
    the server's own [IN-USE] is then the only guard.
    """
    descriptor = _open(state, mailbox)
    if descriptor is None:
        yield
        return
    try:
        await _wait(descriptor, until)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open(state: Path, mailbox: str) -> int | None:
    try:
        folder = state / "leases"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(mailbox.encode()).hexdigest()[:32]
        return os.open(folder / name, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError:
        return None


async def _wait(descriptor: int, until: float) -> None:
    try:
        import fcntl
    except ImportError:
        return
    loop = asyncio.get_running_loop()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if loop.time() >= until:
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace")
                raise Held(holder or "another run") from None
        except OSError:
            return
        await asyncio.sleep(LOOK_SECONDS)
