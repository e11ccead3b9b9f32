"""Certificates that no sound builder makes: any extension, critical or not, malformed or missing."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.certificates.chains import USAGES, Made

HOST = "example.com"
Extension = tuple[x509.ExtensionType, bool]


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def general(text: str) -> x509.GeneralName:
    if "/" in text:
        return x509.IPAddress(ip_network(text))
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DirectoryName(named(text[3:])) if text.startswith("CN=") else x509.DNSName._init_without_validation(text)


def san(*names: str, critical: bool = False) -> Extension:
    return x509.SubjectAlternativeName([general(name) for name in names]), critical


def usage(*names: str, critical: bool = False) -> Extension:
    return x509.KeyUsage(**{name: name in names for name in USAGES}), critical


def extended(*oids: x509.ObjectIdentifier, critical: bool = False) -> Extension:
    return x509.ExtendedKeyUsage(oids), critical


def basic(ca: bool, length: int | None = None, critical: bool = True) -> Extension:
    return x509.BasicConstraints(ca, length), critical


def only(*permitted: str, forbidden: tuple[str, ...] = (), critical: bool = True) -> Extension:
    """Name constraints; malformed ones too, which the class would refuse."""
    constraints = x509.NameConstraints([x509.DNSName("x")], None)
    constraints._permitted_subtrees = [general(name) for name in permitted] or None
    constraints._excluded_subtrees = [general(name) for name in forbidden] or None
    return constraints, critical


def raw(oid: x509.ObjectIdentifier | str, octets: bytes, critical: bool = False) -> Extension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid) if isinstance(oid, str) else oid, octets), critical


def issue(
    subject: x509.Name, by: Made | None, usual: list[Extension], *put: Extension, drop: tuple[Any, ...] = (), **more: Any
) -> Made:
    """A certificate with the `usual` extensions, those in `put` instead of or beside them, those of a kind in `drop` left out.
    `more`: key, issuer, days, serial."""
    key = more.get("key") or ec.generate_private_key(ec.SECP256R1())
    signer = by.key if by else key
    usual = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        *usual,
    ]
    chosen = {item[0].oid: item for item in (*usual, *put) if not isinstance(item[0], drop)}
    now, days = datetime.now(UTC), more.get("days", (-10, 90))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(more.get("issuer") or (by.certificate.subject if by else subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )
    # Not by add_extension and serial_number, which refuse what is not allowed.
    builder._extensions = [x509.Extension(item.oid, critical, item) for item, critical in chosen.values()]
    builder._serial_number = more.get("serial", builder._serial_number)
    return Made(builder.sign(signer, hashes.SHA256()), key)


def ca(name: str, by: Made | None = None, *put: Extension, **more: Any) -> Made:
    subject = more.pop("subject", None) or named(name)
    return issue(subject, by, [basic(True), usage("key_cert_sign", "crl_sign")], *put, **{"days": (-400, 4000), **more})


def ee(by: Made, *put: Extension, subject: x509.Name | None = None, names: tuple[str, ...] = (HOST,), **more: Any) -> Made:
    usual = [basic(False), usage("digital_signature"), extended(ExtendedKeyUsageOID.SERVER_AUTH), san(*names)]
    return issue(named(HOST) if subject is None else subject, by, usual, *put, **more)
