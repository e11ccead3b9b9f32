"""A throw-away CA and the leaf that the sandbox shows: root → leaf, EC P-256, valid for days."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_Issuer = tuple[ec.EllipticCurvePrivateKey, x509.Name]


def make_context(folder: Path, fqdn: str, fault: str | None, user: str = "client") -> tuple[ssl.SSLContext, Path, bytes]:
    """A server context for the sandbox's names, the file with the root that a client should trust, the leaf's SHA-256.

    `client.pem` in the folder is a client certificate of that user, which the server trusts.
    """
    root = _root("Sandbox CA")
    signer = _root("Another CA") if fault == "untrusted" else root
    names = ["other.sandbox.test"] if fault == "wrong-name" else [fqdn, "localhost", "127.0.0.1", "::1"]
    now = datetime.now(UTC)
    until = now - timedelta(days=1) if fault == "expired" else now + timedelta(days=7)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = (key, _name(names[0])) if fault == "self-signed" else signer[:2]
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if fault == "client-only" else ExtendedKeyUsageOID.SERVER_AUTH
    leaf = _leaf(key, names, issuer, now - timedelta(days=3), until, usage)
    ca_file, leaf_file = folder / "root.pem", folder / "leaf.pem"
    ca_file.write_bytes(root[2].public_bytes(Encoding.PEM))
    leaf_file.touch(mode=0o600)
    leaf_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + leaf.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf_file)
    _client(folder / "client.pem", user, root[:2], now)
    context.load_verify_locations(ca_file)
    return context, ca_file, leaf.fingerprint(hashes.SHA256())


def _client(file: Path, user: str, issuer: _Issuer, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = _leaf(key, [user], issuer, now - timedelta(days=3), now + timedelta(days=7), usage)
    file.touch(mode=0o600)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.touch(mode=0o600)
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _root(text: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Name, x509.Certificate]:
    key, name, now = ec.generate_private_key(ec.SECP256R1()), _name(text), datetime.now(UTC)
    builder = _builder(name, name, key.public_key(), now - timedelta(days=3), now + timedelta(days=30))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return key, name, builder.sign(key, hashes.SHA256())


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    names: list[str],
    issuer: _Issuer,
    since: datetime,
    until: datetime,
    usage: x509.ObjectIdentifier,
) -> x509.Certificate:
    builder = _builder(_name(names[0]), issuer[1], key.public_key(), since, until)
    builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    # CPython 3.13's default context wants the key identifiers of RFC 5280.
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[0].public_key())
    builder = builder.add_extension(issued_by, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer[0], hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, since: datetime, until: datetime) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(since).not_valid_after(until)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
