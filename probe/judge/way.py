"""How the message travelled: over TLS at every hop, by how many servers, and not by a stranger between two of our own."""

from collections.abc import Iterator, Sequence
from functools import partial

from probe.facts import Verified
from probe.facts.parts import HopSeen
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind, Severity

FINDINGS = {
    "hop.without-tls": Kind(
        "the message went over a network without TLS",
        "The server that sent it on likely does not try TLS, or the one that took it does not offer it there.",
        (
            "Postfix: postconf smtp_tls_security_level smtpd_tls_security_level (may tries it, encrypt demands it)",
            "Exchange: Get-SendConnector | fl Identity,RequireTLS,TlsAuthLevel; Get-ReceiveConnector | fl Identity,AuthMechanism,"
            "SuppressXAnonymousTls",
            "Exim: hosts_require_tls in the smtp transport; tls_advertise_hosts",
        ),
    ),
    "hop.too-many": Kind(
        "more servers had the message than the profile expects",
        "A gateway, a filter or a loop likely came in between.",
        ("Check: the hops in the facts of the verify stage, oldest first; probe compare says which is new",),
    ),
    "hop.detour": Kind(
        "mail from one mailbox of the domain to another went by a server elsewhere",
        "Likely a connector or relayhost sends all mail to a filter or gateway outside, internal mail too.",
        (
            "Exchange: Get-SendConnector | fl Identity,AddressSpaces,SmartHosts; Get-AcceptedDomain | fl DomainName,DomainType",
            "Postfix: postconf relayhost transport_maps content_filter",
        ),
    ),
}
_finding = partial(finding, FINDINGS)


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    for stage in record.stages:
        if stage.name.endswith(".verify") and stage.status == "ok":
            yield from of_hops(stage.name, stage.seen(Verified).hops, profile)
            # Each reader reads the same message.
            return


def of_hops(stage: str, hops: Sequence[HopSeen], profile: Profile) -> Iterator[Finding]:
    expect = profile.expect
    for hop in hops:
        if hop.get("transport") == "none":
            source = hop.get("source", "")
            text = f"the message went from {source} to {hop['by'] or 'the next server'} without TLS"
            severity: Severity = "critical" if expect.tls_on_every_hop else "info"
            yield _finding(
                "hop.without-tls", severity, stage, text, " ".join((hop.get("protocol", ""), hop.get("address", ""))).strip()
            )
    if expect.hops_at_most is not None and len(hops) > expect.hops_at_most:
        text = f"{len(hops)} hops, where the profile expects {expect.hops_at_most} at most"
        yield _finding("hop.too-many", "warning", stage, text, " → ".join(hop["by"] or "?" for hop in hops))
    yield from _detour(stage, hops, profile)


def _detour(stage: str, hops: Sequence[HopSeen], profile: Profile) -> Iterator[Finding]:
    """Of mail within one domain: a full name outside between two inside. What is inside: the sender's domain, and that of the
    submission's host."""
    domain = profile.sender.rpartition("@")[2].lower()
    if not domain or profile.recipient.rpartition("@")[2].lower() != domain:
        return
    own = {domain, profile.submission.host.lower().partition(".")[2]} - {""}
    names = [hop["by"].lower() for hop in hops]
    ours = [any(name == one or name.endswith(f".{one}") for one in own if "." in one) for name in names]
    if True not in ours:
        return
    first, last = ours.index(True), len(ours) - 1 - ours[::-1].index(True)
    outside = [names[at] for at in range(first + 1, last) if not ours[at] and "." in names[at].strip("[]")]
    if outside:
        text = f"mail within {domain} went by {', '.join(dict.fromkeys(outside))}"
        yield _finding("hop.detour", "info", stage, text, " → ".join(hop["by"] or "?" for hop in hops))
