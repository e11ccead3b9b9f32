"""One POP3 maildrop, one run at a time: a file lock per mailbox, freed by the kernel however the holder ends.

A server gives a maildrop to one session at a time and refuses a second (RFC 1939 section 4; [IN-USE], RFC 2449 section 8.1.2).
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from probe.state.files import own_folder

LOOK_SECONDS = 0.05


class Held(Exception):
    """Another run has the mailbox; the text says which."""


@asynccontextmanager
async def lease(state: Path, mailbox: str, holder: str, until: float) -> AsyncIterator[None]:
    """Hold the mailbox (any text that names it) in the block, waiting until the loop's instant `until`.

    Raises Held when it stays taken. Where no lock can be kept (no state directory, a file system without locks), there is none:
    the server's own [IN-USE] is then the only guard.
    """
    descriptor = _open(state, mailbox)
    if descriptor is None:
        yield
        return
    try:
        await _wait(descriptor, until)
        _sign(descriptor, holder)
        yield
    finally:
        os.close(descriptor)


def _open(state: Path, mailbox: str) -> int | None:
    try:
        folder = state / "leases"
        own_folder(folder)
        name = hashlib.sha256(mailbox.encode()).hexdigest()[:32]
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        return os.open(folder / name, flags, 0o600)
    except OSError:
        return None


def _sign(descriptor: int, holder: str) -> None:
    """Write who holds it. A full disk takes the name, not the lease."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, b"\n" + holder.encode("utf-8", "replace"))


def _holder(descriptor: int) -> str:
    """Who holds it. The first octet is the one that is locked: on Windows nobody else can read it."""
    try:
        os.lseek(descriptor, 1, os.SEEK_SET)
        return os.read(descriptor, 200).decode("utf-8", "replace")
    except OSError:
        return ""


async def _wait(descriptor: int, until: float) -> None:
    from filelock import lock_descriptor

    loop = asyncio.get_running_loop()
    while True:
        try:
            # flock(2), which goes with the descriptor; fcntl's locks would go when any other of the file is closed.
            if lock_descriptor(descriptor, blocking=False):
                return
        except OSError:
            return
        if loop.time() >= until:
            raise Held(_holder(descriptor) or "another run")
        await asyncio.sleep(LOOK_SECONDS)
