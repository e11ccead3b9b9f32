"""Which rule of a product most likely picked a wrong certificate, and what changes it, from what was seen on all ports."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from probe.facts import Connected, Ehlo, Greeted
from probe.judge import findings
from probe.observe.certified import certified
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target
from probe.report import Finding
from probe.tasks.plan import plugins
from tests.certificates.chains import CA, HOST, Made, Recipe, make
from tests.certificates.test_table import INTERMEDIATE, LEAF, ROOT

EXCHANGE = {"smtp": f"220 {HOST} Microsoft ESMTP MAIL Service ready", "imap": "* OK The Microsoft Exchange IMAP4 service is ready."}
POSTFIX = {"smtp": f"220 {HOST} ESMTP Postfix", "imap": "* OK Dovecot ready."}
ODD = {"smtp": f"220 {HOST} ESMTP", "imap": "* OK ready"}


PROFILE = load_mapping(
    {
        "submission": {"host": HOST},
        "account": {"username": "p@contoso.test", "password": {"env": "X"}},
        "readback": {"imap": {}},
    },
    plugins=plugins(),
)


def judged(greetings: dict[str, str], own_name: str, smtp: Made, imap: Made) -> dict[tuple[str, str], Finding]:
    """By id and stage, the findings of a run that was shown these leaves below a trusted intermediate."""
    stages = (
        StageRecord("smtp.greeting", "ok", facts=Greeted(lines=[greetings["smtp"]])),
        StageRecord("smtp.ehlo", "ok", facts=Ehlo(name=own_name)),
        StageRecord("smtp.certificate", "ok", facts=_shown(smtp)),
        StageRecord("imap.connect", "ok", facts=Connected(greeting=greetings["imap"])),
        StageRecord("imap.certificate", "ok", facts=_shown(imap)),
    )
    record = Record("id", "p", Target(HOST, 587, "starttls"), "2026-01-01T00:00:00Z", 0.0, stages)
    return {(found.id, found.stage): found for found in findings(record, PROFILE)}


def _shown(leaf: Made):
    chain = [made.certificate.public_bytes(Encoding.DER) for made in (leaf, INTERMEDIATE)]
    alone = leaf.certificate.subject == leaf.certificate.issuer
    code, now = (18 if alone else 0), datetime.now(UTC)
    return certified(chain[: 1 if alone else 2], host=HOST, openssl_code=code, openssl_text="", now=now)


GOOD = make(LEAF, INTERMEDIATE)
OTHER = make(replace(LEAF, name="www.contoso.test", names=("www.contoso.test",)), INTERMEDIATE)
OWN = make(Recipe(name="EX01", names=("EX01", "ex01.contoso.test")))
OLD = make(replace(LEAF, days=(-100, -1)), INTERMEDIATE)
MISMATCH = "certificate.name-mismatch"


def test_exchange_fell_back_on_its_own() -> None:
    found = judged(EXCHANGE, "ex01.contoso.test", OWN, GOOD)["certificate.self-signed", "smtp.certificate"]
    assert "fell back on its own certificate" in found.cause and "(ex01.contoso.test)" in found.cause
    assert any(f"Enable-ExchangeCertificate -Thumbprint {_sha1(GOOD)} -Services SMTP" in line for line in found.remedy)
    assert any(f"-TlsCertificateName '<I>CN=Contoso Issuing CA<S>CN={HOST}'" in line for line in found.remedy)


def test_exchange_took_it_for_the_connectors_fqdn() -> None:
    found = judged(EXCHANGE, "www.contoso.test", OTHER, OTHER)[MISMATCH, "smtp.certificate"]
    assert "for the connector's Fqdn, www.contoso.test" in found.cause
    assert any(f"-Fqdn {HOST}" in line for line in found.remedy)


def test_exchange_was_given_it_by_name() -> None:
    found = judged(EXCHANGE, HOST, OTHER, GOOD)[MISMATCH, "smtp.certificate"]
    assert "The connector's TlsCertificateName likely names it" in found.cause


def test_exchanges_imap_takes_what_its_settings_name() -> None:
    found = judged(EXCHANGE, HOST, GOOD, OTHER)[MISMATCH, "imap.certificate"]
    assert "X509CertificateName" in found.cause
    assert any(f"Set-ImapSettings -X509CertificateName {HOST}" in line and _sha1(GOOD) in line for line in found.remedy), (
        found.remedy
    )
    assert any("Restart-Service MSExchangeImap4,MSExchangeIMAP4BE" in line for line in found.remedy)
    assert not any("Set-PopSettings" in line or "postfix" in line for line in found.remedy)


def test_a_service_that_was_not_reloaded() -> None:
    found = judged(POSTFIX, HOST, OLD, GOOD)
    assert "not reloaded since the renewal: imap already shows" in found["certificate.expired", "smtp.certificate"].cause
    assert found["certificate.not-reloaded", "smtp.certificate"].severity == "warning"
    other_way = judged(POSTFIX, HOST, GOOD, OLD)
    assert "Dovecot likely was not reloaded" in other_way["certificate.expired", "imap.certificate"].cause
    assert ("certificate.not-reloaded", "imap.certificate") in other_way


def test_postfix_and_dovecot_name_their_files_and_maps() -> None:
    found = judged(POSTFIX, HOST, OTHER, OTHER)
    assert any("tls_server_sni_maps" in line for line in found[MISMATCH, "smtp.certificate"].remedy)
    assert any(f"local_name {HOST}" in line for line in found[MISMATCH, "imap.certificate"].remedy)


@pytest.mark.parametrize("stage", ["smtp.certificate", "imap.certificate"])
def test_of_an_unknown_product_no_rule_is_said(stage: str) -> None:
    from probe.judge.certificate import FINDINGS

    found = judged(ODD, HOST, OTHER, OTHER)[MISMATCH, stage]
    assert found.cause == FINDINGS[MISMATCH].cause


def test_of_an_unknown_product_the_certificate_of_another_port_is_named_and_none_is_bought() -> None:
    found = judged(ODD, HOST, GOOD, OTHER)[MISMATCH, "imap.certificate"]
    assert f"the certificate that smtp shows (SHA-1 {_sha1(GOOD)})" in found.remedy[0]
    assert not any("obtain a certificate" in step for step in found.remedy)


def _sha1(made: Made) -> str:
    from cryptography.hazmat.primitives import hashes

    return made.certificate.fingerprint(hashes.SHA1()).hex().upper()


@pytest.mark.parametrize(
    ("chain", "roots", "summary", "cause"),
    [
        ("intermediate", "new-key", "ca_file has a root named CN=Contoso Root, with another key", "the CA likely has a new key"),
        ("root", "none", "ca_file lacks the root that the server sends: CN=Contoso Root", "The server sends its root itself"),
        ("ad-cs", "none", "the issuer is not trusted here: CN=Contoso Root", "certutil -ca.cert FILE on the CA"),
        ("intermediate", "none", "the issuer is not trusted here: CN=Contoso Root", "the CA is likely private"),
    ],
)
def test_why_the_issuer_is_unknown(chain: str, roots: str, summary: str, cause: str) -> None:
    ldap = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("ldap:///CN=Contoso%20Root")
            )
        ]
    )
    sent = {
        "intermediate": [GOOD, INTERMEDIATE],
        "root": [GOOD, INTERMEDIATE, ROOT],
        "ad-cs": [make(replace(LEAF, extra=((ldap, False),)), ROOT)],
    }[chain]
    trusted = [make(replace(CA, name="Contoso Root"))] if roots == "new-key" else []
    facts = certified(
        _der(sent),
        host=HOST,
        openssl_code=19 if chain == "root" else 20,
        openssl_text="",
        now=datetime.now(UTC),
        roots=_der(trusted),
    )
    stage = StageRecord("smtp.certificate", "failed", facts=replace(facts, trust_store="ca_file"))
    record = Record("id", "p", Target(HOST, 587, "starttls"), "2026-01-01T00:00:00Z", 0.0, (stage,))
    (found,) = [item for item in findings(record, PROFILE) if item.id == "certificate.unknown-issuer"]
    assert found.summary == summary and cause.lower() in found.cause.lower()


def _der(chain: list[Made]) -> list[bytes]:
    return [made.certificate.public_bytes(Encoding.DER) for made in chain]
