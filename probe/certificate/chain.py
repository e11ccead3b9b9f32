"""DER → what stands in each certificate of a chain, and which signed which. It reads and has no opinion.

cryptography's x509 is imported where it is used, since `probe --version` and `import probe` need none of it.
"""

import hashlib
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from probe.certificate.distinguished_name import dotnet_name
from probe.certificate.extensions import readable_extensions

if TYPE_CHECKING:
    from cryptography import x509

# Signature links are looked for among so many: each pair costs a verification, and no honest chain is longer.
MOST_LINKED = 32


@lru_cache(maxsize=256)
def read_chain(chain: tuple[bytes, ...]) -> tuple[dict[str, object], ...]:
    """Each certificate of a chain (DER, as sent, leaf first) as plain facts; one that cannot be read has `error`.

    Remembered by the octets, since a server shows the same chain each time it is probed: do not change what is returned.
    """
    # cryptography warns of what it will refuse one day (a serial number of 0); it is judged here.
    with warnings.catch_warnings(action="ignore"):
        return _read(chain)


def _read(chain: tuple[bytes, ...]) -> tuple[dict[str, object], ...]:
    from cryptography import x509

    loaded: list[x509.Certificate | Exception] = []
    for der in chain:
        try:
            loaded.append(x509.load_der_x509_certificate(der))
        except Exception as error:
            # ValueError for bad DER, InvalidVersion and others for what parses but makes no sense.
            loaded.append(error)
    return tuple(_entry(der, loaded, index) for index, der in enumerate(chain))


def named_alike(chain: tuple[bytes, ...], roots: Sequence[bytes]) -> list[str]:
    """SHA-256 of the roots that have the name of an issuer which this chain lacks, or of a root that it has.

    Of the roots only names are read: a system's store has some 140.
    """
    entries = read_chain(chain)
    wanted = {entry["issuer"] for entry in entries if entry.get("self_signed") or not entry.get("issuers")} - {""}
    known = {entry["sha256"] for entry in entries}
    with warnings.catch_warnings(action="ignore"):
        return [found for root in roots if _subject(root) in wanted and (found := sha256(root)) not in known]


def _subject(der: bytes) -> str | None:
    """The name that a certificate is for; None where it cannot be read."""
    from cryptography import x509

    try:
        return dotnet_name(x509.load_der_x509_certificate(der).subject)
    except Exception:
        return None  # ValueError and others, as in _read


def _entry(der: bytes, loaded: Sequence["x509.Certificate | Exception"], index: int) -> dict[str, Any]:
    certificate = loaded[index]
    unread = {"subject": "", "issuer": "", "sha1": _sha1(der), "sha256": sha256(der)}
    if isinstance(certificate, Exception):
        return {**unread, "error": str(certificate)}
    following = loaded[index + 1] if index + 1 < len(loaded) else None
    # Each certifies the one before in TLS 1.2 (RFC 5246 section 7.4.2); TLS 1.3 takes any order (RFC 8446 section 4.4.2).
    among = list(enumerate(loaded))[:MOST_LINKED]
    try:
        # Several where one key has certificates of several issuers (cross-signed).
        issuers = [other for other, issuer in among if other != index and _signed_by(certificate, issuer)]
        readable, unread_extensions = readable_extensions(certificate, der)
        return {
            **_identity(certificate, der),
            **_key(certificate),
            **_extensions(readable),
            "unread_extensions": unread_extensions,
            "self_signed": _signed_by(certificate, certificate),
            "signed_by_next": _signed_by(certificate, following) if following is not None else None,
            "issuer_index": issuers[0] if issuers else None,
            "issuers": issuers,
        }
    except Exception as error:
        # Names, keys and extensions are parsed late, and a broken one raises one of a dozen kinds of exception: none may
        # hide the rest of the chain.
        return {**unread, "error": str(error)}


def _identity(certificate: "x509.Certificate", der: bytes) -> dict[str, Any]:
    return {
        "subject": dotnet_name(certificate.subject),
        "issuer": dotnet_name(certificate.issuer),
        "serial": f"{certificate.serial_number:X}",
        "not_before": rfc3339(certificate.not_valid_before_utc),
        "not_after": rfc3339(certificate.not_valid_after_utc),
        "sha1": _sha1(der),
        "sha256": sha256(der),
    }


def _sha1(der: bytes) -> str:
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def sha256(der: bytes) -> str:
    """A certificate's SHA-256, in upper-case hex digits as every thumbprint here."""
    return hashlib.sha256(der).hexdigest().upper()


def _key(certificate: "x509.Certificate") -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

    kinds = {
        rsa.RSAPublicKey: "RSA",
        ec.EllipticCurvePublicKey: "EC",
        dsa.DSAPublicKey: "DSA",
        ed25519.Ed25519PublicKey: "Ed25519",
        ed448.Ed448PublicKey: "Ed448",
    }
    key = certificate.public_key()
    kind = next((name for of_type, name in kinds.items() if isinstance(key, of_type)), type(key).__name__)
    try:
        digest = certificate.signature_hash_algorithm
        digest_name = digest.name if digest else None
    except Exception:
        # UnsupportedAlgorithm for a digest this build does not know: the OID still says what it is.
        digest_name = certificate.signature_algorithm_oid.dotted_string
    return {"key": kind, "key_bits": getattr(key, "key_size", None), "signature_hash": digest_name}


def _extensions(certificate: "x509.Certificate") -> dict[str, Any]:
    from cryptography import x509

    extensions = certificate.extensions
    basic = _extension(extensions, x509.BasicConstraints)
    usage = _extension(extensions, x509.ExtendedKeyUsage)
    return {
        "dns_names": _san(extensions, x509.DNSName),
        "ip_addresses": [str(address) for address in _san(extensions, x509.IPAddress)],
        "has_san": _extension(extensions, x509.SubjectAlternativeName) is not None,
        "common_names": [str(item.value) for item in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)],
        "ca": bool(basic and basic.ca),
        "basic_constraints": basic is not None,
        "self_issued": certificate.subject == certificate.issuer,
        "issuer_urls": _issuer_urls(_extension(extensions, x509.AuthorityInformationAccess)),
        # Public CAs embed these (RFC 6962 section 3.3), a company's own CA does not.
        "scts": len(_extension(extensions, x509.PrecertificateSignedCertificateTimestamps) or ()),
        "extended_key_usage": [oid.dotted_string for oid in usage] if usage is not None else None,
        "key_usage": _key_usage(_extension(extensions, x509.KeyUsage)),
    }


def _extension(extensions: "x509.Extensions", kind: Any) -> Any:
    from cryptography import x509

    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _san(extensions: "x509.Extensions", kind: Any) -> list[Any]:
    from cryptography import x509

    names = _extension(extensions, x509.SubjectAlternativeName)
    return list(names.get_values_for_type(kind)) if names is not None else []


def _issuer_urls(access: Any) -> list[str]:
    """Where the issuer's certificate can be had (RFC 5280 section 4.2.2.1, caIssuers). Never fetched here."""
    from cryptography import x509
    from cryptography.x509.oid import AuthorityInformationAccessOID

    if access is None:
        return []
    issuers = [item.access_location for item in access if item.access_method == AuthorityInformationAccessOID.CA_ISSUERS]
    return [location.value for location in issuers if isinstance(location, x509.UniformResourceIdentifier)]


def _key_usage(usage: Any) -> list[str] | None:
    if usage is None:
        return None
    known = ("digital_signature", "key_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
    return [name for name in known if getattr(usage, name)]


def _signed_by(certificate: "x509.Certificate", issuer: "x509.Certificate | Exception") -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    if not isinstance(issuer, x509.Certificate) or certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (UnsupportedAlgorithm, ValueError) as error:
        # SHA-1 and MD5 signatures are no longer computed; names and key identifiers still say whose it is.
        return "unsupported" in str(error).lower() and _key_identifiers_agree(certificate, issuer)
    except (InvalidSignature, TypeError):
        return False
    return True


def _key_identifiers_agree(certificate: "x509.Certificate", issuer: "x509.Certificate") -> bool:
    from cryptography import x509

    wanted = _extension(certificate.extensions, x509.AuthorityKeyIdentifier)
    given = _extension(issuer.extensions, x509.SubjectKeyIdentifier)
    # Self-signed and older certificates have none (RFC 5280 sections 4.2.1.1 and 4.2.1.2): then the names decide.
    return wanted is None or given is None or bool(wanted.key_identifier == given.digest)


def rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
