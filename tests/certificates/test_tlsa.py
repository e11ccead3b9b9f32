"""TLSA records against chains (RFC 6698, RFC 7671), row by row; OpenSSL, which has DANE of its own, is asked the same."""

import asyncio
import hashlib
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from probe.certificate.chain import rfc3339
from probe.certificate.tlsa import Tlsa, associated, mismatch, public_key, right
from tests.certificates.chains import CA, HOST, Made, Recipe, make

ROOT = make(replace(CA, name="Contoso Root"))
ISSUING = make(replace(CA, name="Contoso Issuing CA"), ROOT)
STRANGER = make(replace(CA, name="Fabrikam Root"))
LEAF = make(Recipe(), ISSUING)
RENEWED = make(Recipe(), ISSUING)
RSA = make(Recipe(key="rsa2048"), ISSUING)
EXPIRED = make(Recipe(days=(-30, -1)), ISSUING)
OTHER_NAME = make(Recipe(names=("www.contoso.test",)), ISSUING)
SELF_SIGNED = make(Recipe())
OLD_CA = make(replace(CA, name="Contoso Old CA", days=(-30, -1)), ROOT)
NO_CA = make(replace(CA, name="Contoso No CA", ca=False), ROOT)


def der(made: Made) -> bytes:
    return made.certificate.public_bytes(Encoding.DER)


def spki(made: Made) -> bytes:
    return made.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def record(usage: int, selector: int, matching: int, made: Made, spoil: Callable[[bytes], bytes] = bytes) -> Tlsa:
    octets = der(made) if selector == 0 else spki(made)
    digest = {1: hashlib.sha256, 2: hashlib.sha512}.get(matching)
    return Tlsa(usage, selector, matching, spoil(digest(octets).digest() if digest else octets))


@dataclass(frozen=True)
class Row:
    """`because`: what the mismatch says, empty where the record matches. `openssl`: OpenSSL's answer, where it is another."""

    record: Tlsa
    sent: tuple[Made, ...] = (LEAF, ISSUING)
    because: str = ""
    openssl: bool | None = None


TABLE = {
    **{
        f"{usage} {selector} {matching}": Row(record(usage, selector, matching, LEAF if usage in (1, 3) else ISSUING))
        for usage in range(4)
        for selector in (0, 1)
        for matching in (0, 1, 2)
    },
    "3-rsa": Row(record(3, 1, 1, RSA), (RSA, ISSUING)),
    "3-renewed-with-another-key": Row(record(3, 1, 1, LEAF), (RENEWED, ISSUING), "by its public key"),
    "3-of-the-issuer": Row(record(3, 1, 1, ISSUING), because="the server's certificate is another"),
    "3-expired": Row(record(3, 1, 1, EXPIRED), (EXPIRED, ISSUING)),
    "3-other-name": Row(record(3, 1, 1, OTHER_NAME), (OTHER_NAME, ISSUING)),
    "3-self-signed": Row(record(3, 0, 2, SELF_SIGNED), (SELF_SIGNED,)),
    "3-digest-cut": Row(record(3, 1, 1, LEAF, lambda digest: digest[:-1]), because="another"),
    "3-sha-512-called-sha-256": Row(replace(record(3, 1, 2, LEAF), matching_type=1), because="another"),
    "3-selectors-mixed-up": Row(replace(record(3, 0, 1, LEAF), selector=1), because="another"),
    "2-root-sent": Row(record(2, 0, 1, ROOT), (LEAF, ISSUING, ROOT)),
    "2-root-not-sent": Row(record(2, 1, 1, ROOT), because="the server sends no such issuer"),
    "2-out-of-order": Row(record(2, 1, 1, ROOT), (LEAF, ROOT, ISSUING)),
    "2-issuer-not-sent": Row(record(2, 1, 1, ISSUING), (LEAF,), because="the server sends no such issuer"),
    "2-of-the-leaf": Row(record(2, 1, 1, LEAF), because="the server sends no such issuer"),
    "2-of-a-self-signed-leaf": Row(record(2, 1, 1, SELF_SIGNED), (SELF_SIGNED,), because="the server sends no such issuer"),
    "2-stranger-sent": Row(record(2, 1, 1, STRANGER), (LEAF, ISSUING, STRANGER), because="did not sign"),
    "2-expired": Row(record(2, 1, 1, ISSUING), (EXPIRED, ISSUING), because="is not valid today"),
    "2-issuer-expired": Row(record(2, 1, 1, ROOT), (make(Recipe(), OLD_CA), OLD_CA, ROOT), because="is not valid today"),
    "2-issuer-is-no-ca": Row(record(2, 1, 1, ROOT), (make(Recipe(), NO_CA), NO_CA, ROOT), because="is no CA"),
    "2-other-name": Row(record(2, 1, 1, ISSUING), (OTHER_NAME, ISSUING), because="is not valid for mail.contoso.test"),
    "0-root-not-sent": Row(record(0, 1, 1, ROOT), because="the server sends no such issuer", openssl=True),
    "1-not-trusted": Row(record(1, 1, 1, SELF_SIGNED), (SELF_SIGNED,), because="not trusted by the roots"),
    "0-another": Row(record(0, 1, 1, STRANGER), because="the server sends no such issuer"),
    "unknown-usage": Row(replace(record(3, 1, 1, LEAF), usage=255), because="is not known"),
    "unknown-selector": Row(replace(record(3, 1, 1, LEAF), selector=2), because="is not known"),
    "unknown-matching-type": Row(replace(record(3, 1, 1, LEAF), matching_type=3), because="is not known"),
}


def verdict(row: Row, hosts: Sequence[str] = (HOST,)) -> str | None:
    """Trust by the roots is what the rows' chains have: all of our own root but the self-signed."""
    chain, now = [der(made) for made in row.sent], rfc3339(datetime.now(UTC))
    return mismatch(row.record, chain, hosts, now, trusted=row.sent[0] is not SELF_SIGNED)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_row(name: str) -> None:
    row = TABLE[name]
    said = verdict(row)
    assert (said is None) == (row.because == "") and row.because in (said or ""), said


@pytest.mark.skipif(sys.platform == "win32", reason="not_on_windows: asks the program openssl")
@pytest.mark.parametrize("name", sorted(TABLE))
async def test_openssl_says_the_same(name: str, tmp_path: Path) -> None:
    row = TABLE[name]
    private = row.sent[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "chain.pem").write_bytes(private + b"".join(made.pem for made in row.sent))
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem")
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    fields = f"{row.record.usage} {row.record.selector} {row.record.matching_type} {row.record.data.hex()}"
    command = f"openssl s_client -connect 127.0.0.1:{server.sockets[0].getsockname()[1]} -CAfile root.pem -verify_return_error"
    # Names do not count with usage 3 (RFC 7671 section 5.1); OpenSSL looks at them unless told.
    dane = ["-dane_tlsa_domain", HOST, "-dane_ee_no_namechecks", "-dane_tlsa_rrdata", fields]
    async with server:
        client = await asyncio.create_subprocess_exec(
            *command.split(), *dane, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said = (await client.communicate())[0].decode()
    accepted = client.returncode == 0 and "Verification: OK" in said
    assert accepted == (row.openssl if row.openssl is not None else row.because == ""), said[-2000:]


def test_usage_2_takes_either_name_of_an_alias() -> None:
    row = TABLE["2-other-name"]
    assert verdict(row, (HOST, "www.contoso.test")) is None
    assert "mail.contoso.test or imap.contoso.test" in (verdict(row, (HOST, "imap.contoso.test")) or "")


@pytest.mark.parametrize("made", [LEAF, RSA, ROOT, EXPIRED], ids=["ec", "rsa", "root", "expired"])
def test_the_public_key_is_read_as_cryptography_reads_it(made: Made) -> None:
    assert public_key(der(made)) == spki(made)
    assert right([der(made)]) == f"3 1 1 {hashlib.sha256(spki(made)).hexdigest()}"


@pytest.mark.parametrize("key", [ed448.Ed448PrivateKey.generate(), rsa.generate_private_key(65537, 4096)], ids=["ed448", "rsa4096"])
def test_the_public_key_of_other_kinds(key: ed448.Ed448PrivateKey | rsa.RSAPrivateKey) -> None:
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2026, 1, 1), datetime(2027, 1, 1))
    digest = None if isinstance(key, ed448.Ed448PrivateKey) else x509.base.hashes.SHA256()
    certificate = builder.sign(key, digest).public_bytes(Encoding.DER)
    assert public_key(certificate) == key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_whatever_octets_come_there_is_a_key_or_none() -> None:
    whole = der(LEAF)
    for octets in (b"", b"0", b"\x30\x80", whole[:40], *(whole[:cut] for cut in range(0, 200, 7)), bytes(range(256))):
        assert public_key(octets) is None
        assert associated(octets, 1, 1) is None
        assert right([octets]) == f"3 0 1 {hashlib.sha256(octets).hexdigest()}"
    assert mismatch(record(3, 1, 1, LEAF), [], (HOST,), "", trusted=True) is not None
    assert mismatch(record(2, 0, 1, ISSUING), [b"rubbish", der(ISSUING)], (HOST,), "", trusted=True) is not None
