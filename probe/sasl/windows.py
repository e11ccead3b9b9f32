"""NTLM (MS-SMTPNTLM, MS-IMAP, MS-POP3) and GSSAPI, which is Kerberos (RFC 4752), by pyspnego.

With a password NTLM is pyspnego's own on every system, so that one profile gives the same verdict everywhere; without one, on
Windows, SSPI logs on as the user that the probe runs as. Kerberos is SSPI's on Windows, MIT's elsewhere.

NTLM is weak (RC4, MD4, relayed where a server does not insist on channel binding): `auto` takes it only when the server offers
nothing else that a password can be used with.
"""

import sys
from typing import Any

from probe.sasl import ChallengeError, Credentials, Mechanism, Responses, Service

if sys.platform == "win32":
    _EXTRA = "it is a part of Windows (SSPI): pip install --upgrade pyspnego sspilib"
else:
    _EXTRA = "install the extra: pip install 'submission-probe[kerberos]' (it needs MIT Kerberos: libkrb5-dev on Debian)"


# MS-NLMP sections 2.2.1.2 and 2.2.2.5: the negotiate flags stand at octet 20 of a CHALLENGE.
_SIGNATURE, _TARGET_INFO = b"NTLMSSP\0\x02\0\0\0", 0x00800000


def ntlm(credentials: Credentials, service: Service) -> Responses:
    client = _client(credentials, service, "ntlm")
    # MS-SMTPNTLM section 3.1.5: the first challenge is words ("ntlm supported"), then come NEGOTIATE and AUTHENTICATE.
    yield b""
    challenge = yield _step(client, None)
    _refuse_ntlmv1(challenge)
    yield _step(client, challenge)


def _refuse_ntlmv1(challenge: bytes) -> None:
    """Without TargetInfo no NTLMv2 answer can be made (MS-NLMP section 3.1.5.1.2): Exim's `spa` sends none."""
    if challenge.startswith(_SIGNATURE) and len(challenge) >= 24 and not int.from_bytes(challenge[20:24], "little") & _TARGET_INFO:
        text = "NTLM: the server can do NTLMv1 only, which is not answered: a captured answer gives the password away"
        raise ChallengeError(text, "auth.mechanism-failed")


def gssapi(credentials: Credentials, service: Service) -> Responses:
    client = _client(credentials, service, "kerberos")
    challenge = yield _step(client, None)
    while not client.complete:
        challenge = yield _step(client, challenge)
    # RFC 4752 section 3.1: the server offers security layers; we choose none, since TLS is there, and name the user.
    offer = _unwrapped(client, challenge)
    if len(offer) != 4 or not offer[0] & 1:
        raise ChallengeError("GSSAPI: the server insists on a security layer, and mail over TLS needs none")
    yield client.wrap(b"\x01\0\0\0" + credentials.username.encode(), encrypt=False).data


def _client(credentials: Credentials, service: Service, protocol: str) -> Any:
    import spnego
    from spnego.channel_bindings import GssChannelBindings
    from spnego.exceptions import SpnegoError

    bindings = None
    # For NTLM only: in SASL's GSSAPI the channel binding is NULL (RFC 4752 section 3.1).
    if service.binding is not None and protocol == "ntlm":
        # Extended Protection for Authentication: IIS and Exchange may insist on it.
        bindings = GssChannelBindings(application_data=b"tls-server-end-point:" + service.binding)
    password = credentials.secret or None
    # Without a password the ticket is in the credential cache, and so is whose it is.
    user = credentials.username if password else None
    options = spnego.NegotiateOptions.use_ntlm if protocol == "ntlm" and password else spnego.NegotiateOptions.none
    try:
        return spnego.client(
            user, password, service.host, service.name, channel_bindings=bindings, protocol=protocol, options=options
        )
    except ImportError:
        raise _missing(protocol) from None
    except SpnegoError as error:
        raise _failed(protocol, error, None) from None


def _step(client: Any, challenge: bytes | None) -> bytes:
    from spnego.exceptions import SpnegoError

    try:
        return client.step(challenge) or b""
    except SpnegoError as error:
        raise _failed(client.protocol, error, challenge) from None
    except Exception as error:
        if not challenge:
            raise _ours(client.protocol, error) from None
        # A peer's malformed token reaches pyspnego's parser as any kind of exception (struct.error, IndexError, …).
        raise ChallengeError(f"{client.protocol}: the token cannot be read: {error}") from None


def _unwrapped(client: Any, challenge: bytes) -> bytes:
    try:
        return bytes(client.unwrap(challenge).data)
    except Exception as error:
        raise ChallengeError(f"GSSAPI: the server's offer cannot be read: {error}") from None


def _failed(protocol: str, error: Exception, challenge: bytes | None) -> ChallengeError:
    from spnego.exceptions import BadBindingsError, InvalidTokenError

    text = " ".join(str(error).split())
    if protocol != "kerberos":
        # Before a challenge the server had no part in it; behind one, a token that makes no sense is its own.
        theirs = challenge and isinstance(error, (InvalidTokenError, BadBindingsError))
        return ChallengeError(f"{protocol}: {text}") if theirs else _ours(protocol, error)
    if "requires the Python gssapi library" in text or "is not available" in text or "No module" in text:
        return _missing(protocol)
    return ChallengeError(f"no Kerberos ticket for this server: {text}", "auth.no-ticket")


def _ours(protocol: str, error: Exception) -> ChallengeError:
    text = " ".join(str(error).split())
    return ChallengeError(f"{protocol}: this machine cannot make the answer: {text}", "auth.client-failed")


def _missing(protocol: str) -> ChallengeError:
    name = "GSSAPI needs a Kerberos library" if protocol == "kerberos" else "NTLM needs a library"
    return ChallengeError(f"{name}: {_EXTRA}", "auth.library-missing")


MECHANISMS = {
    "GSSAPI": Mechanism("GSSAPI", 85, initial=True, respond=gssapi, needs=("ticket", "password"), slow=True),
    "NTLM": Mechanism("NTLM", 5, initial=False, respond=ntlm, needs=("password", "ticket"), words_first=True),
}
