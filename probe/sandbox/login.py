"""SASL on the server's side: PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), for all three protocols."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Awaitable, Callable

from probe.sandbox.mailbox import World

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
# Sends a challenge (base64 is added), gives the decoded response, or None when the client cancels or sends rubbish.
Ask = Callable[[bytes], Awaitable[bytes | None]]


def decoded(text: str) -> bytes | None:
    """A response's octets; None for `*` (cancel) and for what is no base64."""
    if text == "=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


async def authenticate(
    world: World, protocol: str, mechanism: str, initial: bytes | None, ask: Ask, *, tls: bool
) -> str | None:
    """Carry out one authentication; the user's name, or None when it is refused."""
    if mechanism == "PLAIN":
        return await _plain(world, protocol, initial, ask, tls)
    if mechanism == "LOGIN":
        return await _login(world, protocol, initial, ask, tls)
    return await _cram(world, protocol, ask, tls)


async def _plain(world: World, protocol: str, initial: bytes | None, ask: Ask, tls: bool) -> str | None:
    response = initial if initial is not None else await ask(b"")
    parts = (response or b"").split(b"\0")
    if len(parts) != 3:
        return None
    user, secret = (part.decode("utf-8", "replace") for part in parts[1:])
    return user if world.check(protocol, user, secret, tls=tls) else None


async def _login(world: World, protocol: str, initial: bytes | None, ask: Ask, tls: bool) -> str | None:
    user = initial if initial is not None else await ask(b"Username:")
    secret = await ask(b"Password:") if user is not None else None
    if user is None or secret is None:
        return None
    name = user.decode("utf-8", "replace")
    return name if world.check(protocol, name, secret.decode("utf-8", "replace"), tls=tls) else None


async def _cram(world: World, protocol: str, ask: Ask, tls: bool) -> str | None:
    challenge = f"<{secrets.token_hex(8)}@{world.fqdn}>".encode()
    user, _, digest = (await ask(challenge) or b"").decode("utf-8", "replace").rpartition(" ")
    known = world.accounts.get(user, "")
    expected = hmac.new(known.encode(), challenge, "md5").hexdigest()
    # The password itself is not seen here: `check` is asked with it when the digest is right, else with none.
    right = bool(known) and hmac.compare_digest(digest, expected)
    return user if world.check(protocol, user, known if right else "", tls=tls) else None
