"""SOCKS5 proxies on loopback: microsocks and dante, as Debian has them, and a scripted one that says what it is to say."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.mail import free_port

_DANTE = """logoutput: {log}
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 127.0.0.0/8 port = {allowed} }}
"""


@contextmanager
def microsocks(*options: str) -> Iterator[int]:
    """microsocks with these options; its port."""
    port = free_port()
    with _running(["microsocks", "-i", "127.0.0.1", "-p", str(port), *options], port):
        yield port


@contextmanager
def dante(directory: Path, allowed: int) -> Iterator[int]:
    """dante, whose rules allow one port of loopback; its own port."""
    port = free_port()
    file = directory / "danted.conf"
    file.write_text(_DANTE.format(port=port, log=directory / "danted.log", allowed=allowed), encoding="ascii")
    program = shutil.which("danted") or "/usr/sbin/danted"
    with _running([program, "-f", str(file), "-p", str(directory / "danted.pid")], port):
        yield port


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 20
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert process.poll() is None and time.monotonic() < until, f"{command[0]} does not listen"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


@dataclass
class Scripted:
    """Says `reply` to every request (0 connects to loopback, whatever the name), after a logon where `password` is set."""

    reply: int = 0
    password: tuple[bytes, bytes] | None = None
    silent: bool = False
    port: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)
    logons: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offered = await reader.readexactly((await reader.readexactly(2))[1])
        if self.password is None:
            writer.write(b"\x05\x00")
        elif 2 not in offered:
            writer.write(b"\x05\xff")
            return
        else:
            writer.write(b"\x05\x02")
            given = await self._logon(reader)
            self.logons.append(given)
            writer.write(b"\x01\x00" if given == self.password else b"\x01\x01")
            if given != self.password:
                return
        kind = (await reader.readexactly(4))[3]
        octets = await reader.readexactly({1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0])
        port = int.from_bytes(await reader.readexactly(2), "big")
        host = octets.decode() if kind == 3 else socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, octets)
        self.asked.append((host, port))
        if self.silent:
            await reader.read()
            return
        writer.write(bytes([5, self.reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if self.reply == 0:
            await self._relay(reader, writer, port)

    @staticmethod
    async def _logon(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
        user = await reader.readexactly((await reader.readexactly(2))[1])
        return user, await reader.readexactly((await reader.readexactly(1))[0])

    @staticmethod
    async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    to.write(data)
                    await to.drain()
            to.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))


@asynccontextmanager
async def scripted(proxy: Scripted) -> AsyncIterator[Scripted]:
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
