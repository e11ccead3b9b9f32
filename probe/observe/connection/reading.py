"""Reading from a socket so that a read that is given up loses nothing, on Windows' event loop too."""

import asyncio
import socket


class Reading:
    """The read side of one socket.

    On Linux a cancelled `sock_recv` has taken no octets. Windows' Proactor hands its buffer to the kernel: what arrives while the
    read is being cancelled is gone. There the read stays under way instead, and the next one takes it over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._is_kept = _loses_cancelled_reads(loop)
        self._under_way: asyncio.Task[bytes] | None = None

    async def read(self, octets: int) -> bytes:
        """Some octets, at most so many; empty at the peer's end. Raises OSError."""
        if not self._is_kept:
            return await self._loop.sock_recv(self._sock, octets)
        if self._under_way is None:
            self._under_way = self._loop.create_task(self._loop.sock_recv(self._sock, octets))
        if not self._under_way.done():
            # Unlike awaiting the task itself, this does not cancel it.
            await asyncio.wait({self._under_way})
        done, self._under_way = self._under_way, None
        return done.result()

    def arrived(self, octets: int) -> bytes:
        """What is there already, without waiting. Raises OSError, BlockingIOError when nothing is."""
        if self._under_way is None:
            return self._sock.recv(octets)
        if not self._under_way.done():
            raise BlockingIOError
        done, self._under_way = self._under_way, None
        return done.result()

    async def end(self) -> None:
        """Give up the read that is under way; before the socket is closed."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)
            self._under_way = None


def _loses_cancelled_reads(loop: asyncio.AbstractEventLoop) -> bool:
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    return proactor is not None and isinstance(loop, proactor)
