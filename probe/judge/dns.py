"""What the named resolvers say: the FQDN must exist inside and outside (Microsoft, authenticated SMTP for POP3/IMAP4 clients)."""

from collections.abc import Iterator

from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "dns.resolver-no-record": Kind(
        "a resolver that the profile names does not know the FQDN",
        "The record is likely missing in that zone (internal and public DNS are often two).",
        ("Look: dig @SERVER NAME A; dig @SERVER NAME AAAA", "Mend: add the A/AAAA record for the FQDN in that zone"),
    ),
    "dns.resolver-failed": Kind(
        "a resolver that the profile names gave no answer",
        "It is likely unreachable from here, or refuses to answer this machine.",
        ("Look: dig @SERVER NAME; check dns.resolvers in the profile",),
    ),
    "dns.resolvers-differ": Kind(
        "the resolvers give different addresses",
        "Split DNS does so on purpose; otherwise one of the zones is out of date.",
        ("Compare: dig @SERVER NAME for each",),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    answers = record.facts("smtp.resolve").get("resolvers") or {}
    for name, answer in answers.items():
        if answer["error"]:
            finding = "dns.resolver-no-record" if answer["error"] == "no-record" else "dns.resolver-failed"
            severity = "critical" if answer["error"] == "no-record" else "warning"
            text = f"resolver {name} ({answer['server']}): {answer['text']}"
            kind = FINDINGS[finding]
            yield Finding(finding, severity, "smtp.resolve", text, answer["text"], kind.cause, kind.remedy)  # type: ignore[arg-type]
    given = {name: sorted(answer["addresses"]) for name, answer in answers.items() if not answer["error"]}
    if len({tuple(addresses) for addresses in given.values()}) > 1:
        kind = FINDINGS["dns.resolvers-differ"]
        evidence = "; ".join(f"{name}: {' '.join(addresses)}" for name, addresses in given.items())
        yield Finding("dns.resolvers-differ", "info", "smtp.resolve", kind.summary, evidence, kind.cause, kind.remedy)
