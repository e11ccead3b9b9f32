"""A certificate's extensions, each for itself: one that cannot be read must not hide the names that stand in another."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from probe.certificate.der import content, element, elements, fields_of

if TYPE_CHECKING:
    from cryptography import x509

# More is no honest certificate; each costs a copy.
MOST_EXTENSIONS = 100
# X.690: universal SEQUENCE and OBJECT IDENTIFIER; the context tag 3 of TBSCertificate's extensions (RFC 5280 section 4.1).
_SEQUENCE, _OID, _EXTENSIONS = 0x30, 0x06, 0xA3


def readable_extensions(certificate: "x509.Certificate", der: bytes) -> tuple["x509.Certificate", list[str]]:
    """(the certificate with those of its extensions that can be read, the OIDs of the others).

    cryptography parses all of them or none. Where it fails, each is tried in a copy of the certificate that has it alone.
    Raises ValueError for octets that are no certificate.
    """
    if _can_be_read(certificate):
        return certificate, []
    found = list(islice(_extensions(der), MOST_EXTENSIONS))
    good = [octets for octets in found if _can_be_read(_with(der, [octets]))]
    return _with(der, good), [_oid(octets) for octets in found if octets not in good]


def _can_be_read(certificate: "x509.Certificate") -> bool:
    try:
        _ = certificate.extensions
    except Exception:
        # ValueError for bad DER, DuplicateExtension, UnsupportedGeneralNameType and others for what parses but makes no sense.
        return False
    return True


def _with(der: bytes, extensions: list[bytes]) -> "x509.Certificate":
    """The same certificate with these extensions; its signature no longer holds, and nobody asks it to."""
    from cryptography import x509

    _, *rest = elements(content(der))
    fields = [field for field in fields_of(der) if field[0] != _EXTENSIONS]
    if extensions:
        fields.append(element(_EXTENSIONS, element(_SEQUENCE, b"".join(extensions))))
    return x509.load_der_x509_certificate(element(_SEQUENCE, element(_SEQUENCE, b"".join(fields)) + b"".join(rest)))


def _extensions(der: bytes) -> Iterator[bytes]:
    for field in fields_of(der):
        if field[0] == _EXTENSIONS:
            yield from elements(content(content(field)))


def _oid(extension: bytes) -> str:
    """The dotted form of the OID that an extension begins with (X.690 section 8.19)."""
    first = next(elements(content(extension)))
    numbers, value = [], 0
    for octet in content(first):
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    top = min(numbers[0] // 40, 2) if first[0] == _OID and numbers else 0
    return ".".join(map(str, [top, numbers[0] - 40 * top, *numbers[1:]])) if numbers else ""
