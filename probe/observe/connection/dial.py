"""TCP to the first address that answers, a new candidate every 250 ms (RFC 8305 section 5), each attempt kept."""

import asyncio
import socket
from collections.abc import Sequence

from probe.observe.connection.deadline import Limit
from probe.observe.connection.resolve import Address
from probe.observe.trouble import Stopped, trouble_of
from probe.plain import dataclass
from probe.record import Trouble

STAGGER_SECONDS = 0.25


@dataclass(slots=True)
class Attempt:
    """One address tried: `seconds` until it answered or failed, None while open; `trouble` when it failed."""

    address: Address
    seconds: float | None = None
    trouble: Trouble | None = None


async def dial(addresses: Sequence[Address], deadline: Limit, attempts: list[Attempt]) -> tuple[socket.socket, Address]:
    """Connect to the first of `addresses` that answers; `attempts` is filled as they are tried.

    Raises Stopped with the first address's trouble when none answers before the deadline.
    """
    loop = asyncio.get_running_loop()
    tasks: dict[asyncio.Task[socket.socket], Attempt] = {}
    waiting = list(addresses)
    try:
        while waiting or tasks:
            if waiting:
                attempt = Attempt(waiting.pop(0))
                attempts.append(attempt)
                tasks[loop.create_task(_connect(attempt, deadline))] = attempt
            done, _ = await asyncio.wait(tasks, timeout=STAGGER_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                attempt = tasks.pop(task)
                if task.exception() is None:
                    return task.result(), attempt.address
    finally:
        await _abandon(tasks)
    raise Stopped(_worst(attempts))


async def _connect(attempt: Attempt, deadline: Limit) -> socket.socket:
    loop = asyncio.get_running_loop()
    began = loop.time()
    tried = f"connect to {attempt.address.ip} port {attempt.address.port}"
    try:
        return await _open(attempt.address, deadline)
    except (OSError, TimeoutError) as error:
        attempt.trouble = trouble_of(error, tried)
        raise
    finally:
        attempt.seconds = loop.time() - began


async def _open(address: Address, deadline: Limit) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Commands are small and each waits for its reply: Nagle's algorithm would only add delay.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with deadline.limit():
            await asyncio.get_running_loop().sock_connect(sock, (address.ip, address.port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _abandon(tasks: dict[asyncio.Task[socket.socket], Attempt]) -> None:
    """End the attempts that lost the race, and close a socket that was won at the same moment."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, socket.socket):
            outcome.close()


def _worst(attempts: Sequence[Attempt]) -> Trouble:
    """The first address's trouble stands for all; the text says how many others failed too."""
    troubles = [attempt.trouble for attempt in attempts if attempt.trouble]
    if not troubles:
        return Trouble("dns.no-record", "connect: there is no address to try")
    first = troubles[0]
    if len(troubles) == 1:
        return first
    others = "; ".join(trouble.text for trouble in troubles[1:4])
    return Trouble(first.id, f"{first.text} (and {len(troubles) - 1} more address(es) failed: {others})", first.evidence)
