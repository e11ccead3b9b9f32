"""One host, several ports: do they show one certificate, and was each service reloaded after a renewal?"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from probe.facts import Certified, Connected, instant
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind, Severity
from probe.report.drift import Leaf, leaf_of

if TYPE_CHECKING:
    # Some forty milliseconds that a run does without.
    from probe.report.fleet import Sighting

FINDINGS = {
    "certificate.differs-between-ports": Kind(
        "submission and readers show different certificates",
        "The certificate was likely renewed for one service only, or a service still serves the old one until it is restarted.",
        (
            "Exchange: Enable-ExchangeCertificate -Thumbprint THUMBPRINT -Services SMTP,POP,IMAP; "
            "Restart-Service MSExchangePop3,MSExchangeImap4",
            "Postfix: postfix reload   Dovecot: doveadm reload",
        ),
    ),
    "certificate.not-reloaded": Kind(
        "a service still shows the certificate of before its renewal",
        "The certificate was renewed, and this service was likely not reloaded: it reads its files when it starts.",
        (
            "Postfix: postfix reload   Dovecot: doveadm reload   nginx: nginx -s reload   haproxy: systemctl reload haproxy",
            "Exchange: Enable-ExchangeCertificate -Thumbprint THUMBPRINT -Services SMTP,POP,IMAP; "
            "Restart-Service MSExchangePop3,MSExchangeImap4,MSExchangePOP3BE,MSExchangeIMAP4BE",
            "Then let the renewal do it each time: certbot renew --deploy-hook 'postfix reload; doveadm reload'",
        ),
    ),
}
_finding = partial(finding, FINDINGS)


_OTHER_CHAIN = (
    "It is the same certificate; each service likely has a chain file of its own, one with more certificates in it than the other."
)
_SAME_CHAIN = ("Give both services one chain file: the certificate and its intermediates, without the root",)


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    """A reader of the same host and address that shows another leaf, or the same leaf with another chain, than the submission."""
    first = record.seen("smtp.certificate", Certified)
    if not first.chain:
        return
    for name, reader in profile.readers.items():
        facts = record.seen(f"{name}.certificate", Certified)
        if not facts.chain or profile.host_for(reader).lower() != profile.submission.host.lower() or _apart(record, name):
            continue
        chains = [[entry["sha256"] for entry in item.chain] for item in (first, facts)]
        if chains[0] != chains[1]:
            what = "another certificate" if chains[0][0] != chains[1][0] else "another chain"
            evidence = f"smtp: {_sent(first)}; {name}: {_sent(facts)}"
            text = f"{name} shows {what} than the submission port"
            # One subject and two ages: the older one was likely left behind by a renewal. Else it is likely so on purpose.
            leaves = leaf_of(first), leaf_of(facts)
            renewed = leaves[0] is not None and leaves[1] is not None and is_renewal(leaves[0], leaves[1])
            severity: Severity = "warning" if renewed else "info"
            if renewed and leaves[0] and leaves[1]:
                old, new = sorted((("smtp", leaves[0]), (name, leaves[1])), key=lambda shown: shown[1].not_before)
                yield not_reloaded(old, new, f"{old[0]}.certificate")
            found = _finding("certificate.differs-between-ports", severity, f"{name}.certificate", text, evidence)
            yield found if chains[0][0] != chains[1][0] else replace(found, cause=_OTHER_CHAIN, remedy=_SAME_CHAIN)


def _sent(facts: Certified) -> str:
    number = len(facts.chain)
    return f"{facts.thumbprint} ({number} certificate{'s' if number > 1 else ''} sent)"


def _apart(record: Record, reader: str) -> bool:
    """Whether both may have gone to two machines, of which neither says anything about the other: to two addresses, or to one
    behind which the nodes differ by their port alone."""
    here = record.seen("smtp.connect", Connected)
    there = _host(record.seen(f"{reader}.connect", Connected).remote)
    same = [node for node in (here.nodes["seen"] if here.nodes else ()) if _host(node["address"]) == there]
    return bool(here.remote and there) and (_host(here.remote) != there or len(same) > 1)


def _host(address: str | None) -> str:
    return (address or "").rpartition(":")[0]


def is_renewal(one: Leaf, other: Leaf) -> bool:
    """Whether one of two certificates took the other's place: made for the same subject (where that is empty, the same names) at
    another time."""
    begins = instant(one.not_before), instant(other.not_before)
    if _holder(one) != _holder(other) or begins[0] is None or begins[1] is None:
        return False
    return abs(begins[0] - begins[1]) > 86400


def _holder(leaf: Leaf) -> tuple[str, ...]:
    return (leaf.subject,) if leaf.subject else tuple(sorted(leaf.names))


def not_reloaded(old: tuple[str, Leaf], new: tuple[str, Leaf], stage: str) -> Finding:
    """Of two ports, each with its certificate, the one that still shows the certificate of before the renewal."""
    text = f"{old[0]} still shows the certificate from {old[1].not_before}; {new[0]} shows its renewal from {new[1].not_before}"
    return _finding("certificate.not-reloaded", "warning", stage, text, f"{old[1].sha1}; {new[1].sha1}")


def forgotten(sightings: "Sequence[Sighting]") -> "dict[Sighting, Sighting]":
    """Of each port that still shows the certificate of before a renewal, the port that shows the renewal.

    One of the same machine, or of another that is known to have shown the old one too: machines that each renew by themselves have
    certificates of different ages on purpose."""
    here: dict[tuple[str, ...], Sighting] = {}
    since: dict[str, Sighting] = {}
    for one in sorted(sightings, key=lambda sighting: sighting.leaf.not_before):
        here[(one.machine, *_holder(one.leaf))] = one
        since |= dict.fromkeys(one.earlier, one)
    found = {}
    for one in sightings:
        newer = (here.get((one.machine, *_holder(one.leaf))), since.get(one.leaf.sha1))
        later = [new for new in newer if new and is_renewal(one.leaf, new.leaf) and new.leaf.not_before > one.leaf.not_before]
        if later:
            found[one] = later[0]
    return found
