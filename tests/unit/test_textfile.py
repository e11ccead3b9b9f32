"""Text and certificates as Windows' and other programs save them."""

import codecs
import datetime
import subprocess
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from probe.profile.textfile import NoCertificate, NotText, certificates, decoded

TEXT = "größer → Straße\r\nzwei\r\n"
WRITTEN = {
    "utf-8": TEXT.encode(),
    "utf-8 with mark": codecs.BOM_UTF8 + TEXT.encode(),
    "powershell 5.1": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16 big endian": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-32": codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
}


@pytest.mark.parametrize("octets", WRITTEN.values(), ids=WRITTEN)
def test_the_byte_order_mark_decides(octets):
    assert decoded(octets) == TEXT


@pytest.mark.parametrize("octets", [TEXT.encode("cp1252", "replace"), codecs.BOM_UTF16_LE + b"odd"], ids=["ansi", "cut"])
def test_what_does_not_say_its_encoding_is_refused_with_the_cure(octets):
    with pytest.raises(NotText, match="Set-Content -Encoding utf8") as caught:
        decoded(octets)
    assert caught.value.__context__ is None  # a UnicodeDecodeError holds the octets, which may be a password


def made(name="A Root", serial=None):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime(2026, 1, 1)
    number = serial or x509.random_serial_number()
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), number, now, now.replace(year=2030))
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())


ONE, TWO = made(), made("B Root")
BOTH = (ONE.public_bytes(Encoding.DER), TWO.public_bytes(Encoding.DER))
PEM = "".join(f"# {name} größer\r\n{one.public_bytes(Encoding.PEM).decode()}" for name, one in (("eins", ONE), ("zwei", TWO)))


@pytest.mark.parametrize(
    "octets",
    [
        PEM.encode(),
        PEM.encode("cp1252"),
        codecs.BOM_UTF8 + PEM.encode(),
        codecs.BOM_UTF16_LE + PEM.encode("utf-16-le"),
        PEM.replace("\n", "\r\n").encode(),
        PEM.replace("N CERTIFICATE", "N X509 CERTIFICATE").replace("D CERTIFICATE", "D X509 CERTIFICATE").encode(),
        pkcs7.serialize_certificates([ONE, TWO], Encoding.PEM),
        pkcs7.serialize_certificates([ONE, TWO], Encoding.DER),
    ],
    ids=["pem", "ansi remarks", "utf-8 mark", "utf-16", "crlf", "old label", "pkcs7 pem", "pkcs7 der"],
)
def test_certificates_in_every_form(octets):
    assert set(certificates(octets)) == set(BOTH)


def test_an_old_root_whose_serial_number_is_0_is_taken_without_a_word():
    """Debian's own ca-certificates.crt has such roots, and cryptography warns of each."""
    der = made(serial=1).public_bytes(Encoding.DER)
    numbered = bytes.fromhex("a003020102020101")
    assert der.count(numbered) == 1
    old = der.replace(numbered, bytes.fromhex("a003020102020100"))
    with warnings.catch_warnings(action="error"):
        assert certificates(old) == (old,)


@pytest.mark.not_on_windows("no openssl program")
def test_one_in_der_and_one_with_openssl_s_own_trust(tmp_path):
    assert certificates(BOTH[0]) == BOTH[:1]
    (tmp_path / "in.pem").write_bytes(ONE.public_bytes(Encoding.PEM))
    command = ["openssl", "x509", "-in", "in.pem", "-trustout", "-addtrust", "serverAuth", "-out", "out.pem"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert b"TRUSTED" in (tmp_path / "out.pem").read_bytes()
    assert certificates((tmp_path / "out.pem").read_bytes()) == BOTH[:1]


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "holds no certificate"),
        (b"just words", "export as Base-64"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "certificate 1 in it is damaged"),
        (b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "no base64"),
        (BOTH[0][:40], "damaged"),
        (b"\x30", "damaged"),
        (b"\x30\x84", "damaged"),
        (b"\x30\x20\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02rubbish", "PKCS#7"),
    ],
    ids=["empty", "words", "key", "not one", "no base64", "cut", "an octet", "a length", "no pkcs7"],
)
def test_a_file_without_a_certificate_says_so(octets, said):
    with pytest.raises(NoCertificate, match=said.replace("#", r"\#")):
        certificates(octets)
