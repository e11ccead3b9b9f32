"""How many may come in at once: a connection that says nothing keeps neither descriptors from runs nor the door from others.

uvicorn has no limit before a request's head is read (its `limit_concurrency` answers 503, after accepting), and none on how long
the head may take. So sockets are counted where they are accepted, before TLS; when there are too many, the one that is idle
for longest goes.
On Windows' Proactor loop asyncio accepts by itself: there only uvicorn's limit and the time for a head hold.
"""

import asyncio
import contextlib
import ipaddress
import socket
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_AT_ONCE = 200
# From the connection (TLS included), or from a request's first octet, to the end of its head.
HEAD_SECONDS = 10.0
# An answer of which nothing is read for so long is given up.
STALL_SECONDS = 30.0
# What the program holds by itself, and what one run may open: its connections, their bridges, name servers, files.
_OWN, _A_RUN = 64, 16


def most_at_once(concurrency: int) -> int:
    """How many connections leave enough descriptors for so many runs (RLIMIT_NOFILE), at least 8."""
    try:
        import resource
    except ImportError:  # Windows
        return MOST_AT_ONCE
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_AT_ONCE
    return max(8, min(MOST_AT_ONCE, soft - _OWN - _A_RUN * concurrency))


@dataclass(slots=True, eq=False)
class Visit:
    """One connection. `busy`: a request of it is being answered; `timer` ends it when its time is over."""

    socket: socket.socket
    peer: str
    busy: bool = False
    leaving: bool = False
    timer: asyncio.TimerHandle | None = None

    def allow(self, seconds: float | None) -> None:
        """Give it so much time from now on; None: as long as it takes."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self.end)

    def end(self) -> None:
        """Have its transport find the connection closed: it then frees the descriptor, in the handshake of TLS too."""
        self.leaving = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Door:
    """Who is inside, oldest first. `most` in all, and half of it for one peer (an address, or an IPv6 /64)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._visits: dict[int, Visit] = {}

    def admit(self, guest: socket.socket, address: object) -> None:
        """Note a connection that was just accepted; it has HEAD_SECONDS to say what it wants."""
        self._visits[guest.fileno()] = visit = Visit(guest, peer_of(address))
        visit.allow(HEAD_SECONDS)

    def leave(self, number: int) -> None:
        """Its descriptor is free."""
        if (visit := self._visits.pop(number, None)) is not None:
            visit.allow(None)

    def find(self, transport: asyncio.BaseTransport) -> Visit | None:
        inner = transport.get_extra_info("socket")
        return None if inner is None else self._visits.get(inner.fileno())

    def full(self) -> bool:
        return len(self._visits) >= self._most

    def make_room(self) -> bool:
        """Have the longest idle of the greediest peer leave; False when all are busy."""
        staying = Counter(visit.peer for visit in self._visits.values() if not visit.leaving)
        for peer, _ in staying.most_common():
            if self._end_oldest(peer):
                return True
        return any(visit.leaving for visit in self._visits.values())

    def crowded(self, address: object) -> bool:
        """Whether this peer has its share already, and no connection of it is idle; else the longest idle one leaves."""
        peer = peer_of(address)
        share = sum(visit.peer == peer and not visit.leaving for visit in self._visits.values())
        return share >= max(1, self._most // 2) and not self._end_oldest(peer)

    def _end_oldest(self, peer: str) -> bool:
        oldest = next((one for one in self._visits.values() if one.peer == peer and not (one.busy or one.leaving)), None)
        if oldest is not None:
            oldest.end()
        return oldest is not None


def peer_of(address: object) -> str:
    """An IPv4 address, or the network that one IPv6 host has (RFC 6177: a /64 or more)."""
    text = str(address[0]).partition("%")[0] if isinstance(address, (tuple, list)) else str(address)
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return text
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return text


class Guest(socket.socket):
    """An accepted connection that says when its descriptor is free."""

    door: Door | None = None

    def close(self) -> None:
        if self.door is not None and self.fileno() >= 0:
            self.door.leave(self.fileno())
        super().close()


class Entrance(socket.socket):
    """A listening socket that accepts only as many as the door lets in."""

    door: Door

    def accept(self) -> tuple[socket.socket, object]:
        """As socket.accept. BlockingIOError also means: later, when those who were asked to leave are gone."""
        if self.door.full() and self.door.make_room():
            raise BlockingIOError
        number, address = self._accept()  # type: ignore[attr-defined]
        guest = Guest(self.family, self.type, self.proto, fileno=number)
        if self.door.full() or self.door.crowded(address):
            guest.close()
            raise BlockingIOError
        guest.setblocking(False)
        guest.door = self.door
        self.door.admit(guest, address)
        return guest, address


def listen(host: str, port: int, door: Door) -> list[Entrance]:
    """Listen on every address of `host`. Raises OSError."""
    entrances: list[Entrance] = []
    try:
        for family, kind, proto, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            entrance = Entrance(family, kind, proto)
            entrances.append(entrance)
            entrance.door = door
            _bind(entrance, address)
    except OSError:
        for entrance in entrances:
            entrance.close()
        raise
    return entrances


def _bind(entrance: Entrance, address: Any) -> None:
    if sys.platform == "win32":  # where SO_REUSEADDR would let two programs have one port
        entrance.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        entrance.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if entrance.family == socket.AF_INET6:
        entrance.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    entrance.setblocking(False)
    entrance.bind(address)


class Protocol(H11Protocol):
    """uvicorn's, with a time for each request's head and for each answer's reader."""

    visit: Visit | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        door: Door | None = getattr(self.config, "door", None)  # set by probe.serve.http
        self.visit = (door.find(transport) if door else None) or Visit(transport.get_extra_info("socket"), "")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.visit is not None:
            busy = self.cycle is not None and not self.cycle.response_complete
            if busy != self.visit.busy or (not busy and self.visit.timer is None):
                self.visit.busy = busy
                self.visit.allow(None if busy else HEAD_SECONDS)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.visit is not None and self.visit.busy:
            self.visit.busy = False
            self.visit.allow(None)  # until the next octet, uvicorn's time for an idle connection holds

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.visit is not None:
            self.visit.allow(STALL_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.visit is not None and self.visit.busy:
            self.visit.allow(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.visit is not None:
            self.visit.allow(None)
        super().connection_lost(exc)
