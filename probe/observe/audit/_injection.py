"""Commands written behind STARTTLS in one piece: are they answered after TLS? (CVE-2011-0411 and its kin)

Three outcomes: answered after TLS: injectable; the connection closes or the commands are ignored: fine; nothing at all: undecided.
"""

import asyncio
from collections.abc import Awaitable, Callable

from probe.observe.audit import Facts
from probe.observe.connection import Connection, Trust
from probe.observe.trouble import Stopped

# How long an answer to the injected command may take; a healthy server never sends one.
LISTEN_SECONDS = 3.0
# RFC 8446 section 5.1: a record of type alert, of two octets.
_ALERT = bytes((0x15, 3))


async def inject(
    connection: Connection, together: bytes, go_ahead: Callable[[], Awaitable[bool]], trust: Trust, host: str, sane: bytes
) -> Facts:
    """Send STARTTLS and a command in one piece, do the handshake, listen, then see whether the session is sane."""
    await connection.write(together)
    if not await go_ahead():
        return Facts("undecided", "STARTTLS was refused when a command came with it")
    if connection.unread().startswith(_ALERT):
        # Dovecot 2.4 takes the line for a broken TLS record: an alert, and the end of the connection.
        return Facts("pass", "the server ended the connection with a TLS alert")
    if connection.unread():
        return Facts("fail", "the command behind STARTTLS was answered before TLS, in clear")
    try:
        await connection.start_tls(trust, host)
    except Stopped as error:
        return Facts("pass", f"the server ended the connection: {error.trouble.text}")
    connection.limit(asyncio.get_running_loop().time() + LISTEN_SECONDS)
    try:
        line = await connection.read_line("listen for an answer to the injected command")
    except Stopped as error:
        if error.trouble.id == "connect.closed":
            return Facts("pass", "the server closed the connection")
        return await _sanity(connection, sane)
    return Facts("fail", f"answered after TLS: {line.decode('utf-8', 'backslashreplace')}")


async def _sanity(connection: Connection, sane: bytes) -> Facts:
    """Silence is a pass only when the session answers what is asked inside TLS."""
    connection.limit(asyncio.get_running_loop().time() + LISTEN_SECONDS)
    await connection.write(sane)
    try:
        line = await connection.read_line("see whether the session is sane")
    except Stopped as error:
        return Facts("undecided", f"nothing is answered after TLS: {error.trouble.text}")
    return Facts("pass", f"ignored; the session goes on: {line.decode('utf-8', 'backslashreplace')}")
