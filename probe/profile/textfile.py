"""Files that a person made: text in the encodings that editors and shells write, and certificates in the forms that CAs hand out.

Windows PowerShell 5.1's `>` writes UTF-16 with a byte order mark, its `Out-File -Encoding utf8` UTF-8 with one; both are read.
An encoding that does not say what it is (ANSI, OEM) is refused and never guessed: a password guessed wrong locks an account.
"""

import base64
import binascii
import codecs
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

# UTF-32 first: its mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LONGEST_MARK = 4
NOT_TEXT = "is not UTF-8 text; save it as UTF-8 (Notepad: Save as, Encoding UTF-8; PowerShell: Set-Content -Encoding utf8)"


class NotText(ValueError):
    """The octets are no text that can be read; the message says what is wrong with a file and the cure, without its name."""


def encoding_of(start: bytes) -> str:
    """The encoding that a file's first octets ask for: its byte order mark's, else UTF-8."""
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8-sig")


def decoded(octets: bytes) -> str:
    """The text of a whole file, without its byte order mark. Raises NotText, which holds none of the octets."""
    try:
        return octets.decode(encoding_of(octets[:_LONGEST_MARK]))
    except UnicodeDecodeError:
        pass
    raise NotText(NOT_TEXT)


def read(path: Path) -> str:
    """The text of a file. Raises OSError, NotText."""
    return decoded(path.read_bytes())


# -- certificates ------------------------------------------------------------------------------------------------


class NoCertificate(ValueError):
    """The file holds no certificate that can be read; the message says why and the cure, without the file's name."""


_LABEL = "(?P<label>(?:X509 |TRUSTED )?CERTIFICATE|PKCS7)"
_PEM = re.compile(f"-----BEGIN {_LABEL}-----(?P<body>.*?)-----END (?P=label)-----", re.DOTALL)
_CURE = "give the CA's certificate as PEM (Windows: export as Base-64 encoded X.509), DER or PKCS#7"


def certificates(octets: bytes) -> tuple[bytes, ...]:
    """The certificates of a CA file, each in DER: PEM (in any encoding that `decoded` reads), DER or PKCS#7.

    Raises NoCertificate.
    """
    found = tuple(_from_der(octets) if octets[:1] == b"\x30" else _from_pem(_text(octets)))
    if not found:
        raise NoCertificate(f"holds no certificate; {_CURE}")
    return found


def _text(octets: bytes) -> str:
    try:
        return decoded(octets)
    except NotText:
        # Remarks between the certificates may be in any encoding; the certificates themselves are ASCII.
        return octets.decode("latin-1")


def _from_pem(text: str) -> Iterator[bytes]:
    for number, block in enumerate(_PEM.finditer(text), 1):
        try:
            octets = base64.b64decode("".join(block["body"].split()), validate=True)
        except binascii.Error:
            raise NoCertificate(f"certificate {number} in it is damaged (no base64)") from None
        if block["label"] == "PKCS7":
            yield from _from_pkcs7(octets)
        else:
            yield _checked(_first(octets), number)


def _from_der(octets: bytes) -> Iterator[bytes]:
    if b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" in octets[:32]:  # the object identifier of PKCS#7's signedData
        yield from _from_pkcs7(octets)
    else:
        yield _checked(_first(octets), 1)


def _from_pkcs7(octets: bytes) -> Iterator[bytes]:
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    try:
        found = pkcs7.load_der_pkcs7_certificates(octets)
    except ValueError:
        raise NoCertificate("holds a PKCS#7 bundle that cannot be read") from None
    yield from (certificate.public_bytes(Encoding.DER) for certificate in found)


def _first(octets: bytes) -> bytes:
    """The first DER value (X.690 section 8.1.3): OpenSSL's TRUSTED CERTIFICATE has its own settings behind it."""
    if len(octets) < 2:
        return octets
    size, start = octets[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(octets[2:start], "big")
    return octets[: start + size]


def _checked(der: bytes, number: int) -> bytes:
    from cryptography.x509 import load_der_x509_certificate

    try:
        # It warns of serial numbers that it will refuse one day; old roots have them.
        with warnings.catch_warnings(action="ignore"):
            load_der_x509_certificate(der)
    except ValueError:
        raise NoCertificate(f"certificate {number} in it is damaged or no certificate") from None
    return der
