"""TCP through a SOCKS5 proxy (RFC 1928), by python-socks (extra `socks`): the proxy looks names up and connects.

User name and password (RFC 1929) go to the proxy in clear, to this proxy only, and only where it asks for them. They are tried
once: whoever else uses the same proxy waits for the outcome, and after a refusal nobody tries again.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Sequence
from dataclasses import field
from typing import Literal

from probe.observe.connection.deadline import Limit
from probe.observe.connection.dial import Attempt, dial
from probe.observe.connection.resolve import Address
from probe.observe.trouble import Stopped, stop
from probe.plain import dataclass

# RFC 1928 section 6, REP, in the words of a direct dial where the proxy speaks of the server.
_OF_THE_SERVER = {
    3: ("connect.unreachable", "network unreachable"),
    4: ("connect.unreachable", "no route to the host"),
    5: ("connect.refused", "connection refused: nothing listens there, or a firewall rejects it"),
    6: ("connect.timeout", "no answer in time: the packets' time to live ended"),
}
_OF_THE_PROXY = {
    1: ("proxy.failed", "it could not connect and gives no reason (where the name is unknown, most proxies say no more than that)"),
    2: ("proxy.refused", "its rules do not allow this connection"),
}


Dialling = tuple[socket.socket, Address]


@dataclass(slots=True)
class Admission:
    """Whether the proxy took our password; shared by all who use it. `state` is empty until somebody knows."""

    state: Literal["", "taken", "refused"] = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A SOCKS5 proxy. `suspended` says why it is not to be asked now: its password was refused before."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    suspended: str | None = None
    admission: Admission = field(default_factory=Admission, compare=False, repr=False)

    def __str__(self) -> str:
        return f"socks5://{self.username + '@' if self.username else ''}{self.place}"

    @property
    def place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def dial_through(
    proxy: Proxy, addresses: Sequence[Address], wanted: Sequence[Address], deadline: Limit, attempts: list[Attempt]
) -> Dialling:
    """TCP to the first of `wanted` that the proxy, which is at `addresses`, can reach; each over a connection of its own to it.

    Raises Stopped: `proxy.*` at once, else the first server's trouble.
    """
    if proxy.suspended:
        raise stop("proxy.auth-refused", proxy.suspended)
    loop = asyncio.get_running_loop()
    first: Stopped | None = None
    for address in wanted:
        began, attempt = loop.time(), Attempt(address)
        attempts.append(attempt)
        try:
            return await _one(proxy, addresses, address, deadline), address
        except Stopped as error:
            attempt.trouble, first = error.trouble, first or error
            if error.trouble.id.startswith("proxy."):
                raise
        finally:
            attempt.seconds = loop.time() - began
    raise first or stop("dns.no-record", "connect: there is no address to try")


async def _one(proxy: Proxy, addresses: Sequence[Address], address: Address, deadline: Limit) -> socket.socket:
    try:
        sock, _ = await dial(addresses, deadline, [])
    except Stopped as error:
        raise stop("proxy.unreachable", f"the proxy {proxy.place}: {error.trouble.text}", error.trouble.evidence) from None
    try:
        async with deadline.limit():
            await _ask_for(proxy, sock, address.ip, address.port)
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError):
            tried = f"connect to {address.ip} port {address.port} through the proxy {proxy.place}"
            raise stop("connect.timeout", f"{tried}: no answer in time, of the proxy or of the server behind it") from None
        raise
    return sock


async def _ask_for(proxy: Proxy, sock: socket.socket, host: str, port: int) -> None:
    """Have the proxy at the other end of `sock` connect to host and port. Raises Stopped."""
    tried = f"connect to {host} port {port} through the proxy {proxy.place}"
    admission = proxy.admission
    if proxy.password is None or admission.state == "taken":
        await _ask(proxy, _Stream(sock), host, port, tried)
        return
    async with contextlib.AsyncExitStack() as turn:
        await turn.enter_async_context(admission.turn)
        if admission.state == "refused":
            raise stop("proxy.auth-refused", f"{tried}: not tried: the proxy refused this password just now")
        stream = _Stream(sock, turn, admission)
        await _ask(proxy, stream, host, port, tried)


class _Stream:
    """What python-socks' connector reads from and writes to: our own socket, so that what fails on the way to the proxy is not
    confused with what fails behind it. Once the proxy has let us in, those who wait for that go on: the server may be silent."""

    def __init__(
        self, sock: socket.socket, turn: contextlib.AsyncExitStack | None = None, admission: Admission | None = None
    ) -> None:
        self._sock = sock
        self._turn = turn
        self._admission = admission
        self._written: list[int] = []

    async def write_all(self, data: bytes) -> None:
        # RFC 1928: greeting (5), then the password (1, RFC 1929) where it is asked for, then the request (5).
        if self._written and data[0] == 5 and self._turn and self._admission:
            self._admission.state = "taken" if 1 in self._written else ""
            await self._turn.aclose()
        self._written.append(data[0])
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def read_exact(self, octets: int) -> bytes:
        data = b""
        while len(data) < octets:
            more = await asyncio.get_running_loop().sock_recv(self._sock, octets - len(data))
            if not more:
                raise ConnectionAbortedError(errno.ECONNABORTED, "the proxy closed the connection")
            data += more
        return data


async def _ask(proxy: Proxy, stream: _Stream, host: str, port: int, tried: str) -> None:
    from python_socks._connectors.socks5_async import Socks5AsyncConnector
    from python_socks._protocols.errors import ReplyError

    connector = Socks5AsyncConnector(username=proxy.username, password=proxy.password, rdns=True, resolver=None)  # type: ignore[arg-type]
    try:
        await connector.connect(stream, host, port)  # type: ignore[arg-type]
    except ReplyError as error:
        raise _stopped(proxy, error, tried) from None
    except OSError as error:
        raise stop("proxy.failed", f"{tried}: {error.strerror or error}", str(error)) from None
    except (ValueError, IndexError) as error:
        raise stop("proxy.failed", f"{tried}: the proxy's answer makes no sense", type(error).__name__) from None


def _stopped(proxy: Proxy, error: Exception, tried: str) -> Stopped:
    code, text = getattr(error, "error_code", None), str(error)
    if code in _OF_THE_SERVER:
        finding, words = _OF_THE_SERVER[code]
        return stop(finding, f"{tried}: {words} (says the proxy)", text)
    if code in _OF_THE_PROXY:
        finding, words = _OF_THE_PROXY[code]
        return stop(finding, f"{tried}: {words}", text)
    if "password authentication failure" in text:
        proxy.admission.state = "refused"
        return stop("proxy.auth-refused", f"{tried}: the proxy refused user name or password", text)
    if "No acceptable authentication" in text:
        wants = "another kind of logon" if proxy.password else "a logon, and none is set (socks5://USER@…, proxy_password)"
        return stop("proxy.refused", f"{tried}: the proxy wants {wants}", text)
    return stop("proxy.failed", f"{tried}: {text}", text)
