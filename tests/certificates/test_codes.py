"""No refusal without a finding: whatever code OpenSSL ends a handshake with, a critical finding has its words and its number.

The table is x509_vfy.h's, code by code. In the first test a real handshake is ended by the code, over all three protocols, with a
chain in which our own reading finds nothing wrong: OpenSSL's verdict may never depend on ours.
"""

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

import probe
from probe.judge import findings
from probe.observe.certified import certified
from probe.observe.connection import Connection
from probe.profile import Profile
from probe.record import Record, StageRecord, Target
from probe.report import Finding
from tests.certificates.chains import CA, HOST, Made, make
from tests.certificates.test_table import INTERMEDIATE, LEAF, ROOT, Row, profile, showing

NOT_TRUSTED, MISMATCH, UNKNOWN = "certificate.not-trusted", "certificate.name-mismatch", "certificate.unknown-issuer"
EXPIRED, CA_EXPIRED, EARLY = "certificate.expired", "certificate.intermediate-expired", "certificate.not-yet-valid"
USAGE, KEY, DIGEST = "certificate.wrong-usage", "certificate.weak-key", "certificate.weak-signature"

# X509_V_ERR_… without its beginning → the finding where our own reading sees nothing.
CODES = {
    1: ("UNSPECIFIED", NOT_TRUSTED),
    2: ("UNABLE_TO_GET_ISSUER_CERT", UNKNOWN),
    3: ("UNABLE_TO_GET_CRL", NOT_TRUSTED),
    4: ("UNABLE_TO_DECRYPT_CERT_SIGNATURE", NOT_TRUSTED),
    5: ("UNABLE_TO_DECRYPT_CRL_SIGNATURE", NOT_TRUSTED),
    6: ("UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY", NOT_TRUSTED),
    7: ("CERT_SIGNATURE_FAILURE", NOT_TRUSTED),
    8: ("CRL_SIGNATURE_FAILURE", NOT_TRUSTED),
    9: ("CERT_NOT_YET_VALID", NOT_TRUSTED),
    10: ("CERT_HAS_EXPIRED", NOT_TRUSTED),
    11: ("CRL_NOT_YET_VALID", NOT_TRUSTED),
    12: ("CRL_HAS_EXPIRED", NOT_TRUSTED),
    13: ("ERROR_IN_CERT_NOT_BEFORE_FIELD", NOT_TRUSTED),
    14: ("ERROR_IN_CERT_NOT_AFTER_FIELD", NOT_TRUSTED),
    15: ("ERROR_IN_CRL_LAST_UPDATE_FIELD", NOT_TRUSTED),
    16: ("ERROR_IN_CRL_NEXT_UPDATE_FIELD", NOT_TRUSTED),
    17: ("OUT_OF_MEM", NOT_TRUSTED),
    18: ("DEPTH_ZERO_SELF_SIGNED_CERT", UNKNOWN),
    19: ("SELF_SIGNED_CERT_IN_CHAIN", UNKNOWN),
    20: ("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", UNKNOWN),
    21: ("UNABLE_TO_VERIFY_LEAF_SIGNATURE", UNKNOWN),
    22: ("CERT_CHAIN_TOO_LONG", NOT_TRUSTED),
    23: ("CERT_REVOKED", NOT_TRUSTED),
    24: ("NO_ISSUER_PUBLIC_KEY", NOT_TRUSTED),
    25: ("PATH_LENGTH_EXCEEDED", NOT_TRUSTED),
    26: ("INVALID_PURPOSE", NOT_TRUSTED),
    27: ("CERT_UNTRUSTED", NOT_TRUSTED),
    28: ("CERT_REJECTED", NOT_TRUSTED),
    29: ("SUBJECT_ISSUER_MISMATCH", NOT_TRUSTED),
    30: ("AKID_SKID_MISMATCH", NOT_TRUSTED),
    31: ("AKID_ISSUER_SERIAL_MISMATCH", NOT_TRUSTED),
    32: ("KEYUSAGE_NO_CERTSIGN", NOT_TRUSTED),
    33: ("UNABLE_TO_GET_CRL_ISSUER", NOT_TRUSTED),
    34: ("UNHANDLED_CRITICAL_EXTENSION", NOT_TRUSTED),
    35: ("KEYUSAGE_NO_CRL_SIGN", NOT_TRUSTED),
    36: ("UNHANDLED_CRITICAL_CRL_EXTENSION", NOT_TRUSTED),
    37: ("INVALID_NON_CA", NOT_TRUSTED),
    38: ("PROXY_PATH_LENGTH_EXCEEDED", NOT_TRUSTED),
    39: ("KEYUSAGE_NO_DIGITAL_SIGNATURE", NOT_TRUSTED),
    40: ("PROXY_CERTIFICATES_NOT_ALLOWED", NOT_TRUSTED),
    41: ("INVALID_EXTENSION", NOT_TRUSTED),
    42: ("INVALID_POLICY_EXTENSION", NOT_TRUSTED),
    43: ("NO_EXPLICIT_POLICY", NOT_TRUSTED),
    44: ("DIFFERENT_CRL_SCOPE", NOT_TRUSTED),
    45: ("UNSUPPORTED_EXTENSION_FEATURE", NOT_TRUSTED),
    46: ("UNNESTED_RESOURCE", NOT_TRUSTED),
    47: ("PERMITTED_VIOLATION", NOT_TRUSTED),
    48: ("EXCLUDED_VIOLATION", NOT_TRUSTED),
    49: ("SUBTREE_MINMAX", NOT_TRUSTED),
    50: ("APPLICATION_VERIFICATION", NOT_TRUSTED),
    51: ("UNSUPPORTED_CONSTRAINT_TYPE", NOT_TRUSTED),
    52: ("UNSUPPORTED_CONSTRAINT_SYNTAX", NOT_TRUSTED),
    53: ("UNSUPPORTED_NAME_SYNTAX", NOT_TRUSTED),
    54: ("CRL_PATH_VALIDATION_ERROR", NOT_TRUSTED),
    55: ("PATH_LOOP", NOT_TRUSTED),
    56: ("SUITE_B_INVALID_VERSION", NOT_TRUSTED),
    57: ("SUITE_B_INVALID_ALGORITHM", NOT_TRUSTED),
    58: ("SUITE_B_INVALID_CURVE", NOT_TRUSTED),
    59: ("SUITE_B_INVALID_SIGNATURE_ALGORITHM", NOT_TRUSTED),
    60: ("SUITE_B_LOS_NOT_ALLOWED", NOT_TRUSTED),
    61: ("SUITE_B_CANNOT_SIGN_P_384_WITH_P_256", NOT_TRUSTED),
    62: ("HOSTNAME_MISMATCH", MISMATCH),
    63: ("EMAIL_MISMATCH", NOT_TRUSTED),
    64: ("IP_ADDRESS_MISMATCH", MISMATCH),
    65: ("DANE_NO_MATCH", NOT_TRUSTED),
    66: ("EE_KEY_TOO_SMALL", NOT_TRUSTED),
    67: ("CA_KEY_TOO_SMALL", NOT_TRUSTED),
    68: ("CA_MD_TOO_WEAK", NOT_TRUSTED),
    69: ("INVALID_CALL", NOT_TRUSTED),
    70: ("STORE_LOOKUP", NOT_TRUSTED),
    71: ("NO_VALID_SCTS", NOT_TRUSTED),
    72: ("PROXY_SUBJECT_NAME_VIOLATION", NOT_TRUSTED),
    73: ("OCSP_VERIFY_NEEDED", NOT_TRUSTED),
    74: ("OCSP_VERIFY_FAILED", NOT_TRUSTED),
    75: ("OCSP_CERT_UNKNOWN", NOT_TRUSTED),
    76: ("UNSUPPORTED_SIGNATURE_ALGORITHM", NOT_TRUSTED),
    77: ("SIGNATURE_ALGORITHM_MISMATCH", NOT_TRUSTED),
    78: ("SIGNATURE_ALGORITHM_INCONSISTENCY", NOT_TRUSTED),
    79: ("INVALID_CA", NOT_TRUSTED),
    80: ("PATHLEN_INVALID_FOR_NON_CA", NOT_TRUSTED),
    81: ("PATHLEN_WITHOUT_KU_KEY_CERT_SIGN", NOT_TRUSTED),
    82: ("KU_KEY_CERT_SIGN_INVALID_FOR_NON_CA", NOT_TRUSTED),
    83: ("ISSUER_NAME_EMPTY", NOT_TRUSTED),
    84: ("SUBJECT_NAME_EMPTY", NOT_TRUSTED),
    85: ("MISSING_AUTHORITY_KEY_IDENTIFIER", NOT_TRUSTED),
    86: ("MISSING_SUBJECT_KEY_IDENTIFIER", NOT_TRUSTED),
    87: ("EMPTY_SUBJECT_ALT_NAME", NOT_TRUSTED),
    88: ("EMPTY_SUBJECT_SAN_NOT_CRITICAL", NOT_TRUSTED),
    89: ("CA_BCONS_NOT_CRITICAL", NOT_TRUSTED),
    90: ("AUTHORITY_KEY_IDENTIFIER_CRITICAL", NOT_TRUSTED),
    91: ("SUBJECT_KEY_IDENTIFIER_CRITICAL", NOT_TRUSTED),
    92: ("CA_CERT_MISSING_KEY_USAGE", NOT_TRUSTED),
    93: ("EXTENSIONS_REQUIRE_VERSION_3", NOT_TRUSTED),
    94: ("EC_KEY_EXPLICIT_PARAMS", NOT_TRUSTED),
    # OpenSSL 3.2 and later.
    95: ("RPK_UNTRUSTED", NOT_TRUSTED),
    96: ("OCSP_RESP_INVALID", NOT_TRUSTED),
    97: ("OCSP_SIGNATURE_FAILURE", NOT_TRUSTED),
    98: ("OCSP_NOT_YET_VALID", NOT_TRUSTED),
    99: ("OCSP_HAS_EXPIRED", NOT_TRUSTED),
    100: ("OCSP_NO_RESPONSE", NOT_TRUSTED),
    101: ("CRL_VERIFY_FAILED", NOT_TRUSTED),
    102: ("EMPTY_AUTHORITY_KEY_IDENTIFIER", NOT_TRUSTED),
    103: ("AKID_ISSUER_SERIAL_NOT_PAIRED", NOT_TRUSTED),
    # Nobody's yet.
    9999: ("", NOT_TRUSTED),
}
# The finding where our own reading sees what the code means; the chain is in CHAINS.
SEEN = {
    2: ("alone", UNKNOWN),
    9: ("early", EARLY),
    10: ("expired", EXPIRED),
    18: ("self-signed", "certificate.self-signed"),
    20: ("alone-with-url", "certificate.missing-intermediate"),
    21: ("alone-with-url", "certificate.missing-intermediate"),
    26: ("for-clients", USAGE),
    32: ("intermediate-may-not-sign", USAGE),
    62: ("other-name", MISMATCH),
    66: ("rsa-1024", KEY),
    79: ("intermediate-is-no-ca", USAGE),
}


def words_of(code: int) -> str:
    """OpenSSL's own; this one is cryptography's, which is never older than Python's."""
    return str(Binding.ffi.string(Binding.lib.X509_verify_cert_error_string(code)).decode())


def below(**differs: Any) -> tuple[Made, Made]:
    intermediate = make(replace(CA, name="Odd Issuing CA", **differs), ROOT)
    return make(LEAF, intermediate), intermediate


def leaf(**differs: Any) -> Made:
    return make(replace(LEAF, **differs), INTERMEDIATE)


CHAINS: dict[str, tuple[Made, ...]] = {
    "healthy": (leaf(), INTERMEDIATE),
    "alone": (leaf(),),
    "alone-with-url": (leaf(url=True),),
    "self-signed": (make(LEAF),),
    "early": (leaf(days=(1, 90)), INTERMEDIATE),
    "expired": (leaf(days=(-30, -1)), INTERMEDIATE),
    "intermediate-expired": below(days=(-400, -1)),
    "other-name": (leaf(names=("www.contoso.test",)), INTERMEDIATE),
    "for-clients": (leaf(extended=(ExtendedKeyUsageOID.CLIENT_AUTH,)), INTERMEDIATE),
    # A finding that is a warning only says nothing of a refusal.
    "leaf-is-a-ca": (leaf(ca=True), INTERMEDIATE),
    "intermediate-is-no-ca": below(ca=False),
    "intermediate-may-not-sign": below(usage=("digital_signature",)),
    "rsa-1024": (leaf(key="rsa1024"), INTERMEDIATE),
    "nothing-sent": (),
}
DER = {name: [made.certificate.public_bytes(Encoding.DER) for made in chain] for name, chain in CHAINS.items()}
DER["unreadable"] = [b"\x30\x03\x02\x01\x00", *DER["alone"]]


def judged(chain: str, code: int, accepted_by: str | None = None) -> list[Finding]:
    facts = certified(DER[chain], host=HOST, openssl_code=code, openssl_text=words_of(code), now=datetime.now(UTC))
    stage = StageRecord("smtp.certificate", "failed", facts=replace(facts, accepted_by=accepted_by))
    given = {"submission": {"host": HOST}, "account": {"username": "probe@contoso.test", "password": {"env": "PW"}}}
    record = Record("1", "p", Target(HOST, 587, "starttls"), "2026-11-24T00:00:00Z", 1.0, (stage,))
    return list(findings(record, Profile(**given)))


def names_it(finding: Finding, code: int, words: str) -> bool:
    return f"OpenSSL code {code}: {words}" in finding.evidence and bool(finding.cause) and bool(finding.remedy)


def test_every_code_that_openssl_has_words_for_is_in_the_table() -> None:
    known = {code for code in range(1, 1000) if words_of(code) != words_of(9999)}
    assert len(known) > 90 and known <= CODES.keys()


@pytest.mark.parametrize("code", CODES)
async def test_a_handshake_that_openssl_ends_has_a_finding(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, shake = f"word {code} of OpenSSL's", Connection._shake_hands

    async def refused(self: Connection, tls: ssl.SSLObject) -> None:
        await shake(self, tls)
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_code, error.verify_message = code, words
        raise error

    monkeypatch.setenv("PW", "never-sent-Horse7battery")
    monkeypatch.setattr(Connection, "_shake_hands", refused)
    async with showing(list(CHAINS["healthy"]), tmp_path) as (ports, received):
        report = await probe.run(profile(Row(lambda _: [], set()), ports, tmp_path), light=True, raise_bugs=True)
    for leg in ("smtp", "imap", "pop3"):
        (found,) = [item for item in report.findings if item.stage == f"{leg}.certificate" and item.severity == "critical"]
        assert found.id == CODES[code][1] and names_it(found, code, words), found
    assert report.verdict == "critical" and report.failed_stage == "smtp.certificate" and b"never-sent" not in received


@pytest.mark.parametrize("code", SEEN)
def test_the_finding_that_explains_the_code_has_its_words(code: int) -> None:
    chain, expected = SEEN[code]
    naming = [item for item in judged(chain, code) if names_it(item, code, words_of(code)) and item.severity == "critical"]
    assert [item.id for item in naming] == [expected]


@pytest.mark.parametrize("chain", DER)
def test_no_chain_hides_a_code(chain: str) -> None:
    for code in CODES:
        found = judged(chain, code)
        assert any(item.severity == "critical" and names_it(item, code, words_of(code)) for item in found), (code, found)
        assert len({(item.id, item.summary, item.evidence) for item in found}) == len(found)


def test_a_refusal_without_a_code_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """X509_V_OK beside an error would read as "trusted"."""
    from probe.observe.connection import Trust
    from probe.observe.connection.handshake import seen_in

    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 0, ""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=HOST)
    handshake = seen_in(tls, HOST, Trust(), error)
    assert handshake.openssl_code == 1 and not handshake.complete and not handshake.verified
    assert handshake.openssl_text


# -- refusals that our own reading does not see, in handshakes that OpenSSL ends itself ------------------------------


def ca(name: str, issuer: Made | None, **differs: Any) -> Made:
    return make(replace(CA, name=name, **differs), issuer)


def other_domains_only() -> x509.NameConstraints:
    return x509.NameConstraints([x509.DNSName("fabrikam.test")], None)


OLD_ROOT = ca("Old Root", None, days=(-4000, -5))
SHORT = ca("One Tier Only", ROOT, path_length=0)
NARROW = ca("Fabrikam Only", ROOT, extra=((other_domains_only(), True),))
BELOW_OLD, BELOW_SHORT = ca("Issuing CA", OLD_ROOT), ca("One Too Many", SHORT)
NEW_TERMS = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")

REFUSED: dict[str, tuple[int, str, list[Made], list[Made], str]] = {
    # name: code, finding, what is sent, what is trusted, words in the cause
    "the-trusted-root-has-expired": (10, NOT_TRUSTED, [make(LEAF, BELOW_OLD), BELOW_OLD], [OLD_ROOT], "root that is trusted"),
    "a-name-with-a-final-dot": (62, MISMATCH, [leaf(names=(f"{HOST}.",)), INTERMEDIATE], [ROOT], ""),
    "path-too-long": (25, NOT_TRUSTED, [make(LEAF, BELOW_SHORT), BELOW_SHORT, SHORT], [ROOT], "path length"),
    "name-not-permitted": (47, NOT_TRUSTED, [make(LEAF, NARROW), NARROW], [ROOT], "name constraints"),
    "a-critical-extension-nobody-knows": (34, NOT_TRUSTED, [leaf(extra=((NEW_TERMS, True),)), INTERMEDIATE], [ROOT], "critical"),
}


async def refused_run(case: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **tls: Any) -> probe.Report:
    _, _, sent, trusted, _ = REFUSED[case]
    monkeypatch.setenv("PW", "never-sent-Horse7battery")
    async with showing(sent, folder) as (ports, received):
        given = profile(Row(lambda _: [], set()), ports, folder)
        (folder / "root.pem").write_bytes(b"".join(made.pem for made in trusted))
        given["tls"] |= tls
        report = await probe.run(given, light=True, raise_bugs=True)
    assert tls or b"never-sent" not in received
    return report


@pytest.mark.parametrize("case", REFUSED)
async def test_what_only_openssl_sees(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, expected, _, _, cause = REFUSED[case]
    report = await refused_run(case, tmp_path, monkeypatch)
    for leg in ("smtp", "imap", "pop3"):
        (found,) = [item for item in report.findings if item.stage == f"{leg}.certificate"]
        assert (found.id, found.severity) == (expected, "critical") and cause in found.cause, found
        assert f"OpenSSL code {code}: " in found.evidence


@pytest.mark.parametrize(
    ("case", "severity"),
    [("the-trusted-root-has-expired", "info"), ("name-not-permitted", "critical"), ("path-too-long", "critical")],
)
async def test_a_pin_takes_the_place_of_the_root_only(
    case: str, severity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What every user's program refuses whatever it trusts stays critical."""
    pin = REFUSED[case][2][0].certificate.fingerprint(hashes.SHA256()).hex()
    report = await refused_run(case, tmp_path, monkeypatch, thumbprint=pin)
    assert {item.severity for item in report.findings if item.id == NOT_TRUSTED} == {severity}


async def test_who_trusts_any_certificate_still_reads_openssls_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = await refused_run("name-not-permitted", tmp_path, monkeypatch, trust_any_certificate=True)
    found = [item for item in report.findings if item.id == NOT_TRUSTED]
    assert len(found) == 3 and {item.severity for item in found} == {"warning"}
    assert all("OpenSSL code 47: " in item.evidence for item in found)
