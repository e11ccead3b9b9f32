"""Names of certificates, and names in them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from probe.certificate.chain import read_chain
from probe.certificate.distinguished_name import dotnet_name
from probe.certificate.host_name import dns_name_matches
from probe.facts import Certified
from probe.observe.certified import certified

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("mail.contoso.com", "MAIL.contoso.COM", True),
        ("mail.contoso.com", "mail.contoso.com.", True),
        ("*.contoso.com", "mail.contoso.com", True),
        ("*.contoso.com", "contoso.com", False),
        ("*.contoso.com", "a.b.contoso.com", False),
        ("m*.contoso.com", "mail.contoso.com", False),
        ("*.com", "contoso.com", False),
        ("*", "contoso", False),
        ("mail.*.com", "mail.contoso.com", False),
        ("*.*.com", "mail.contoso.com", False),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("mail.contoso.com", "mail.contoso.net", False),
        ("", "mail.contoso.com", False),
    ],
)
def test_names_match_as_rfc_9525_says(pattern: str, host: str, matches: bool) -> None:
    assert dns_name_matches(pattern, host) is matches


labels = st.text("abcz019", min_size=1, max_size=5)


@given(st.lists(labels, min_size=3, max_size=5))
def test_a_wildcard_stands_for_exactly_one_label(parts: list[str]) -> None:
    pattern = ".".join(["*", *parts[1:]])
    assert dns_name_matches(pattern, ".".join(parts))
    assert not dns_name_matches(pattern, ".".join(["x", *parts]))
    assert not dns_name_matches(pattern, ".".join(parts[1:]))


def test_dotnet_names() -> None:
    oid = x509.NameOID
    parts = [(oid.COUNTRY_NAME, "AT"), (oid.STATE_OR_PROVINCE_NAME, "Wien"), (oid.ORGANIZATION_NAME, 'Contoso "Ltd"')]
    name = x509.Name([x509.NameAttribute(*part) for part in [*parts, (oid.COMMON_NAME, "mail, one")]])
    assert dotnet_name(name) == 'CN="mail, one", O="Contoso ""Ltd""", S=Wien, C=AT'


def der_of(leaf: trustme.LeafCert) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = leaf.cert_chain_pems[0].bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def facts_of(leaf: trustme.LeafCert, host: str, code: int | None = 0) -> Certified:
    return certified([der_of(leaf)], host=host, openssl_code=code, openssl_text="", now=NOW)


def test_facts_of_a_leaf() -> None:
    facts = facts_of(trustme.CA().issue_cert("mail.contoso.com", "10.0.0.1"), "mail.contoso.com")
    assert facts.trusted and facts.name_matches
    assert facts.subject_names == ["mail.contoso.com", "10.0.0.1"]
    assert len(facts.thumbprint) == 40 and len(facts.sha256) == 64
    assert facts.certificate_name.startswith("<I>") and "<S>" in facts.certificate_name
    assert facts_of(trustme.CA().issue_cert("10.0.0.1"), "10.0.0.1").name_matches


def test_a_wrong_name_does_not_hide_an_expired_chain() -> None:
    expired = trustme.CA().issue_cert("a.test", not_after=NOW - timedelta(days=1))
    assert facts_of(trustme.CA().issue_cert("a.test"), "b.test", code=62).trusted
    assert not facts_of(expired, "b.test", code=62).trusted


def test_rubbish_in_a_chain_hides_nothing_else() -> None:
    chain = read_chain((der_of(trustme.CA().issue_cert("a.test")), b"\x30\x03junk"))
    assert chain[0]["dns_names"] == ["a.test"]
    assert "error" in chain[1]


def test_no_certificate_is_not_trusted() -> None:
    facts = certified([], host="a.test", openssl_code=0, openssl_text="", now=NOW)
    assert not facts.trusted and not facts.name_matches and facts.thumbprint is None


def test_a_subject_that_cannot_be_read_is_an_error_of_that_entry_only() -> None:
    """Found by fuzzing: names are parsed late, and raised where nobody expected it."""
    corpus = Path(__file__).parent.parent.parent / "fuzz" / "corpus" / "certificate" / "bad-subject"
    chain = tuple(corpus.read_bytes().split(b"\0\0\0\0")[:4])
    facts = certified(chain, host="a.test", openssl_code=20, openssl_text="", now=NOW)
    assert not facts.trusted and "error" in facts.chain[0]
