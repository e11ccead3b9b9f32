"""The names a server gives, and the EHLO lines the profile expects."""

from collections.abc import Iterator, Sequence

from probe.facts import Ehlo, Greeted
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "name.greeting-differs": Kind(
        "the server gives another name",
        "The connector's FQDN is likely not the one users are given, or another node answered.",
        ("Exchange: Set-ReceiveConnector 'NAME\\Client Frontend NAME' -Fqdn mail.contoso.com", "Postfix: postconf myhostname"),
    ),
    "ehlo.keyword-missing": Kind(
        "an EHLO keyword that the profile expects is missing",
        "The server's configuration changed, or something on the way removes keywords.",
        ("Compare the EHLO lines in the report with expect.ehlo and expect.ehlo_tls in the profile",),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    expect = profile.expect
    if expect.fqdn:
        named: dict[str, Greeted | Ehlo] = {"smtp.greeting": record.seen("smtp.greeting", Greeted)}
        named |= {stage: record.seen(stage, Ehlo) for stage in ("smtp.ehlo", "smtp.ehlo_tls")}
        for stage, seen in named.items():
            name = seen.name
            # "mail.contoso.com;" and "mail.contoso.com." are that name: some servers end it with punctuation.
            if name and name.strip(".,;:").lower() != expect.fqdn.rstrip(".").lower():
                kind = FINDINGS["name.greeting-differs"]
                text = f"the server calls itself {name}, not {expect.fqdn}"
                yield Finding("name.greeting-differs", "warning", stage, text, name, kind.cause, kind.remedy)
    yield from _keywords("smtp.ehlo", record.seen("smtp.ehlo", Ehlo), expect.ehlo)
    yield from _keywords("smtp.ehlo_tls", record.seen("smtp.ehlo_tls", Ehlo), expect.ehlo_tls)


def _keywords(stage: str, seen: Ehlo, expected: Sequence[str]) -> Iterator[Finding]:
    """Each expected line is a keyword and the parameters it must have at least: `AUTH LOGIN` holds for `AUTH NTLM LOGIN`."""
    if seen == Ehlo():
        return
    offered = seen.keywords
    for line in expected:
        keyword, *parameters = line.upper().split()
        given = [parameter.upper() for parameter in offered.get(keyword, ())]
        if keyword not in offered or not set(parameters) <= set(given):
            kind = FINDINGS["ehlo.keyword-missing"]
            shown = " ".join([keyword, *given]) if keyword in offered else "absent"
            text = f"EHLO does not offer {line!r}"
            yield Finding("ehlo.keyword-missing", "warning", stage, text, shown, kind.cause, kind.remedy)
