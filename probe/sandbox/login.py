"""SASL on the server's side, for all three protocols: passwords, SCRAM, bearer tokens, NTLM, client certificates.

PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), SCRAM (RFC 5802, 7677, by scramp), XOAUTH2 and OAUTHBEARER (RFC 7628), NTLM (by
pyspnego's acceptor), EXTERNAL (RFC 4422).
"""

import asyncio
import base64
import binascii
import hmac
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from probe.sandbox.mailbox import World

# What every personality can be set to offer, and what is offered when nothing is said.
MECHANISMS = (
    "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-512-PLUS", "XOAUTH2", "OAUTHBEARER", "NTLM", "EXTERNAL",
)  # fmt: skip
OFFERED = ("PLAIN", "LOGIN", "CRAM-MD5")
# Sends a challenge (base64 is added), gives the decoded response, or None when the client cancels or sends rubbish.
Ask = Callable[[bytes], Awaitable[bytes | None]]


@dataclass(frozen=True)
class Attempt:
    """One authentication: the initial response (None when there is none), how to ask, the client certificate's name."""

    world: World
    protocol: str
    initial: bytes | None
    ask: Ask
    tls: bool
    certificate_name: str | None = None

    async def first(self, challenge: bytes = b"") -> bytes:
        """The initial response, or the answer to a first challenge."""
        return (self.initial if self.initial is not None else await self.ask(challenge)) or b""

    def check(self, user: str, secret: str) -> str | None:
        return user if self.world.check(self.protocol, user, secret, tls=self.tls) else None

    def settled(self, user: str, right: bool) -> str | None:
        """For mechanisms that show no password: `check` is asked with it when the proof is right, else with none."""
        return self.check(user, self.world.accounts.get(user, "") if right else "")


def decoded(text: str) -> bytes | None:
    """A response's octets; None for `*` (cancel) and for what is no base64."""
    if text == "=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


async def authenticate(mechanism: str, attempt: Attempt) -> str | None:
    """Carry out one authentication; the user's name, or None when it is refused."""
    family = _FAMILIES.get(mechanism)
    user = await (_scram(mechanism, attempt) if family is None else family(attempt))
    if user is None:
        await asyncio.sleep(attempt.world.tarpit)
    return user


async def _plain(attempt: Attempt) -> str | None:
    parts = (await attempt.first()).split(b"\0")
    if len(parts) != 3:
        return None
    user, secret = (part.decode("utf-8", "replace") for part in parts[1:])
    return attempt.check(user, secret)


async def _login(attempt: Attempt) -> str | None:
    user = attempt.initial if attempt.initial is not None else await attempt.ask(b"Username:")
    secret = await attempt.ask(b"Password:") if user is not None else None
    if user is None or secret is None:
        return None
    return attempt.check(user.decode("utf-8", "replace"), secret.decode("utf-8", "replace"))


async def _cram(attempt: Attempt) -> str | None:
    challenge = f"<{secrets.token_hex(8)}@{attempt.world.fqdn}>".encode()
    user, _, digest = (await attempt.ask(challenge) or b"").decode("utf-8", "replace").rpartition(" ")
    known = attempt.world.accounts.get(user, "")
    expected = hmac.new(known.encode(), challenge, "md5").hexdigest()
    return attempt.settled(user, bool(known) and hmac.compare_digest(digest, expected))


async def _scram(mechanism: str, attempt: Attempt) -> str | None:
    from scramp import ScramException, ScramMechanism

    scram, asked = ScramMechanism(mechanism), ""

    def known(user: str) -> Any:
        nonlocal asked
        asked = user
        return scram.make_auth_info(attempt.world.accounts.get(user) or secrets.token_hex(16))

    binding = ("tls-server-end-point", attempt.world.binding) if mechanism.endswith("-PLUS") else None
    server = scram.make_server(known, channel_binding=binding)
    try:
        server.set_client_first((await attempt.first()).decode("utf-8", "replace"))
        final = await attempt.ask(server.get_server_first().encode())
        server.set_client_final((final or b"").decode("utf-8", "replace"))
        await attempt.ask(server.get_server_final().encode())
    except ScramException:
        return attempt.settled(asked, False)
    return attempt.settled(asked, True)


async def _oauth(attempt: Attempt) -> str | None:
    """XOAUTH2: `user=…^Aauth=Bearer …^A^A`; OAUTHBEARER: `n,a=…,^Ahost=…^Aauth=Bearer …^A^A`."""
    fields = (await attempt.first()).decode("utf-8", "replace").split("\x01")
    user = fields[0].removeprefix("user=").removeprefix("n,a=").removesuffix(",")
    token = next((field.removeprefix("auth=Bearer ") for field in fields if field.startswith("auth=Bearer ")), "")
    known = attempt.world.tokens.get(user, "")
    right = bool(known) and hmac.compare_digest(token.encode(), known.encode())
    if not right:
        await attempt.ask(json.dumps({"status": "400", "schemes": "Bearer", "scope": "https://mail.example/"}).encode())
    return attempt.settled(user, right)


async def _ntlm(attempt: Attempt) -> str | None:
    import spnego

    # pyspnego's acceptor finds passwords in the file that this variable names; nothing runs between here and its use.
    os.environ["NTLM_USER_FILE"] = str(attempt.world.ntlm_file)
    # pyspnego's own, on Windows too: SSPI would ask the machine's accounts.
    server = spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
    negotiate = await attempt.first(b"ntlm supported")
    try:
        challenge = server.step(negotiate)
        final = await attempt.ask(challenge or b"")
        os.environ["NTLM_USER_FILE"] = str(attempt.world.ntlm_file)
        server.step(final or b"")
    except Exception:
        return attempt.settled("", False)
    return attempt.settled((server.client_principal or "").split("\\")[-1], server.complete)


async def _external(attempt: Attempt) -> str | None:
    user = (await attempt.first()).decode("utf-8", "replace") or attempt.certificate_name or ""
    return attempt.settled(user, user == attempt.certificate_name)


_FAMILIES: dict[str, Callable[[Attempt], Awaitable[str | None]]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram,
    "XOAUTH2": _oauth,
    "OAUTHBEARER": _oauth,
    "NTLM": _ntlm,
    "EXTERNAL": _external,
}


def certificate_name(ssl_object: Any) -> str | None:
    """The common name of the client's certificate, which OpenSSL has verified; None without one."""
    certificate = ssl_object.getpeercert() if ssl_object is not None else None
    pairs = (pair for relative in (certificate or {}).get("subject", ()) for pair in relative)
    return next((value for name, value in pairs if name == "commonName"), None)
