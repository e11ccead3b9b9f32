"""What the named resolvers say: the FQDN must exist inside and outside (Microsoft, authenticated SMTP for POP3/IMAP4 clients)."""

from collections.abc import Iterator

from probe.facts import Resolved
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind, Severity

FINDINGS = {
    "dns.resolver-no-record": Kind(
        "a resolver that the profile names does not know the FQDN",
        "The record is likely missing in that zone (internal and public DNS are often two).",
        (
            "Check: Resolve-DnsName NAME -Server SERVER (Windows), or dig @SERVER NAME A; dig @SERVER NAME AAAA",
            "Fix: add the A/AAAA record for the FQDN in that zone",
        ),
    ),
    "dns.resolver-failed": Kind(
        "a resolver that the profile names gave no answer",
        "It is likely unreachable from here, or refuses to answer this machine.",
        ("Check: Resolve-DnsName NAME -Server SERVER (Windows), or dig @SERVER NAME; check dns.resolvers in the profile",),
    ),
    "dns.resolvers-differ": Kind(
        "the resolvers give different addresses",
        "Split DNS does so on purpose; otherwise one of the zones is out of date.",
        (
            "Compare: Resolve-DnsName NAME -Server SERVER (Windows), or dig @SERVER NAME, for each",
            "If it is on purpose: split = true under [dns] in the profile",
        ),
    ),
    "dns.unexpected-answer": Kind(
        "a resolver gives other addresses than the profile expects",
        "The record was changed in that zone, or dns.addresses in the profile is out of date.",
        (
            "Check: Resolve-DnsName NAME -Server SERVER (Windows), or dig @SERVER NAME",
            "Fix: the A/AAAA record in that zone, or dns.addresses",
        ),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    answers = record.seen("smtp.resolve", Resolved).resolvers
    for name, answer in answers.items():
        if answer["error"]:
            finding = "dns.resolver-no-record" if answer["error"] == "no-record" else "dns.resolver-failed"
            grave: Severity = "critical" if answer["error"] == "no-record" else "warning"
            text = f"resolver {name} ({answer['server']}): {answer['text']}"
            kind = FINDINGS[finding]
            yield Finding(finding, grave, "smtp.resolve", text, answer["text"], kind.cause, kind.remedy)
    given = {name: sorted(answer["addresses"]) for name, answer in answers.items() if not answer["error"]}
    wanted = profile.dns.addresses
    for name, addresses in given.items():
        if name in wanted and addresses != sorted(wanted[name]):
            text = f"resolver {name} answers {' '.join(addresses)}; expected {' '.join(wanted[name])}"
            kind = FINDINGS["dns.unexpected-answer"]
            yield Finding("dns.unexpected-answer", "warning", "smtp.resolve", text, " ".join(addresses), kind.cause, kind.remedy)
    if len({tuple(addresses) for name, addresses in given.items() if name not in wanted}) > 1:
        kind = FINDINGS["dns.resolvers-differ"]
        evidence = "; ".join(f"{name}: {' '.join(addresses)}" for name, addresses in given.items())
        severity: Severity = "info" if profile.dns.split else "warning"
        yield Finding("dns.resolvers-differ", severity, "smtp.resolve", kind.summary, evidence, kind.cause, kind.remedy)
