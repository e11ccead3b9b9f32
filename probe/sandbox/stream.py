"""Lines and literals over an asyncio stream that can become TLS. Input is bounded."""

import asyncio
import ssl
from typing import Any

LINE_OCTETS = 65_536
LITERAL_OCTETS = 16 * 1024 * 1024


class Closed(Exception):
    """The client went away, or sent more than any real one does."""


class Lines:
    """Reads into a buffer of its own, so that what lies behind STARTTLS can be thrown away."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tls: bool) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = bytearray()
        self.tls = tls

    @property
    def ssl_object(self) -> Any:
        """The TLS session; None in clear."""
        return self._writer.get_extra_info("ssl_object")

    async def line(self) -> bytes:
        """The next line without its line end. Raises Closed."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LINE_OCTETS:
                raise Closed
            await self._fill()
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line

    async def exactly(self, octets: int) -> bytes:
        """That many octets. Raises Closed."""
        if octets > LITERAL_OCTETS:
            raise Closed
        while len(self._buffer) < octets:
            await self._fill()
        data = bytes(self._buffer[:octets])
        del self._buffer[:octets]
        return data

    async def _fill(self) -> None:
        data = await self._reader.read(LINE_OCTETS)
        if not data:
            raise Closed
        self._buffer += data

    def pending(self) -> bool:
        """Whether a whole line is already here."""
        return b"\n" in self._buffer

    async def wait_for_input(self) -> None:
        """Return when there is something to read."""
        if not self._buffer:
            await self._fill()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Upgrade; what the client sent in clear behind STARTTLS is thrown away (RFC 3207 section 4.2, RFC 2595)."""
        self._buffer.clear()
        await self._writer.start_tls(context)
        self.tls = True

    def close(self) -> None:
        self._writer.close()
