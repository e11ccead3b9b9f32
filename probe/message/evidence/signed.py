"""What a DKIM signature is over, and whether it holds: RFC 6376, RFC 8301 (no SHA-1, no key below 1024 bits), RFC 8463 (Ed25519).

Every step takes time in proportion to what it reads: mail of strangers goes through it. A key record is a stranger's too. OpenSSL
does the arithmetic; a modulus beyond 8192 bits or an exponent beyond 32 bits, which no signer uses, is not handed to it, since one
verification takes time with both.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence

from probe.message.evidence.header import Delivered, Field
from probe.plain import dataclass

LEAST_KEY_BITS = 1024
MOST_KEY_BITS = 8192
MOST_EXPONENT_BITS = 32
# Octets of one signature field, and of one key record: an RSA key of 8192 bits takes some 1500.
MOST_SIGNATURE, MOST_RECORD = 16_384, 8_192
_BLANKS = re.compile(rb"[ \t]+")
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SPACE = " \t\r\n"
# Mail is signed; these key records are for it (RFC 6376 section 3.6.1).
_SERVICES = {"*", "email"}


@dataclass(frozen=True, slots=True)
class Key:
    """What DNS had for a signature: the record's text, or why there is none. `missing`: DNS says that there is none (the signature
    does not hold); else nobody could say, and whether it holds is not known."""

    record: str | None
    problem: str = ""
    missing: bool = False
    resolver: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result`: `pass`, `fail`, or `unknown` where it could not be looked at; `why` in a few plain words."""

    result: str
    why: str | None = None
    key_bits: int | None = None
    testing: bool = False


def tags(text: str) -> dict[str, str] | None:
    """A tag list (RFC 6376 section 3.2); None for what is none: no `=`, a tag twice."""
    found: dict[str, str] = {}
    pieces = text.split(";")
    if not pieces[-1].strip(_SPACE):
        pieces.pop()
    for piece in pieces:
        name, sign, value = piece.partition("=")
        name = name.strip(_SPACE)
        if not sign or not _TAG.fullmatch(name) or name in found:
            return None
        found[name] = value.strip(_SPACE)
    return found


def unfolded(value: str) -> str:
    """Base64 and lists of names, without the blanks that folding put in."""
    return "".join(value.split())


def signed_text(field: Field, *, relaxed: bool) -> bytes:
    """The signature's own field as it is signed: the value of `b=` empty, no CRLF behind it (section 3.7)."""
    name, _, value = field.raw.partition(b":")
    pieces = value.split(b";")
    for at, piece in enumerate(pieces):
        tag, sign, _ = piece.partition(b"=")
        if tag.strip() == b"b" and sign:
            pieces[at] = tag + sign
    emptied = Field(field.name, name + b":" + b";".join(pieces).removesuffix(b"\r\n") + b"\r\n")
    return header(emptied, relaxed=relaxed).removesuffix(b"\r\n")


def header(field: Field, *, relaxed: bool) -> bytes:
    """A field in its canonical form (section 3.4.1, 3.4.2)."""
    if not relaxed:
        return field.raw
    value = _BLANKS.sub(b" ", field.value.replace(b"\r\n", b"")).strip(b" ")
    return field.name.encode() + b":" + value + b"\r\n"


def body(octets: bytes, *, relaxed: bool) -> bytes:
    """The body in its canonical form (section 3.4.3, 3.4.4). Not by one expression for blanks before a line's end: that takes time
    with the square of a long line."""
    lines = octets.split(b"\r\n")
    if relaxed:
        lines = [_BLANKS.sub(b" ", line).rstrip(b" ") for line in lines]
    last = len(lines)
    while last and not lines[last - 1]:
        last -= 1
    if not last:
        return b"" if relaxed else b"\r\n"
    return b"\r\n".join(lines[:last]) + b"\r\n"


def selected(message: Delivered, names: Sequence[str]) -> list[Field]:
    """The fields that `h=` names, each name from the bottom of the header (section 5.4.2); one that is not there adds nothing."""
    left: dict[str, list[Field]] = {}
    for field in message.fields:
        left.setdefault(field.name, []).append(field)
    return [found.pop() for name in names if (found := left.get(name.lower()))]


class Bodies:
    """Digests of one body, each made once however many signatures ask for it."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._canonical: dict[bool, bytes] = {}
        self._digests: dict[tuple[bool, int | None], bytes] = {}

    def digest(self, *, relaxed: bool, length: int | None) -> bytes | None:
        """SHA-256 of the body, or of its first octets (`l=`); None where it has fewer than that."""
        if relaxed not in self._canonical:
            self._canonical[relaxed] = body(self._octets, relaxed=relaxed)
        octets = self._canonical[relaxed]
        if length is not None and length > len(octets):
            return None
        if (relaxed, length) not in self._digests:
            self._digests[relaxed, length] = hashlib.sha256(octets[:length]).digest()
        return self._digests[relaxed, length]


def decoded(text: str) -> bytes | None:
    """Base64 with blanks in it; None for what is none."""
    try:
        return base64.b64decode(unfolded(text), validate=True)
    except (binascii.Error, ValueError):
        return None


def held(key: Key, algorithm: str, data: bytes, signature: bytes) -> Outcome:
    """Whether this signature over this data was made by the record's key; `algorithm` is `rsa-sha256` or `ed25519-sha256`."""
    if key.record is None:
        return Outcome("fail" if key.missing else "unknown", key.problem)
    record = tags(key.record)
    if record is None or "p" not in record or record.get("v", "DKIM1") != "DKIM1":
        return Outcome("fail", "the key record is malformed")
    testing = "y" in unfolded(record.get("t", "")).split(":")
    if wrong := _unfit(record, algorithm):
        return Outcome("fail", wrong, None, testing)
    public = decoded(record["p"])
    if public is None or len(public) > MOST_RECORD:
        return Outcome("fail", "the key in the record is malformed", None, testing)
    if algorithm == "ed25519-sha256":
        return _held_by_ed25519(public, data, signature, testing)
    return _held_by_rsa(public, data, signature, testing)


def _unfit(record: Mapping[str, str], algorithm: str) -> str | None:
    """Why a key is not for this signature (section 6.1.2); None where it is."""
    if not unfolded(record["p"]):
        return "the key was revoked: its record is there, and empty"
    if record.get("k", "rsa") != algorithm.partition("-")[0]:
        return "the key record is for another kind of signature"
    if "h" in record and "sha256" not in unfolded(record["h"]).split(":"):
        return "the key record does not allow SHA-256"
    if not _SERVICES & set(unfolded(record.get("s", "*")).split(":")):
        return "the key record is not for mail"
    return None


_NOT_BY_THIS_KEY = "a signed header field was changed on the way, or the key was replaced"


def _held_by_ed25519(public: bytes, data: bytes, signature: bytes, testing: bool) -> Outcome:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        # RFC 8463 section 3: what is signed is the SHA-256 of the data.
        Ed25519PublicKey.from_public_bytes(public).verify(signature, hashlib.sha256(data).digest())
    except InvalidSignature:
        return Outcome("fail", _NOT_BY_THIS_KEY, 256, testing)
    except ValueError:
        return Outcome("fail", "the key in the record is malformed", None, testing)
    return Outcome("pass", None, 256, testing)


def _held_by_rsa(public: bytes, data: bytes, signature: bytes, testing: bool) -> Outcome:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(public)
    except (ValueError, UnsupportedAlgorithm):
        return Outcome("fail", "the key in the record is malformed", None, testing)
    if not isinstance(key, RSAPublicKey):
        return Outcome("fail", "the key in the record is no RSA key", None, testing)
    bits = key.key_size
    if bits > MOST_KEY_BITS or key.public_numbers().e.bit_length() > MOST_EXPONENT_BITS:
        return Outcome(
            "fail", f"the key is beyond what is verified ({MOST_KEY_BITS} bits, exponent {MOST_EXPONENT_BITS} bits)", bits
        )
    if bits < LEAST_KEY_BITS:
        return Outcome("fail", f"the key is too short ({bits} bits; RFC 8301 wants {LEAST_KEY_BITS})", bits, testing)
    try:
        key.verify(signature, data, PKCS1v15(), SHA256())
    except InvalidSignature:
        return Outcome("fail", _NOT_BY_THIS_KEY, bits, testing)
    return Outcome("pass", None, bits, testing)
