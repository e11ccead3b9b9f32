"""DER → names, dates, identifiers, thumbprints, signature links. It reads and has no opinion.

cryptography's x509 is imported where it is used, since `probe --version` and `import probe` need none of it.
"""

import base64
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

# How .NET, and so Exchange, abbreviates attribute types in a name; others stand as OID.N.N.N.
_DOTNET_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "S",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "T",
    "2.5.4.42": "G",
    "2.5.4.43": "I",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "E",
}


# Signature links are looked for among so many: each pair costs a verification, and no honest chain is longer.
MOST_LINKED = 10


@lru_cache(maxsize=256)
def read_chain(chain: tuple[bytes, ...]) -> tuple[dict[str, Any], ...]:
    """Each certificate of a chain (DER, as sent, leaf first) as plain facts; one that cannot be read has `error`.

    Remembered by the octets, since a server shows the same chain each time it is probed: do not change what is returned.
    """
    from cryptography import x509

    loaded: list[x509.Certificate | Exception] = []
    for der in chain:
        try:
            loaded.append(x509.load_der_x509_certificate(der))
        except Exception as error:
            # ValueError for bad DER, InvalidVersion and others for what parses but makes no sense.
            loaded.append(error)
    return tuple(_entry(der, loaded, index) for index, der in enumerate(chain))


def _entry(der: bytes, loaded: Sequence["x509.Certificate | Exception"], index: int) -> dict[str, Any]:
    certificate = loaded[index]
    unread = {"subject": "", "issuer": "", "sha1": _sha1(der), "sha256": _sha256(der)}
    if isinstance(certificate, Exception):
        return {**unread, "error": str(certificate)}
    following = loaded[index + 1] if index + 1 < len(loaded) else None
    among = list(enumerate(loaded))[:MOST_LINKED]
    try:
        return {
            **_identity(certificate, der),
            **_key(certificate),
            **_extensions(certificate),
            "self_signed": _signed_by(certificate, certificate),
            "signed_by_next": _signed_by(certificate, following) if following is not None else None,
            # Which of those sent signed this one, wherever it stands.
            "issuer_index": next((other for other, issuer in among if other != index and _signed_by(certificate, issuer)), None),
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
        "sha256": _sha256(der),
    }


def _sha1(der: bytes) -> str:
    return hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()


def _sha256(der: bytes) -> str:
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
    return wanted is None or given is None or bool(wanted.key_identifier == given.digest)


def dotnet_name(name: "x509.Name") -> str:
    """A distinguished name as .NET prints it: most specific first, `, ` between, its own quoting.

    Source: X500DistinguishedName.Name, as seen in Exchange's TlsCertificateName.
    """
    parts = []
    for rdn in reversed(list(name.rdns)):
        attributes = [
            f"{_DOTNET_NAMES.get(a.oid.dotted_string, 'OID.' + a.oid.dotted_string)}={_dotnet_value(a.value)}" for a in rdn
        ]
        parts.append(" + ".join(attributes))
    return ", ".join(parts)


def _dotnet_value(value: str | bytes) -> str:
    text = value if isinstance(value, str) else "#" + value.hex().upper()
    if any(character in text for character in ',+"\\<>;=\n#') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def identifier(entry: Mapping[str, Any]) -> str:
    """Exchange's TlsCertificateName of a certificate: `<I>issuer<S>subject`."""
    return f"<I>{entry['issuer']}<S>{entry['subject']}"


def assignment(certificate_name: str) -> str:
    """The line that assigns a certificate to Exchange's connector, ready to paste into the Exchange Management Shell."""
    quoted = certificate_name.replace("'", "''")
    return f"Set-ReceiveConnector 'SERVER\\Client Frontend SERVER' -TlsCertificateName '{quoted}'"


# What Windows, .NET and OpenSSL call the same attribute.
_SAME_ATTRIBUTE = {
    "ST": "S", "EMAILADDRESS": "E", "EMAIL": "E", "GN": "G", "GIVENNAME": "G", "SURNAME": "SN", "TITLE": "T", "INITIALS": "I",
    "STREETADDRESS": "STREET", "DOMAINCOMPONENT": "DC", "COMMONNAME": "CN",
}  # fmt: skip


def same_identifier(first: str, second: str) -> bool:
    """Whether two `<I>issuer<S>subject` texts name the same certificate: compared as parsed names, in either order of their parts,
    without case, with whatever spelling of the attribute types."""
    left, right = (_parsed_identifier(text) for text in (first, second))
    return left is not None and left == right


def _parsed_identifier(text: str) -> tuple[Any, ...] | None:
    head, found, rest = text.strip().partition("<S>")
    if not found or not head.startswith("<I>"):
        return None
    issuer, subject = parsed_name(head[3:]), parsed_name(rest)
    return None if issuer is None or subject is None else (_either_way(issuer), _either_way(subject))


def _either_way(name: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """.NET prints the most specific part first, OpenSSL last: both ways are one name."""
    return min(tuple(name), tuple(reversed(name)))


def parsed_name(text: str) -> list[tuple[str, str]] | None:
    """A distinguished name's parts as (attribute type, folded value); None when it is none.

    Takes .NET's quoting ("" within quotes) and RFC 4514's (backslash), `,`, `;` or `+` between the parts.
    """
    parts = [_part(part) for part in _split(text)]
    return None if not parts or None in parts else [part for part in parts if part]


def _split(text: str) -> list[str]:
    parts, quoted, escaped = [""], False, False
    for character in text:
        if escaped or (character not in ",;+" and character != "\\") or (quoted and character != "\\"):
            parts[-1] += character
            quoted ^= character == '"' and not escaped
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            parts.append("")
    return parts


def _part(text: str) -> tuple[str, str] | None:
    kind, equals, value = text.strip().partition("=")
    if not equals or not kind.strip():
        return None
    kind = kind.strip().upper().removeprefix("OID.")
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1].replace('""', '"')
    return _DOTNET_NAMES.get(kind, _SAME_ATTRIBUTE.get(kind, kind)), " ".join(value.split()).casefold()


def rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def name_matches(entry: Mapping[str, Any], host: str) -> bool:
    """Whether a certificate is valid for `host` (RFC 9525 section 6): subjectAltName only, wildcard for one whole label."""
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return any(dns_name_matches(name, host) for name in entry.get("dns_names", ()))
    return address in entry.get("ip_addresses", ())


def dns_name_matches(pattern: str, host: str) -> bool:
    """One dNSName against one host name; both compared as A-labels, without case."""
    presented, wanted = _labels(pattern), _labels(host)
    if not presented or len(presented) != len(wanted):
        return False
    if presented[0] == "*":
        # A wildcard needs something that is not one: `*` and `*.com` would match half the world.
        return len(presented) > 2 and presented[1:] == wanted[1:] and "*" not in presented[1:]
    return "*" not in pattern and presented == wanted


def why_not(entry: Mapping[str, Any], host: str) -> list[str]:
    """Of each name in the certificate, why it does not match `host`; a name that matches is left out."""
    wanted = _labels(host)
    told = [f"{name}: {_why_not(name, wanted)}" for name in entry.get("dns_names", ()) if not dns_name_matches(name, host)]
    told += [f"{address}: an IP address" for address in entry.get("ip_addresses", ()) if address != host.strip("[]")]
    if not entry.get("has_san"):
        told += [f"CN {name}: clients do not look at the CN (RFC 9525)" for name in entry.get("common_names", ())]
    return told


def _why_not(pattern: str, wanted: list[str]) -> str:
    presented = _labels(pattern)
    if not presented:
        return "not a name that DNS can hold"
    if "*" not in pattern:
        return "another name"
    if presented[0] != "*" or "*" in "".join(presented[1:]):
        return "a wildcard counts only as the whole left-most label"
    if len(presented) <= 2:
        return "a wildcard for a whole top-level domain counts for nothing"
    if wanted[-len(presented) + 1 :] == presented[1:]:
        return "a wildcard stands for one label, no more and no less"
    return "another domain"


def _labels(name: str) -> list[str]:
    name = name.rstrip(".").lower()
    try:
        name = name.encode("ascii").decode()
    except UnicodeError:
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            return []
    labels = name.split(".")
    return labels if all(labels) else []


# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_NAME_CODES = (62, 64)


def certificate_facts(
    chain: Sequence[bytes], *, host: str, openssl_code: int | None, openssl_text: str, now: datetime
) -> dict[str, Any]:
    """The facts of a `*.certificate` stage (contract section 5).

    `openssl_code` is None when OpenSSL was asked not to verify. OpenSSL looks at the name (codes 62, 64) before it looks at
    dates and signatures, so with these codes `trusted` also asks our own reading of the chain.
    """
    entries = read_chain(tuple(chain))
    leaf: Mapping[str, Any] = entries[0] if entries else {}
    sound = openssl_code == 0 or (openssl_code in _NAME_CODES and _dates_hold(entries, now))
    return {
        "trusted": bool(entries) and sound,
        "openssl_code": openssl_code,
        "openssl_text": openssl_text,
        "name_checked": host,
        "name_matches": name_matches(leaf, host) if leaf else False,
        "name_reasons": why_not(leaf, host) if leaf and not name_matches(leaf, host) else [],
        "thumbprint": leaf.get("sha1"),
        "sha256": leaf.get("sha256"),
        "not_before": leaf.get("not_before"),
        "not_after": leaf.get("not_after"),
        "subject_names": [*leaf.get("dns_names", ()), *leaf.get("ip_addresses", ())],
        "certificate_name": identifier(leaf) if leaf else None,
        "scts": leaf.get("scts"),
        "checked_at": rfc3339(now),
        "chain": list(entries),
        "chain_der": [base64.b64encode(der).decode() for der in chain],
    }


def _dates_hold(entries: Sequence[Mapping[str, Any]], now: datetime) -> bool:
    instant = rfc3339(now)
    return all(entry.get("not_before", "") <= instant <= entry.get("not_after", "") for entry in entries)
