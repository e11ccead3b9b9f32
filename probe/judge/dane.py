"""DANE: whether the TLSA records of each port stand for the server behind it (RFC 7671; RFC 7672 for SMTP).

It judges what DNS promises, not whether a secret may be sent. The resolver's word for DNSSEC is taken (its AD bit), as any program
does that does not validate by itself: it proves something where the way to that resolver is trusted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from probe.certificate.tlsa import DANE_TA, PKIX_TA, Tlsa
from probe.facts import Certified
from probe.facts.parts import TlsaAnswer, TlsaRecord
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind, Severity

_ROLL = (
    "Before a key changes, publish the new key's record beside the old one and wait for twice its TTL (RFC 7671 section 8.1); or "
    "renew with the same key (certbot renew --reuse-key)"
)
_DIG = (
    "dig +dnssec NAME TLSA (Windows, whose Resolve-DnsName knows no TLSA: Invoke-RestMethod "
    "'https://dns.google/resolve?name=NAME&type=TLSA', where AD says whether it is authentic)"
)
_CHECK = f"Check: {_DIG}"

FINDINGS = {
    "dane.no-match": Kind(
        "no TLSA record stands for the certificate served",
        "The certificate was likely renewed with another key, or another one is served, and the record was not changed.",
        (_ROLL, _CHECK),
    ),
    "dane.missing": Kind(
        "there is no TLSA record",
        "It was likely never published for this port, or in another zone than the one asked: each port has a record of its own.",
        (
            "Fix: sign the zone and publish the record in it (Windows' DNS server: Add-DnsServerResourceRecord -TLSA "
            "-CertificateUsage DomainIssuedCertificate -Selector SubjectPublicKeyInfo -MatchingType Sha256Hash)",
            _CHECK,
        ),
    ),
    "dane.not-signed": Kind(
        "the TLSA record is not signed",
        "The zone is likely not signed by DNSSEC, or its parent has no DS record for it: clients take no notice of the record.",
        ("Fix: sign the zone and have the registrar publish its DS record", f"Check: delv NAME TLSA; {_DIG}"),
    ),
    "dane.not-validated": Kind(
        "the resolver does not say that the TLSA record is authentic",
        "The record is signed. The resolver likely does not validate, or the zone's parent has no DS record for it.",
        (
            "Fix: name a resolver that validates under [dns.resolvers] (unbound or knot-resolver on this machine, or 9.9.9.9)",
            f"Check: delv NAME TLSA; {_DIG}",
        ),
    ),
    "dane.lookup-failed": Kind(
        "the TLSA record could not be looked up",
        "The resolver gave no answer, or found the zone's signatures wrong (SERVFAIL): clients that use DANE do not connect then.",
        (
            f"Check: delv NAME TLSA says what is wrong; {_DIG}",
            "Fix: sign the zone anew; a secondary server may still have the old one",
        ),
    ),
    "dane.unusable": Kind(
        "the TLSA records are of no use to clients",
        "All are of usage 0 or 1, which SMTP clients do not use (RFC 7672 section 3.1.3), or of parameters that nobody knows.",
        (_CHECK,),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    for stage in record.stages:
        facts = stage.seen(Certified)
        if facts.tlsa:
            yield from _judged(stage.name, facts, expected=profile.expect.dane)


# Records of a finding, and characters of each (SHA-512 in hex).
_MOST_SHOWN, _LONGEST = 5, 128


def _judged(stage: str, facts: Certified, *, expected: bool) -> Iterator[Finding]:
    grave: Severity = "critical" if expected else "warning"
    given = {name: answer for name, answer in facts.tlsa.items() if answer["records"]}
    if not given:
        if expected:
            yield _absent(stage, facts)
        return
    same: dict[str, list[str]] = {}
    for name, answer in given.items():
        same.setdefault(_spelt(answer["records"]), []).append(name)
    for names in same.values():
        answer = given[names[0]]
        for found in _compared(stage, answer, ", ".join(names), grave):
            yield _with_the_right_one(found, answer, facts)
    if not any(answer["authenticated"] for answer in given.values()):
        yield _not_authentic(stage, given, grave, expected=expected)


def _absent(stage: str, facts: Certified) -> Finding:
    denied = [answer for answer in facts.tlsa.values() if answer["error"] == "no-record"]
    answer = next(iter(denied or facts.tlsa.values()))
    name = "dane.missing" if denied else "dane.lookup-failed"
    text = f"{FINDINGS[name].summary}: {answer['name']}: {answer['text']}"
    found = finding(FINDINGS, name, "critical", stage, text, answer["text"])
    return _with_the_right_one(found, answer, facts) if denied else found


def _with_the_right_one(found: Finding, answer: TlsaAnswer, facts: Certified) -> Finding:
    """What to publish comes first: it can be copied as it stands."""
    return replace(found, remedy=(f"Publish: {answer['name']}. IN TLSA {facts.tlsa_right}", *found.remedy))


def _compared(stage: str, answer: TlsaAnswer, resolvers: str, grave: Severity) -> Iterator[Finding]:
    """What one set of records says. Those that clients do not use count only where there are no others."""
    records = answer["records"]
    usable = _usable(records, DANE_TA if stage.startswith("smtp.") else PKIX_TA)
    if all(one["mismatch"] for one in usable or records):
        text = f"no TLSA record of {answer['name']} stands for the certificate served (asked: {resolvers})"
        yield finding(FINDINGS, "dane.no-match", grave, stage, text, _shown(records))
    if not usable:
        severity: Severity = "warning" if grave == "critical" else "info"
        yield finding(FINDINGS, "dane.unusable", severity, stage, evidence=_shown(records))


def _not_authentic(stage: str, given: dict[str, TlsaAnswer], grave: Severity, *, expected: bool) -> Finding:
    asked = ", ".join(f"{name} ({answer['server']})" for name, answer in given.items())
    if any(answer["signed"] for answer in given.values()):
        # Signed, and nobody here has looked at the signature: what clients find is not known.
        severity: Severity = "warning" if expected else "info"
        return finding(FINDINGS, "dane.not-validated", severity, stage, evidence=f"no AD bit from {asked}")
    return finding(FINDINGS, "dane.not-signed", grave, stage, evidence=f"no AD bit and no RRSIG from {asked}")


def _spelt(records: Sequence[TlsaRecord]) -> str:
    return "; ".join(sorted(f"{one['usage']} {one['selector']} {one['matching_type']} {one['data']}" for one in records))


def _shown(records: Sequence[TlsaRecord]) -> str:
    """Each with why it does not match; a whole certificate in a record is cut."""
    texts = []
    for one in records[:_MOST_SHOWN]:
        data = one["data"] if len(one["data"]) <= _LONGEST else f"{one['data'][:_LONGEST]}…"
        texts.append(f"{one['usage']} {one['selector']} {one['matching_type']} {data}: {one['mismatch'] or 'matches'}")
    return "; ".join(texts)


def _usable(records: Sequence[TlsaRecord], least: int) -> list[TlsaRecord]:
    """What a client uses: usages from `least` on; of each, by selector, no SHA-256 beside a SHA-512 (RFC 7671 section 9)."""
    strong = {(one["usage"], one["selector"]) for one in records if one["matching_type"] == 2}
    weaker = [one for one in records if one["matching_type"] == 1 and (one["usage"], one["selector"]) in strong]
    return [one for one in records if _is_known(one) and one["usage"] >= least and one not in weaker]


def _is_known(one: TlsaRecord) -> bool:
    return Tlsa(one["usage"], one["selector"], one["matching_type"], b"").is_known
