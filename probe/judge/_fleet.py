"""The certificates of many servers: which findings of a look concern them, which port was forgotten at a renewal, the verdict."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from probe.facts import Certified
from probe.facts.parts import Link
from probe.judge._families import by_itself, families, fitting
from probe.judge._narrowed import narrowed
from probe.judge.certificate import judge as judge_certificate
from probe.judge.certificate_ports import forgotten, not_reloaded
from probe.profile import Profile
from probe.record import Record, StageRecord, Target
from probe.report import Finding, Report, Severity, Verdict, worst_severity, worst_verdict
from probe.report.changes import Renewal
from probe.report.drift import Leaf
from probe.report.fleet import Fleet, FleetFinding, NotSeen, Sighting, certificates, days_between, together

_DAY = 86400.0
# With its place, and the certificate's SHA-1.
Placed = tuple[Finding, str, str | None]
_DATES = ("certificate.expires-soon", "certificate.expired", "certificate.not-yet-valid")
# What one port of a run says of another is said here of all of them at once.
_OF_PORTS = ("certificate.differs-between-ports", "certificate.not-reloaded")
# No fault of the server: it proves nothing of it.
_OURS = ("probe.no-descriptors", "run.error", "run.cancelled")


def margins(profile: Profile, leg: str, leaf: Leaf) -> tuple[float, float]:
    """How many days before the certificate's end the profile warns, and when that is critical."""
    lifetime = max(0.0, days_between(leaf.not_before, leaf.not_after) or 0.0) * _DAY
    tls = profile.tls_of(f"{leg}.certificate")
    return tls.expires_warning.of(lifetime) / _DAY, tls.expires_critical.of(lifetime) / _DAY


def concerning(report: Report, leg: str, *, shown: bool) -> Iterator[Finding]:
    """Of a look's findings those of the certificate and of TLS; where no certificate was shown, why not."""
    failed = next((stage for stage in report.stages if stage.record.trouble), None)
    for finding in report.findings:
        of_certificate = finding.id.startswith(("certificate.", "tls.", "sunset.")) and finding.id not in _OF_PORTS
        why_not = not shown and failed is not None and failed.record.trouble is not None and finding.id == failed.record.trouble.id
        if of_certificate or (why_not and finding.stage == failed.name if failed else False):
            yield finding


def dates(profile: Profile, leg: str, leaf: Leaf, now: str) -> list[Finding]:
    """What the certificate check says of its dates at that instant."""
    link: Link = {
        "subject": leaf.subject, "issuer": leaf.issuer, "not_before": leaf.not_before, "not_after": leaf.not_after,
        "dns_names": list(leaf.names), "sha1": leaf.sha1, "sha256": leaf.sha256,
    }  # fmt: skip
    seen = Certified(
        trusted=True, openssl_code=0, name_matches=True, thumbprint=leaf.sha1, not_before=leaf.not_before, not_after=leaf.not_after,
        checked_at=now, chain=[link],
    )  # fmt: skip
    stage = StageRecord(f"{leg}.certificate", "ok", facts=seen)
    record = Record("history", profile.name, Target("", 0, "tls"), now, 0.0, (stage,))
    return [finding for finding in judge_certificate(record, profile) if finding.id in _DATES]


def fleet(
    source: Literal["look", "history"], sightings: Sequence[Sighting], not_seen: Sequence[NotSeen], findings: Sequence[Placed],
    renewals: Sequence[Renewal], *, started: str, seconds: float, interrupted: bool,
) -> Fleet:  # fmt: skip
    """All in one, with a finding for each port that was forgotten at a renewal."""
    sightings = together(sightings)
    old = forgotten(sightings)
    found = _together([*findings, *((_not_reloaded(one, new), one.label, one.leaf.sha1) for one, new in old.items())])
    status = {
        sha1: _verdict_of([one.severity for one in found if one.certificate == sha1])
        for sha1 in {one.certificate for one in found if one.certificate}
    }  # fmt: skip
    return Fleet(
        source, started, round(seconds, 6), _verdict(sightings, not_seen, found, interrupted=interrupted), interrupted,
        certificates(sightings, started, old, status), tuple(not_seen), tuple(renewals), found,
    )  # fmt: skip


def _verdict_of(severities: Sequence[Severity]) -> Verdict:
    worst = worst_severity(severities)
    return "ok" if worst in (None, "info") else "critical" if worst == "critical" else "warning"


def _verdict(
    sightings: Sequence[Sighting], not_seen: Sequence[NotSeen], found: Sequence[FleetFinding], *, interrupted: bool
) -> Verdict:
    """An end on somebody's request proves nothing, and neither does having seen no certificate at all."""
    if interrupted or not (sightings or any(one.finding for one in not_seen)):
        return "unknown"
    missing: list[Verdict] = ["unknown" if one.finding in _OURS else "critical" for one in not_seen if one.finding]
    return worst_verdict([_verdict_of([one.severity for one in found]), *missing])


def _together(findings: Sequence[Placed]) -> tuple[FleetFinding, ...]:
    """Each once, the worst first: of one certificate at many ports, or of one server that cannot be reached."""
    groups: dict[tuple[str, str, str | None, object], list[tuple[Finding, str]]] = {}
    for finding, place, sha1 in findings:
        # Of one certificate once, and of those that were forgotten once for each product; what has none, in its own words.
        apart = finding.remedy if finding.id == "certificate.not-reloaded" else finding.summary if sha1 is None else None
        groups.setdefault((finding.id, finding.severity, sha1, apart), []).append((finding, place))
    made = []
    for (_, _, sha1, _), group in groups.items():
        first, places = group[0][0], tuple(dict.fromkeys(place for _, place in group))
        summary = first.summary
        if first.id == "certificate.not-reloaded" and len(places) > 1:
            summary = f"{len(places)} ports still show {summary.partition(' still shows ')[2]}"
        made.append(FleetFinding(first.id, first.severity, summary, first.evidence, first.cause, first.remedy, places, sha1))
    rank = {"critical": 0, "warning": 1, "info": 2}
    return tuple(sorted(made, key=lambda one: rank[one.severity]))


def _not_reloaded(old: Sighting, new: Sighting) -> Finding:
    """Which service is to be reloaded: the product, where it names itself, and its own command."""
    found = not_reloaded((old.label, old.leaf), (new.label, new.leaf), f"{old.protocol}.certificate")
    product = by_itself(old.software)
    named = f"; reload {families()[product].title}" if product else ""
    at = "" if old.machine == new.machine else f" at {old.address}"
    steps = (narrowed(step, found.stage, (old.protocol,), "tls", says=old.software) for step in fitting(found.remedy, product))
    return replace(found, summary=f"{found.summary}{at}{named}", remedy=tuple(step for step in steps if step))
