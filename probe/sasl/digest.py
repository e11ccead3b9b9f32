"""DIGEST-MD5 (RFC 2831; made historic by RFC 6331): used only when a profile names it, for servers that still have it.

No maintained library speaks it. Quality of protection is `auth` only; the server's proof (`rspauth`) is checked.
"""

import hashlib
import hmac
import re

from probe.sasl import ChallengeError, Credentials, Mechanism, Responses, Service

_DIRECTIVE = re.compile(rb'\s*([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))\s*(?:,|$)')


def directives(text: bytes) -> dict[str, bytes]:
    """`name="value",name=value` → values by lower-case name; of a repeated one the first (RFC 2831 section 7.1)."""
    found: dict[str, bytes] = {}
    for match in _DIRECTIVE.finditer(text):
        name = match[1].decode().lower()
        value = re.sub(rb"\\(.)", rb"\1", match[2]) if match[2] is not None else match[3]
        found.setdefault(name, value)
    return found


def digest_md5(credentials: Credentials, service: Service) -> Responses:
    said = directives((yield b""))
    # RFC 2831 section 2.1.1; a missing `algorithm` is let pass, and a missing `qop` means `auth`.
    if "nonce" not in said or said.get("algorithm", b"md5-sess").lower() != b"md5-sess":
        raise ChallengeError("DIGEST-MD5: the challenge has no nonce, or another algorithm than md5-sess")
    if b"auth" not in said.get("qop", b"auth").lower().replace(b" ", b"").split(b","):
        raise ChallengeError("DIGEST-MD5: the server insists on a security layer, and mail over TLS needs none")
    cnonce = service.nonce.encode()
    uri = f"{service.name}/{service.host}".encode()
    secret = _a1(credentials, said, cnonce)
    rest = (said["nonce"], cnonce, uri)
    parts = [
        b'username="' + _quoted(credentials.username.encode()) + b'"',
        b'realm="' + _quoted(said.get("realm", b"")) + b'"',
        b'nonce="' + _quoted(said["nonce"]) + b'"',
        b'cnonce="' + cnonce + b'",nc=00000001,qop=auth,charset=utf-8',
        b'digest-uri="' + _quoted(uri) + b'"',
        b"response=" + _response(secret, b"AUTHENTICATE:", *rest),
    ]
    final = directives((yield b",".join(parts)))
    # The server's proof is the same digest without the verb (RFC 2831 section 2.1.3).
    if not hmac.compare_digest(final.get("rspauth", b""), _response(secret, b":", *rest)):
        raise ChallengeError("DIGEST-MD5: the server's own proof is wrong", "auth.server-unproven")
    yield b""


def _a1(credentials: Credentials, said: dict[str, bytes], cnonce: bytes) -> bytes:
    who = b":".join((credentials.username.encode(), said.get("realm", b""), credentials.secret.encode()))
    return _md5(who).digest() + b":" + said["nonce"] + b":" + cnonce


def _response(a1: bytes, verb: bytes, nonce: bytes, cnonce: bytes, uri: bytes) -> bytes:
    """RFC 2831 section 2.1.2.1: HEX(KD(HEX(H(A1)), nonce:nc:cnonce:qop:HEX(H(A2))))."""
    a2 = _md5(verb + uri).hexdigest()
    text = b":".join((_md5(a1).hexdigest().encode(), nonce, b"00000001", cnonce, b"auth", a2.encode()))
    return _md5(text).hexdigest().encode()


def _md5(octets: bytes) -> "hashlib._Hash":
    return hashlib.md5(octets, usedforsecurity=False)


def _quoted(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


MECHANISMS = {
    "DIGEST-MD5": Mechanism("DIGEST-MD5", strength=0, initial=False, respond=digest_md5, proof=2),
}
