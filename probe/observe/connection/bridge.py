"""What aiosmtplib takes for its connection to a server: its commands are handed, one by one, to `exchange`, which sends them over
the recorded connection and gives back the reply to show aiosmtplib. TLS, recording and limits are thus unseen by it.

A transport as asyncio has them (its public interface), and not a pair of sockets: that cost a check some ten system calls.
"""

import asyncio
from collections.abc import Awaitable, Callable


class Bridge(asyncio.Transport):
    """`error` is what `exchange` raised, kept for who waits on aiosmtplib."""

    def __init__(self, exchange: Callable[[bytes], Awaitable[bytes]]) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._exchange = exchange
        self._protocol: asyncio.Protocol | None = None
        self._task: asyncio.Task[None] | None = None
        self._command = b""
        self._closing = False

    def start(self, protocol: asyncio.Protocol, greeting: bytes) -> None:
        """Be this protocol's connection, and show it the greeting."""
        self._protocol = protocol
        protocol.connection_made(self)
        protocol.data_received(greeting)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._command += bytes(data)
        if self._command.endswith(b"\r\n") and not self._closing:
            command, self._command = self._command, b""
            self._task = asyncio.get_running_loop().create_task(self._carry_out(command))

    async def _carry_out(self, command: bytes) -> None:
        try:
            reply = await self._exchange(command)
        except Exception as error:
            self.error = error
            self.close()
        else:
            if self._protocol is not None and not self._closing:
                self._protocol.data_received(reply)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """For aiosmtplib the connection is lost; whoever waits for a reply hears so."""
        self._closing = True
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(None)

    def abort(self) -> None:
        self.close()

    async def end(self) -> None:
        """Close, and end the command that is under way."""
        self.close()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
