"""Limbo's rules in real handshakes: where our verdict, OpenSSL's and limbo's expectation are not the same, the reason stands here.

Limbo has much refused that CAs must not issue (CA/B Forum BR, RFC 5280) but that no mail program looks at. The probe says what
users' programs do: what OpenSSL accepts is accepted, unless a finding of our own says why programs will fail on it.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

import probe
from probe.facts import Certified
from tests.certificates.limbo import CASES
from tests.certificates.test_table import Row, profile, showing

# A serial of zero is what one case is about.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

FOR_CAS = (
    "a rule for CAs only (CA/B Forum BR; RFC 5280 of conforming CAs): OpenSSL looks only with its strict flag, mail programs do not"
)
USAGES = "a rule for public CAs (CA/B Forum BR 7.1.2.7.10): usages beside serverAuth forbid nothing, and private CAs set them"
NOT_THE_CN = "the CN is no name (RFC 9525): OpenSSL and programs look at the subjectAltName, which is right"
ROOTS_OWN = "of a root only name and key count (RFC 5280 section 6.1.1 d): its own extensions are no part of the path"
ONE_PATH = "OpenSSL takes the first issuer that fits and does not come back to try another; programs that use it fail"


@dataclass(frozen=True)
class Difference:
    """Whether OpenSSL accepts, whether we do, and why it is not what limbo expects."""

    openssl: bool
    ours: bool
    reason: str


def accepted(reason: str, *cases: str) -> dict[str, Difference]:
    """Limbo has these refused."""
    return dict.fromkeys(cases, Difference(True, True, reason))


def refused(reason: str, *cases: str) -> dict[str, Difference]:
    """Limbo has these accepted."""
    return dict.fromkeys(cases, Difference(False, False, reason))


DIFFERENCES = {
    **accepted(
        FOR_CAS,
        "webpki::san::san-critical-with-nonempty-subject", "webpki::eku::ee-critical-eku", "webpki::eku::ee-without-eku",
        "webpki::malformed-aia", "rfc5280::ee-empty-issuer", "rfc5280::ca-empty-subject", "rfc5280::leaf-ku-keycertsign",
        "rfc5280::aki::leaf-missing-aki", "rfc5280::aki::intermediate-missing-aki", "rfc5280::ski::intermediate-missing-ski",
        "rfc5280::san::noncritical-with-empty-subject", "rfc5280::serial::too-long", "rfc5280::serial::zero",
        "rfc5280::pc::ica-noncritical-pc", "rfc5280::nc::permitted-dns-match-noncritical",
        "rfc5280::nc::not-allowed-in-ee-noncritical", "rfc5280::nc::not-allowed-in-ee-critical",
        "webpki::nc::intermediate-permitted-excluded-subtrees-both-null",
    ),
    **accepted(
        USAGES,
        "webpki::eku::ee-anyeku", "webpki::eku::ee-precertificate-with-serverauth", "webpki::eku::ee-codesigning-with-serverauth",
        "webpki::eku::ee-emailprotection-with-serverauth", "webpki::eku::ee-timestamping-with-serverauth",
        "webpki::eku::ee-ocspsigning-with-serverauth",
    ),
    **accepted(
        NOT_THE_CN,
        "webpki::cn::ipv4-hex-mismatch", "webpki::cn::ipv4-leading-zeros-mismatch", "webpki::cn::ipv6-uppercase-mismatch",
        "webpki::cn::ipv6-uncompressed-mismatch", "webpki::cn::ipv6-non-rfc5952-mismatch", "webpki::cn::punycode-not-in-san",
        "webpki::cn::utf8-vs-punycode-mismatch", "webpki::cn::not-in-san", "webpki::cn::case-mismatch",
    ),
    **accepted(
        ROOTS_OWN,
        "webpki::eku::root-has-eku", "webpki::aki::root-with-aki-missing-keyidentifier", "rfc5280::root-missing-basic-constraints",
        "rfc5280::root-non-critical-basic-constraints", "rfc5280::ski::root-missing-ski",
    ),
    **accepted("programs take a CA's certificate for a server's; a warning says that it is one", "webpki::ee-basicconstraints-ca"),
    **accepted(
        "OpenSSL reads a leading period as any name below, and limbo says that most do",
        "rfc5280::nc::invalid-dnsname-leading-period",
    ),
    **accepted(
        "OpenSSL looks at the names one by one and the name asked for is permitted; the malformed one beside it matches nothing",
        "rfc5280::nc::nc-permits-invalid-dns-san",
    ),
    **accepted(
        "OpenSSL compares the wildcard itself with the constraint, not the names it stands for (CVE-2025-61727 is Go's)",
        "cve::cve-2025-61727",
    ),
    **refused(
        "the CA's key usage (no digital signature) forbids TLS, which limbo's case does not ask about; OpenSSL and we do",
        "rfc5280::ca-as-leaf",
    ),
    **refused(
        "ca_file holds an intermediate only: OpenSSL wants a path to a root unless it is told X509_V_FLAG_PARTIAL_CHAIN",
        "rfc5280::root-and-intermediate-swapped",
    ),
    **refused(ONE_PATH, "rfc5280::nc::nc-forbids-alternate-chain-ica", "rfc5280::nc::nc-forbids-same-chain-ica"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_case(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "never-sent-Horse7battery")
    case = CASES[name]()
    async with showing(list(case.sent), tmp_path) as (ports, received):
        given = {**profile(Row(lambda _: [], set(), host=case.host), ports, tmp_path), "readback": {}}
        (tmp_path / "root.pem").write_bytes(b"".join(made.pem for made in case.trusted))
        report = await probe.run(given, light=True, raise_bugs=True)
    stage = next(stage for stage in report.stages if stage.name == "smtp.certificate")
    facts = stage.record.seen(Certified)
    critical = [item for item in report.findings if item.stage == stage.name and item.severity == "critical"]
    expected = DIFFERENCES.get(name) or Difference(case.good, case.good, "")
    assert (facts.openssl_code == 0, not critical) == (expected.openssl, expected.ours), (facts.openssl_text, critical)
    # Whatever limbo expects: no password to a certificate that OpenSSL does not accept, and no refusal without its words.
    assert facts.openssl_code == 0 or b"never-sent" not in received
    assert facts.openssl_code == 0 or any(f"OpenSSL code {facts.openssl_code}: " in item.evidence for item in critical)


def test_the_list_of_differences_is_of_cases_that_differ() -> None:
    assert DIFFERENCES.keys() <= CASES.keys()
    for name, difference in DIFFERENCES.items():
        assert {difference.openssl, difference.ours} != {CASES[name]().good} and difference.reason
