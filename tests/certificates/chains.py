"""Chains made for the table: a small CA kit in which everything can be wrong."""

import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

HOST = "mail.contoso.test"
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
    "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Recipe:
    """What a certificate is to be like. `days`: valid from … to … days from now."""

    name: str = HOST
    names: tuple[str, ...] | None = (HOST,)
    days: tuple[float, float] = (-10, 90)
    key: str = "ec"
    ca: bool | None = False
    usage: tuple[str, ...] | None = None
    extended: tuple[Any, ...] | None = (ExtendedKeyUsageOID.SERVER_AUTH,)
    digest: str = "sha256"
    url: bool = False
    organisation: str | None = None
    # The OID of an extension that is there and cannot be read.
    rubbish: str | None = None
    path_length: int | None = None
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    more: dict[str, Any] = field(default_factory=dict)


CA = Recipe(names=None, ca=True, extended=None, usage=("key_cert_sign", "crl_sign"), days=(-400, 4000))


def make(recipe: Recipe, issuer: Made | None = None, key: Any = None) -> Made:
    """Issue it, for this key or a new one; self-signed without an issuer."""
    bits = int(recipe.key[3:]) if recipe.key.startswith("rsa") else 0
    key = key or (rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1()))
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, recipe.name)]
    if recipe.organisation:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, recipe.organisation))
    subject = x509.Name(parts)
    signer = issuer.key if issuer else key
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=recipe.days[0]))
        .not_valid_after(now + timedelta(days=recipe.days[1]))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    for extension, critical in _extensions(recipe):
        builder = builder.add_extension(extension, critical=critical)
    return Made(builder.sign(signer, hashes.SHA256()), key)


def _extensions(recipe: Recipe) -> list[tuple[Any, bool]]:
    found: list[tuple[Any, bool]] = list(recipe.extra)
    if recipe.names is not None:
        found.append((x509.SubjectAlternativeName([_general(name) for name in recipe.names]), False))
    if recipe.ca is not None:
        found.append((x509.BasicConstraints(ca=recipe.ca, path_length=recipe.path_length), True))
    if recipe.usage is not None:
        found.append((x509.KeyUsage(**{name: name in recipe.usage for name in USAGES}), True))
    if recipe.extended is not None:
        found.append((x509.ExtendedKeyUsage(list(recipe.extended)), False))
    if recipe.url:
        where = x509.UniformResourceIdentifier("http://ca.contoso.test/issuer.crt")
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
        found.append((x509.AuthorityInformationAccess([access]), False))
    if recipe.rubbish:
        found.append((x509.UnrecognizedExtension(x509.ObjectIdentifier(recipe.rubbish), b"\x30\x03abc"), False))
    return found


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make_with_digest(digest: str, issuer: Made, folder: Path) -> Made:
    """A leaf signed with a broken digest: cryptography refuses to make one, OpenSSL's program does not."""
    key = rsa.generate_private_key(65537, 2048)
    private = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "leaf.key").write_bytes(key.private_bytes(*private))
    (folder / "ca.key").write_bytes(issuer.key.private_bytes(*private))
    (folder / "ca.pem").write_bytes(issuer.pem)
    (folder / "extensions").write_text(
        f"subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n"
    )
    request = ["openssl", "req", "-new", "-key", "leaf.key", "-subj", f"/CN={HOST}", "-out", "leaf.csr"]
    sign = ["openssl", "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", f"-{digest}"]
    for command in (request, [*sign, "-days", "90", "-extfile", "extensions", "-out", "leaf.pem"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return Made(x509.load_pem_x509_certificate((folder / "leaf.pem").read_bytes()), key)
