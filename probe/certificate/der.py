"""DER, as much of it as certificates take here (X.690 section 8.1): elements and their contents, octet for octet as they came."""

from collections.abc import Iterator


def elements(octets: bytes) -> Iterator[bytes]:
    """Each element whole, one after the other. Raises ValueError where the octets end too soon."""
    while octets:
        start, length = _header(octets)
        if start + length > len(octets):
            raise ValueError("the DER ends too soon")
        yield octets[: start + length]
        octets = octets[start + length :]


def content(element: bytes) -> bytes:
    """What stands in an element."""
    start, length = _header(element)
    return element[start : start + length]


def fields_of(certificate: bytes) -> Iterator[bytes]:
    """The fields of a certificate's TBSCertificate, in order (RFC 5280 section 4.1). Raises ValueError for what is none."""
    body = next(elements(content(certificate)), b"")
    yield from elements(content(body))


def element(tag: int, contents: bytes) -> bytes:
    """An element of these contents."""
    length = len(contents)
    if length < 0x80:
        return bytes([tag, length]) + contents
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + contents


def _header(octets: bytes) -> tuple[int, int]:
    """(where the content begins, how long it is)."""
    if len(octets) < 2:
        raise ValueError("the DER ends too soon")
    if octets[1] < 0x80:
        return 2, octets[1]
    count = octets[1] & 0x7F
    return 2 + count, int.from_bytes(octets[2 : 2 + count], "big")
