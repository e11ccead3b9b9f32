"""Name matching (RFC 9525) by properties, and Exchange's identifiers in every spelling."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.certificate.distinguished_name import parsed_name
from probe.certificate.host_name import dns_name_matches, why_not
from probe.certificate.identifier import assignment, same_identifier

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda text: not text.startswith("xn--"))
NAME = st.lists(LABEL, min_size=2, max_size=5).map(".".join)


@given(NAME)
def test_a_name_matches_itself_without_case_and_with_a_final_dot(name: str) -> None:
    assert dns_name_matches(name, name) and dns_name_matches(name.upper(), name) and dns_name_matches(name, f"{name}.")


@given(NAME, NAME)
def test_different_names_do_not_match(one: str, other: str) -> None:
    assert dns_name_matches(one, other) == (one == other)


@given(NAME, LABEL, LABEL)
def test_a_wildcard_stands_for_exactly_one_label(name: str, label: str, another: str) -> None:
    assert dns_name_matches(f"*.{name}", f"{label}.{name}")
    assert not dns_name_matches(f"*.{name}", name)
    assert not dns_name_matches(f"*.{name}", f"{label}.{another}.{name}")


@given(NAME, LABEL)
def test_a_wildcard_is_the_whole_left_most_label_or_none(name: str, label: str) -> None:
    for pattern in (f"{label}*.{name}", f"*{label}.{name}", f"{label}.*.{name}", f"*.*.{name}"):
        assert not dns_name_matches(pattern, f"{label}.{name}")
        assert not dns_name_matches(pattern, f"{label}.{label}.{name}")


@given(LABEL, LABEL)
def test_no_wildcard_for_a_top_level_domain(label: str, top: str) -> None:
    assert not dns_name_matches(f"*.{top}", f"{label}.{top}") and not dns_name_matches("*", label)


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_is_too_odd(pattern: str, host: str) -> None:
    assert dns_name_matches(pattern, host) in (True, False)
    entry: dict[str, Any] = {"dns_names": [pattern], "ip_addresses": [], "has_san": True}
    assert bool(why_not(entry, host)) != dns_name_matches(pattern, host)


def test_an_international_name_in_a_certificate_has_to_be_in_its_a_form() -> None:
    entry: dict[str, Any] = {"dns_names": ["müller.test.example"], "ip_addresses": [], "has_san": True}
    assert not dns_name_matches("müller.test.example", "xn--mller-kva.test.example")
    (reason,) = why_not(entry, "xn--mller-kva.test.example")
    assert reason.endswith("in its A-form: xn--mller-kva.test.example")


def test_an_international_name_is_compared_by_its_a_labels() -> None:
    assert dns_name_matches("xn--mller-kva.test.example", "müller.test.example")
    assert not dns_name_matches("xn--mller-kva.test.example", "muller.test.example")


@pytest.mark.parametrize(
    ("pattern", "host", "reason"),
    [
        ("www.contoso.com", "mail.contoso.com", "another name"),
        ("*.contoso.com", "a.mail.contoso.com", "one label"),
        ("*.contoso.com", "contoso.com", "one label"),
        ("*.fabrikam.com", "mail.contoso.com", "another domain"),
        ("m*.contoso.com", "mail.contoso.com", "whole left-most label"),
        ("*.com", "contoso.com", "top-level domain"),
    ],
)
def test_each_name_is_told_with_its_reason(pattern: str, host: str, reason: str) -> None:
    (told,) = why_not({"dns_names": [pattern], "ip_addresses": [], "has_san": True}, host)
    assert told.startswith(f"{pattern}: ") and reason in told


def test_a_cn_is_no_name() -> None:
    entry = {"dns_names": [], "ip_addresses": [], "has_san": False, "common_names": ["mail.contoso.com"]}
    assert why_not(entry, "mail.contoso.com") == ["CN mail.contoso.com: clients do not look at the CN (RFC 9525)"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("<I>CN=CA, O=Contoso<S>CN=mail", "<I>CN=CA,O=Contoso<S>CN=mail", True),
        ("<I>O=Contoso, CN=CA<S>CN=mail", "<I>CN=CA, O=Contoso<S>CN=mail", True),
        ("<I>cn=ca<S>ST=Bavaria, CN=Mail", "<I>CN=CA<S>S=bavaria, CN=mail", True),
        ('<I>CN="Contoso, Inc. CA"<S>CN=mail', "<I>CN=Contoso\\, Inc. CA<S>CN=mail", True),
        ("<I>E=a@b, CN=CA<S>CN=mail", "<I>emailAddress=a@b, CN=CA<S>CN=mail", True),
        ("<I>OID.2.5.4.3=CA<S>CN=mail", "<I>CN=CA<S>CN=mail", True),
        ("<I>CN=CA<S>CN=mail", "<I>CN=CA 2<S>CN=mail", False),
        ("<I>CN=CA<S>CN=mail", "<I>CN=mail<S>CN=CA", False),
        # The subject alone.
        ("CN=mail", "<I>CN=CA<S>CN=mail", True),
        ("CN=CA", "<I>CN=CA<S>CN=mail", False),
        # A certificate without a subject, as Let's Encrypt issues them.
        ("<I>CN=CA<S>", "<I>CN=CA<S>", True),
        ("<I>CN=CA<S>", "<I>CN=CA<S>CN=mail", False),
        # Other marks: .NET's X509Certificate2.ToString, certutil, openssl x509 -issuer -subject, Windows' certificate mapping.
        ("[Subject] CN=mail, O=Contoso [Issuer] CN=CA", "<I>CN=CA<S>CN=mail, O=Contoso", True),
        ("Issuer: CN=CA Subject: CN=mail, O=Contoso", "<I>CN=CA<S>CN=mail, O=Contoso", True),
        ("issuer=CN = CA, subject=O = Contoso, CN = mail", "<I>CN=CA<S>CN=mail, O=Contoso", True),
        ("X509:<I>CN=CA<S>CN=mail", "<I>CN=CA<S>CN=mail", True),
        ("<s>CN=mail<i>CN=CA", "<I>CN=CA<S>CN=mail", True),
        ("<I>CN=Other CA<S>CN=mail", "<I>CN=CA<S>CN=mail", False),
        # OpenSSL's form of old; a slash within a value.
        ("<I>/CN=CA<S>/C=US/O=A/B Ltd/CN=mail", "<I>CN=CA<S>CN=mail, O=A/B Ltd, C=US", True),
        # Several attributes in one relative name, in any order, and no more than that.
        ("<I>CN=CA<S>OU=IT + CN=mail, C=US", "<I>CN=CA<S>CN=mail+OU=IT, C=US", True),
        ("<I>CN=CA<S>OU=IT, CN=mail, C=US", "<I>CN=CA<S>CN=mail + OU=IT, C=US", False),
        # An EV certificate's attributes, in words and in numbers.
        (
            "<I>CN=CA<S>CN=m, businessCategory=Private Organization, jurisdictionC=US",
            "<I>CN=CA<S>CN=m, OID.2.5.4.15=Private Organization, OID.1.3.6.1.4.1.311.60.2.1.3=US",
            True,
        ),
        # RFC 4514: octets of UTF-8 in hex.
        ("<I>CN=CA<S>CN=mail, O=M\\C3\\BCller", "<I>CN=CA<S>CN=mail, O=Müller", True),
        ("<I>CN=CA<S>nonsense", "<I>CN=CA<S>nonsense", False),
    ],
)
def test_identifiers_are_compared_as_names(one: str, other: str, same: bool) -> None:
    assert same_identifier(one, other) is same


@given(st.text(max_size=40))
def test_no_identifier_is_too_odd(text: str) -> None:
    parsed = parsed_name(text)
    assert parsed is None or all(parsed) or not text.strip()
    same_identifier(f"<I>{text}<S>{text}", text)


def test_the_line_to_paste_is_quoted_for_powershell() -> None:
    assert assignment("<I>CN=O'Hara<S>CN=m").endswith("-TlsCertificateName '<I>CN=O''Hara<S>CN=m'")
