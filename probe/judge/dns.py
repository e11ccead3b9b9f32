"""What the named resolvers say: the FQDN must exist inside and outside (Microsoft, authenticated SMTP for POP3/IMAP4 clients)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from probe.facts import Resolved
from probe.facts.parts import Lookup
from probe.judge._finding import finding
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
    "dns.private-address": Kind(
        "a public resolver gives an address that is not of the internet",
        "An inside address is likely in the public zone, or something on the way (a filter, a sinkhole) answers in its place: "
        "users outside cannot connect.",
        (
            "Check: Resolve-DnsName NAME -Server SERVER (Windows), or dig @SERVER NAME",
            "Fix: the A/AAAA record in the public zone; if a filter answered, ask another public resolver in dns.resolvers",
        ),
    ),
    "dns.system-differs": Kind(
        "this machine resolves the name to other addresses than the profile's resolvers",
        "The hosts file likely has the name, or this machine's own resolver another zone: what is probed is not what users reach.",
        (
            "Check: getent hosts NAME, and /etc/hosts (Windows: Resolve-DnsName NAME, and System32\\drivers\\etc\\hosts)",
            "If it is on purpose: name the address in submission.connect, and DNS is not asked",
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


_finding = partial(finding, FINDINGS)
_STAGE = "smtp.resolve"
# By its name in the profile: what it answers is what the world sees.
_PUBLIC = re.compile(r"public|external|outside|internet|extern", re.IGNORECASE)


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    seen = record.seen(_STAGE, Resolved)
    yield from _of_host(seen.resolvers, profile)
    for host, answers in seen.reader_hosts.items():
        for found in _of_host(answers, profile, expected=False):
            yield replace(found, summary=f"{host}: {found.summary}")
    yield from _beside_the_system(seen)


def _of_host(answers: Mapping[str, Lookup], profile: Profile, *, expected: bool = True) -> Iterator[Finding]:
    for name, answer in answers.items():
        yield from _trouble(name, answer)
        if _PUBLIC.search(name):
            yield from _unreachable(name, answer)
    given = {name: _addresses(answer["addresses"]) for name, answer in answers.items() if not answer["error"]}
    wanted = profile.dns.addresses if expected else {}
    for name, addresses in given.items():
        if name in wanted and addresses != _addresses(wanted[name]):
            text = f"resolver {name} answers {' '.join(addresses)}; expected {' '.join(wanted[name])}"
            yield _finding("dns.unexpected-answer", "warning", _STAGE, text, " ".join(addresses))
    if len({tuple(addresses) for name, addresses in given.items() if name not in wanted}) > 1:
        evidence = "; ".join(f"{name}: {' '.join(addresses)}" for name, addresses in given.items())
        severity: Severity = "info" if profile.dns.split else "warning"
        yield _finding("dns.resolvers-differ", severity, _STAGE, evidence=evidence)


def _trouble(name: str, answer: Lookup) -> Iterator[Finding]:
    text = f"resolver {name} ({answer['server']}): {answer['text']}"
    if answer["error"] == "no-record":
        yield _finding("dns.resolver-no-record", "critical", _STAGE, text, answer["text"])
    elif answer["error"]:
        yield _finding("dns.resolver-failed", "warning", _STAGE, text, answer["text"])
    elif answer["text"]:
        # The name resolves; clients that ask for the other kind of address wait, and then take this one.
        text = f"resolver {name} ({answer['server']}) answers {' '.join(answer['addresses'])}, and fails for {answer['text']}"
        yield _finding("dns.resolver-failed", "warning", _STAGE, text, answer["text"])


def _unreachable(name: str, answer: Lookup) -> Iterator[Finding]:
    """What nobody outside can reach. Loopback is left to the other checks: whoever tests on one machine means it."""
    found = [text for text in answer["addresses"] if _is_inside(text)]
    if found:
        text = f"resolver {name} gives an address that is not of the internet: {' '.join(found)}"
        yield _finding("dns.private-address", "warning", _STAGE, text, " ".join(found))


def _is_inside(text: str) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in _INSIDE)


# RFC 1918, RFC 6598 (a provider's NAT), RFC 3927, RFC 4193, RFC 4291 section 2.5.6; and what sinkholes answer (RFC 1122, ::).
_INSIDE = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "0.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::/128",
    )
)


def _beside_the_system(seen: Resolved) -> Iterator[Finding]:
    """This machine goes elsewhere than every resolver of the profile says: its hosts file, or a resolver of its own."""
    given = {address for answer in seen.resolvers.values() if not answer["error"] for address in _addresses(answer["addresses"])}
    own = _addresses(seen.addresses)
    if given and own and not given & set(own):
        text = f"this machine resolves {seen.name} to {' '.join(own)}, which none of the profile's resolvers gives"
        yield _finding("dns.system-differs", "info", _STAGE, text, " ".join(own))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _addresses(texts: Iterable[str]) -> list[str]:
    """In one form (RFC 5952) and order, so that addresses are compared and not their spelling."""
    return sorted(str(_address(text.strip("[]")) or text) for text in texts)
