"""A root, an intermediate and leaves of the tests' own, made with cryptography."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# CPython 3.13's default context refuses an authority without it.
_SIGNS_CERTIFICATES = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


@dataclass(frozen=True)
class Certificate:
    """Files a server takes: leaf and intermediate in `cert_file`. `thumbprint` is SHA-1, upper hex."""

    cert_file: Path
    key_file: Path
    leaf_pem: bytes
    thumbprint: str


class Authority:
    """root → intermediate → leaf."""

    def __init__(self, directory: Path, name: str = "Tests Root") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._numbers = itertools.count(1)
        self._root_key, self._root = _authority(f"{name} CA", None)
        self._key, self._certificate = _authority(f"{name} Intermediate CA", (self._root_key, self._root))
        self.ca_file = directory / "root.pem"
        self.ca_file.write_bytes(self._root.public_bytes(Encoding.PEM))

    def leaf(
        self,
        *names: str,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        intermediate: bool = True,
        key: str = "ec",
        self_signed: bool = False,
        file_stem: str | None = None,
        client: bool = False,
    ) -> Certificate:
        """Issue a leaf for DNS names or addresses; `intermediate=False` leaves the intermediate out of the file; `client=True`
        makes it one for TLS clients."""
        now = datetime.now(UTC)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        secret = rsa.generate_private_key(65537, int(key[3:])) if key.startswith("rsa") else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        issuer, signer = (subject, secret) if self_signed else (self._certificate.subject, self._key)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(secret.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or now - timedelta(hours=1))
            .not_valid_after(not_after or now + timedelta(days=90))
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        certificate = builder.sign(signer, hashes.SHA256())
        pem = certificate.public_bytes(Encoding.PEM)
        chain = b"" if self_signed or not intermediate else self._certificate.public_bytes(Encoding.PEM)
        # A name of its own: servers that run may read their files again at any time.
        file_stem = file_stem or f"leaf{next(self._numbers)}"
        cert_file, key_file = self.directory / f"{file_stem}.pem", self.directory / f"{file_stem}.key"
        cert_file.write_bytes(pem + chain)
        key_file.touch(mode=0o600)
        key_file.touch(mode=0o600)
        key_file.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Certificate(cert_file, key_file, pem, certificate.fingerprint(hashes.SHA1()).hex().upper())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _authority(name: str, issuer: tuple[Any, x509.Certificate] | None) -> tuple[Any, x509.Certificate]:
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, issued_by = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return key, certificate
