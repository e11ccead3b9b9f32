"""A read that is given up loses nothing, whatever the event loop does with it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from probe.observe.connection import Address, Connection, Deadline, Pace
from probe.observe.connection import reading as room
from probe.observe.journal import Journal
from probe.observe.trouble import Stopped
from probe.redact import Redactor


@pytest.fixture
async def pair() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def connection(sock: socket.socket, pace: Pace | None = None) -> Connection:
    loop = asyncio.get_running_loop()
    # Windows' socket pairs are TCP; others have no addresses.
    named = sock if sock.family == socket.AF_INET else _Named(sock.family, sock.type, 0, sock.detach())
    deadline = Deadline(loop.time() + 60)
    journal = Journal(loop.time, Redactor([]))
    address = Address("127.0.0.1", 25)
    return Connection(named, address, name="t", journal=journal, deadline=deadline, until=loop.time() + 60, pace=pace or Pace())


class _Named(socket.socket):
    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 9


class Lossy:
    """`sock_recv` as the Proactor has it: cancelled, it has taken the octets with it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.real = loop.sock_recv
        self.taken, self.goes_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, sock: socket.socket, octets: int) -> bytes:
        data = await self.real(sock, octets)
        self.taken.set()
        await self.goes_on.wait()
        return data


@pytest.mark.parametrize("kept", [True, False])
async def test_octets_that_arrive_while_a_read_is_given_up(
    kept: bool, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    lossy = Lossy(loop)
    monkeypatch.setattr(loop, "sock_recv", lossy)
    monkeypatch.setattr(room, "_loses_cancelled_reads", lambda _: kept)
    talk = connection(pair[0])
    given_up = asyncio.ensure_future(talk.read_line("the first"))
    await loop.sock_sendall(pair[1], b"one\r\n")
    await lossy.taken.wait()
    given_up.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await given_up
    lossy.goes_on.set()
    await loop.sock_sendall(pair[1], b"two\r\n")
    # The control: without the care for it, the first line is gone.
    assert await talk.read_line("the next") == (b"one" if kept else b"two")
    await talk.close()


async def test_this_systems_own_loop_loses_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    """Reads given up one after another while lines keep coming: all of them arrive, in order."""
    loop = asyncio.get_running_loop()
    talk = connection(pair[0])

    async def send() -> None:
        for number in range(200):
            await loop.sock_sendall(pair[1], b"%d\r\n" % number)
            await asyncio.sleep(0)

    sending = asyncio.ensure_future(send())
    lines: list[bytes] = []
    while len(lines) < 200:
        reading = asyncio.ensure_future(talk.read_line("a line"))
        await asyncio.sleep(0)
        if not reading.done():
            reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            lines.append(await reading)
        await asyncio.sleep(0)
    await sending
    assert lines == [b"%d" % number for number in range(200)]
    await talk.close()


async def test_octets_are_kept_when_the_time_is_up_before_their_turn(pair: tuple[socket.socket, socket.socket]) -> None:
    class Never(Pace):
        def __init__(self) -> None:
            super().__init__()
            self.waits = asyncio.Event()
            self.opens = asyncio.Event()

        async def turn(self) -> None:
            self.waits.set()
            await self.opens.wait()

    loop, pace = asyncio.get_running_loop(), Never()
    talk = connection(pair[0], pace)
    await loop.sock_sendall(pair[1], b"220 here\r\n")
    reading = asyncio.ensure_future(talk.read_line("the greeting"))
    await pace.waits.wait()
    talk._deadline.shorten(loop.time())
    with pytest.raises(Stopped):
        await reading
    assert talk.unread() == b"220 here\r\n"
    await talk.close()


@pytest.mark.parametrize("kept", [True, False])
async def test_closing_ends_a_read_that_is_under_way(
    kept: bool, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_loses_cancelled_reads", lambda _: kept)
    talk = connection(pair[0])
    reading = asyncio.ensure_future(talk.read_line("nothing"))
    await asyncio.sleep(0)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    assert talk.unread() == b""
    await talk.close()
    await talk.close()
    assert await asyncio.get_running_loop().sock_recv(pair[1], 1) == b""
