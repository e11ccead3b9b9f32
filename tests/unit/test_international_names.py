"""International host names are IDNA 2008: what is resolved, sent as SNI and compared is the domain that was meant."""

import pytest

from probe.certificate.host_name import dns_name_matches
from probe.profile.values import host

SHARP_S = "xn--strae-oqa.example"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        # IDNA 2003 made strasse.example of it: somebody else's domain, which would have been given the password.
        ("mail.straße.example", f"mail.{SHARP_S}"),
        ("STRAẞE.example", SHARP_S),
        ("bücher.example", "xn--bcher-kva.example"),
        ("Bücher.EXAMPLE.", "xn--bcher-kva.example"),
        ("βόλος.example", "xn--nxasmm1c.example"),
        (SHARP_S, SHARP_S),
        ("mail_2.contoso.com", "mail_2.contoso.com"),
    ],
)
def test_a_name_becomes_the_a_label_of_its_own_domain(name: str, label: str) -> None:
    assert host(name) == label


@pytest.mark.parametrize("name", ["☃.example", "xn--zzzzzzzz999.example", "a‍b.example", "-ü.example", "ab--ü.example"])
def test_what_idna_2008_forbids_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        host(name)


def test_certificates_are_compared_in_the_same_form() -> None:
    assert dns_name_matches("*.xn--strae-oqa.example", "mail.straße.example")
    assert dns_name_matches(f"mail.{SHARP_S}", "mail.straße.example")
    assert not dns_name_matches("mail.straße.example", f"mail.{SHARP_S}")  # nobody converts what stands in a certificate
    assert not dns_name_matches("mail.strasse.example", "mail.straße.example")


@pytest.mark.parametrize(
    ("host", "shown"), [(f"mail.{SHARP_S}", " (mail.straße.example)"), ("mail.example", ""), ("xn--zzzzzzzz999.example", "")]
)
def test_the_a_label_is_shown_beside_what_people_write(host: str, shown: str) -> None:
    from probe.output._words import also_known_as

    assert also_known_as(host) == shown
