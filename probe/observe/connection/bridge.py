"""One end of a socket pair for aiosmtplib, the other pumped, command by command, over the recorded connection.

aiosmtplib can only connect to a socket. It gets one (public API: `sock=`), and whatever command it writes there is
handed to `exchange`, which sends it over the recorded connection and gives back the reply to show aiosmtplib. TLS,
recording and limits are thus unseen by it.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable

COMMAND_OCTETS = 65_536


class Bridge:
    """`end` is aiosmtplib's socket. `error` is what `exchange` raised, kept for who waits on aiosmtplib."""

    def __init__(self, exchange: Callable[[bytes], Awaitable[bytes]]) -> None:
        # On Windows Python makes the pair of TCP over loopback: it has no AF_UNIX there.
        self.end, self._ours = socket.socketpair()
        self.end.setblocking(False)
        self._ours.setblocking(False)
        self.error: BaseException | None = None
        self._exchange = exchange
        self._task: asyncio.Task[None] | None = None

    def start(self, greeting: bytes) -> None:
        """Show aiosmtplib the greeting and begin to pump."""
        self._ours.send(greeting)
        self._task = asyncio.get_running_loop().create_task(self._pump())

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while command := await self._command(loop):
                await loop.sock_sendall(self._ours, await self._exchange(command))
        except Exception as error:
            self.error = error
        finally:
            self._ours.close()

    async def _command(self, loop: asyncio.AbstractEventLoop) -> bytes:
        command = b""
        while not command.endswith(b"\r\n"):
            data = await loop.sock_recv(self._ours, COMMAND_OCTETS)
            if not data:
                return b""
            command += data
        return command

    async def close(self) -> None:
        """End the pump. aiosmtplib's own end is closed by aiosmtplib."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._ours.close()
        self.end.close()
