"""DKIM and ARC: what dkimpy signs holds here too, and what it refuses is refused; keys and fields of strangers are bounded."""

import base64
import time
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.message import MESSAGE_OCTETS
from probe.message.evidence import arc, delivered, signed
from probe.message.evidence import dkim as ours
from probe.message.evidence.alignment import aligned
from probe.message.evidence.signed import Bodies, Key, Outcome, body, held

RSA = rsa.generate_private_key(65537, 2048)
PEM = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
MAIL = (
    b"From: probe@contoso.com\r\nTo: probe@contoso.com\r\nSubject:  two   blanks\r\n\tfolded\r\n"
    b"Date: Fri, 27 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@contoso.com>\r\n\r\nOne  line \r\n\r\nand another\t\r\n\r\n\r\n"
)
NOW = time.time()


def der(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def record(octets: bytes, more: str = "") -> Key:
    return Key(f"v=DKIM1; {more}p={base64.b64encode(octets).decode()}")


KEY = record(der(RSA))


def sign(mail: bytes = MAIL, how: str = "relaxed/relaxed", **options: Any) -> bytes:
    ways = tuple(part.encode() for part in how.split("/"))
    return dkim.sign(mail, b"s1", b"contoso.com", PEM, canonicalize=ways, **options) + mail


def outcome(raw: bytes, key: Key = KEY, now: float = NOW) -> Outcome:
    message = delivered(raw)
    return ours.verified(next(ours.signatures(message)), message, Bodies(message.body), key, now)


def dkimpy_says(raw: bytes, key: Key = KEY) -> bool:
    return dkim.verify(raw, dnsfunc=lambda name, timeout=5: (key.record or "").encode())


WAYS = [f"{first}/{second}" for first in ("simple", "relaxed") for second in ("simple", "relaxed")]


@pytest.mark.parametrize("how", WAYS)
def test_what_dkimpy_signs_holds(how: str) -> None:
    raw = sign(how=how)
    assert outcome(raw) == Outcome("pass", None, 2048)
    # As a maildir keeps it.
    assert outcome(raw.replace(b"\r\n", b"\n")).result == "pass"


# What a server on the way may do; simple and relaxed differ in what they let pass.
CHANGES = {
    "nothing": lambda raw: raw,
    "a field on top": lambda raw: b"X-New: yes\r\n" + raw,
    "a second From": lambda raw: raw.replace(b"From: probe", b"From: evil@x.test\r\nFrom: probe", 1),
    "blanks in the Subject": lambda raw: raw.replace(b"two   blanks", b"two blanks"),
    "the Subject refolded": lambda raw: raw.replace(b"blanks\r\n\tfolded", b"blanks folded"),
    "the Subject in another case": lambda raw: raw.replace(b"\r\nSubject:", b"\r\nSUBJECT:", 1),
    "another Subject": lambda raw: raw.replace(b"folded", b"tagged"),
    "blanks at a line's end": lambda raw: raw.replace(b"One  line \r\n", b"One  line\r\n"),
    "blanks in a line": lambda raw: raw.replace(b"One  line", b"One line"),
    "empty lines at the end": lambda raw: raw + b"\r\n\r\n",
    "no end of line": lambda raw: raw.rstrip(b"\t\r\n"),
    "a footer": lambda raw: raw + b"Disclaimer\r\n",
    "an empty body": lambda raw: raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_it_holds_where_dkimpy_says_so(how: str, change: str) -> None:
    raw = CHANGES[change](sign(how=how))
    assert (outcome(raw).result == "pass") == dkimpy_says(raw)


BODY = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\r\n\r\n", b"b c", b".", b"\r", b"\xff"]), max_size=30).map(b"".join)


@given(BODY)
@settings(max_examples=200, deadline=None)
def test_bodies_of_any_form_are_canonical_as_dkimpy_has_them(octets: bytes) -> None:
    from dkim.canonicalization import Relaxed, Simple

    # SMTP knows no line without an end.
    whole = (octets + b"\r\n").replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")
    assert body(whole, relaxed=True) == Relaxed.canonicalize_body(whole)
    assert body(whole, relaxed=False) == Simple.canonicalize_body(whole)


def test_why_it_does_not_hold() -> None:
    raw, other = sign(), rsa.generate_private_key(65537, 2048)
    assert outcome(raw + b"Disclaimer\r\n").why == "the body was changed behind the signature"
    assert outcome(raw.replace(b"folded", b"tagged")).why == "a signed header field was changed on the way, or the key was replaced"
    assert outcome(raw, record(der(other))).why == "a signed header field was changed on the way, or the key was replaced"
    assert outcome(raw, Key(None, "there is no key in DNS", missing=True)) == Outcome("fail", "there is no key in DNS")
    assert outcome(raw, Key(None, "the resolver gave no answer in time")).result == "unknown"
    assert outcome(raw, Key("v=DKIM1; p=")).why == "the key was revoked: its record is there, and empty"
    assert outcome(raw, Key("v=DKIM2; p=AAAA")).why == "the key record is malformed"
    assert outcome(raw, Key("v=DKIM1; p=AA*A")).why == "the key in the record is malformed"
    assert outcome(raw, record(der(RSA), "k=ed25519; ")).why == "the key record is for another kind of signature"
    assert outcome(raw, record(der(RSA), "h=sha1; ")).why == "the key record does not allow SHA-256"
    assert outcome(raw, record(der(RSA), "s=tlsrpt; ")).why == "the key record is not for mail"
    assert outcome(raw, record(der(RSA), "t=y; ")).testing


def test_an_expired_signature() -> None:
    made = our_own(MAIL, tags=f"x={int(NOW) - 60}; ")
    assert outcome(made, now=NOW - 120).result == "pass"
    assert outcome(made) == Outcome("fail", "the signature has expired", 2048)


def our_own(mail: bytes, *, tags: str = "", key: Any = RSA, algorithm: str = "rsa-sha256", names: str = "from:to:subject") -> bytes:
    """A signature as dkimpy does not make them: by the RFC's steps, in the test's own words."""
    import hashlib

    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    message = delivered(mail)
    digest = base64.b64encode(hashlib.sha256(body(message.body, relaxed=True)).digest()).decode()
    field = f"DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d=contoso.com; s=s1; {tags}h={names}; bh={digest}; b="
    lines = {name.lower(): value for name, _, value in (each.raw.partition(b":") for each in message.fields)}
    chosen = [name for name in names.split(":") if name.encode() in lines]
    data = b"".join(f"{name}:".encode() + b" ".join(lines[name.encode()].split()) + b"\r\n" for name in chosen)
    data += b"dkim-signature:" + field.partition(":")[2].strip().encode()
    by_rsa = algorithm == "rsa-sha256"
    signature = key.sign(data, PKCS1v15(), SHA256()) if by_rsa else key.sign(hashlib.sha256(data).digest())
    return field.encode() + base64.b64encode(signature) + b"\r\n" + mail


def test_ed25519() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    raw = our_own(MAIL, key=key, algorithm="ed25519-sha256")
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert outcome(raw, record(public, "k=ed25519; ")) == Outcome("pass", None, 256)
    assert outcome(raw + b"more\r\n", record(public, "k=ed25519; ")).why == "the body was changed behind the signature"
    assert outcome(raw, record(public[:31], "k=ed25519; ")).why == "the key in the record is malformed"
    assert outcome(raw, record(public)).why == "the key record is for another kind of signature"


def test_part_of_the_body() -> None:
    raw = our_own(MAIL, tags="l=0; ")
    assert outcome(raw).result == "fail"  # bh is of the whole body
    message = delivered(raw)
    assert next(ours.signatures(message)).length == 0
    assert Bodies(b"a\r\n").digest(relaxed=True, length=9) is None


@pytest.mark.parametrize(
    "field, why",
    {
        "v=1": "no a=, b=, bh=, d=, h=, s=",
        "nonsense": "no list of tags",
        "v=1; v=1": "no list of tags",
        "v=1; a=rsa-sha1; b=AA; bh=AA; d=a.test; h=from; s=s": "rsa-sha1",
        "v=1; a=rsa-md5; b=AA; bh=AA; d=a.test; h=from; s=s": "unknown algorithm",
        "v=2; a=rsa-sha256; b=AA==; bh=AA==; d=a.test; h=from; s=s": "unknown version",
        "v=1; a=rsa-sha256; b=AA==; bh=AA==; d=a b.test; h=from; s=s": "no DNS name",
        "v=1; a=rsa-sha256; b=AA==; bh=AA==; d=a..test; h=from; s=s": "no DNS name",
        "v=1; a=rsa-sha256; b=AA==; bh=AA==; d=a.test; h=to; s=s": "does not cover the From",
        "v=1; a=rsa-sha256; b=AA==; bh=AA==; d=a.test; h=from; s=s; x=soon": "a number is none",
        "v=1; a=rsa-sha256; b=AA==; bh=AA==; d=a.test; h=from; s=s; i=@b.test": "not of its domain",
        "v=1; a=rsa-sha256; b=AA==; bh=AA==; d=a.test; h=from; s=s; c=odd": "malformed",
    }.items(),
)
def test_a_malformed_signature_says_what_is_wrong(field: str, why: str) -> None:
    found = outcome(f"DKIM-Signature: {field}\r\n".encode() + MAIL)
    assert found.result == "fail" and why in (found.why or "")


def spki(modulus: int, exponent: int) -> bytes:
    def tlv(tag: int, octets: bytes) -> bytes:
        size = len(octets)
        length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
        return bytes([tag]) + length + octets

    numbers = b"".join(tlv(2, n.to_bytes(n.bit_length() // 8 + 1, "big")) for n in (modulus, exponent))
    return tlv(0x30, tlv(0x30, bytes.fromhex("06092a864886f70d0101010500")) + tlv(3, b"\0" + tlv(0x30, numbers)))


def test_keys_that_would_stop_a_process_are_not_tried() -> None:
    raw = sign()
    began = time.process_time()
    for modulus, exponent in (
        (2**2047 + 1, 2**2046 + 1),
        (2**8191 + 1, 2**8190 + 1),
        (2**16001 + 1, 65537),
        (2**8191 + 1, 2**32 + 1),
    ):
        assert "beyond what is verified" in (outcome(raw, record(spki(modulus, exponent))).why or "")
    for exponent in (0, 1, 2):
        assert outcome(raw, record(spki(2**2047 + 1, exponent))).result == "fail"
    # A single verification of the second takes dkimpy's own arithmetic minutes.
    assert time.process_time() - began < 5


def test_a_short_key() -> None:
    short = spki(2**511 + 187, 65537)
    assert outcome(sign(), record(short)).why == "the key is too short (512 bits; RFC 8301 wants 1024)"


def test_hostile_fields_cost_what_they_are_long() -> None:
    huge = b"DKIM-Signature: v=1; b=" + b"A" * 1_000_000 + b"\r\n" + MAIL
    assert delivered(huge).fields == () and "longer than is read" in delivered(huge).limits[-1]
    long = b"DKIM-Signature: v=1; h=" + b"from:" * 4000 + b"\r\n" + MAIL
    assert "signature field is longer" in (outcome(long).why or "")
    many = (b"DKIM-Signature: v=1; a=rsa-sha256; b=AAAA; bh=AAAA; d=a.test; h=" + b"from:" * 2000 + b"; s=s\r\n") * 15 + MAIL
    began = time.process_time()
    assert {outcome(many).result} == {"fail"}
    # Quadratic in dkimpy: five seconds over 32 KiB.
    blanks = b" " * (MESSAGE_OCTETS - 4096) + b"x\r\n"
    assert body(blanks, relaxed=True) == b" x\r\n"
    folds = delivered(b"A: b\r\n" + b" \r\n" * 1900 + b"\r\n" + blanks)
    assert signed.header(folds.fields[0], relaxed=True) == b"a:b\r\n"
    assert time.process_time() - began < 5


def test_a_header_of_too_many_fields_is_named() -> None:
    bomb = delivered(b"".join(b"A%d: b\r\n" % number for number in range(2500)) + b"\r\nbody")
    assert bomb.fields == () and "2500 fields" in bomb.limits[0]
    cut = delivered(MAIL + b"x" * MESSAGE_OCTETS)
    assert not cut.whole and ours.verified(next(ours.signatures(delivered(sign()))), cut, Bodies(b""), KEY, NOW).result == "unknown"


# -- ARC --------------------------------------------------------------------------------------------------------------


def sealed(mail: bytes, by: bytes = b"mx.contoso.com") -> bytes:
    return b"".join(dkim.arc_sign(mail, b"s1", b"contoso.com", PEM, by, timestamp=str(int(NOW)))) + mail


def chain_of(raw: bytes) -> Outcome:
    message = delivered(raw)
    found = arc.chain(message)
    assert found is not None
    return arc.verified(found, message, Bodies(message.body), {each.place: KEY for each in found.signatures}, NOW)


RESULTS = b"Authentication-Results: mx.contoso.com; spf=pass smtp.mailfrom=contoso.com\r\n"


def test_a_chain_of_one_and_of_two() -> None:
    one = sealed(RESULTS + MAIL)
    assert chain_of(one) == Outcome("pass")
    two = sealed(b"Authentication-Results: mx.contoso.com; arc=pass\r\n" + one)
    found = arc.chain(delivered(two))
    assert (
        found and [each.instance for each in found.sets] == [1, 2] and [each.validation for each in found.sets] == ["none", "pass"]
    )
    assert chain_of(two) == Outcome("pass")


def test_a_chain_that_does_not_hold() -> None:
    one = sealed(RESULTS + MAIL)
    assert chain_of(one + b"footer\r\n").why == "the body was changed behind the signature"
    lied = one.replace(b"spf=pass", b"spf=none", 1)
    assert chain_of(lied).result == "fail"
    assert chain_of(one.replace(b"ARC-Seal:", b"X-Seal:", 1)).why == "the chain is broken: sets are missing, or stand there twice"
    assert chain_of(one.replace(b"cv=none", b"cv=fail", 1)).why == "a handler on the way had found the chain broken"
    assert arc.chain(delivered(MAIL)) is None
    long = b"".join(b"ARC-Seal: i=%d\r\n" % number for number in range(1, 40)) + MAIL
    assert chain_of(long).result == "unknown"


# -- alignment --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signer, author, expected",
    [
        ("contoso.com", "contoso.com", "strict"),
        ("contoso.com", "mail.contoso.com", "relaxed"),
        ("mail.contoso.com", "contoso.com", "relaxed"),
        ("a.contoso.com", "b.contoso.com", "unknown"),
        ("contoso.co.uk", "fabrikam.co.uk", "no"),
        ("sendgrid.net", "contoso.com", "no"),
        ("com", "contoso.com", "no"),
        ("co.uk", "contoso.co.uk", "no"),
    ],
)
def test_alignment_says_what_it_knows(signer: str, author: str, expected: str) -> None:
    assert aligned(signer, author) == expected


def test_a_key_is_held_against_nothing_else() -> None:
    assert held(Key("garbage"), "rsa-sha256", b"", b"").why == "the key record is malformed"
