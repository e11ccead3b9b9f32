"""What the run relies on, and what will end: the rows of sunset.toml that this run shows, with their dates.

A remark; a warning from 90 days before the date on, where the run itself shows that something will then stop working; and a remark
afterwards. A date more than 400 days away stands in the calendar only (`probe explain sunset`). "Today" is the day on which the run
began. One finding an id and run: the next date of those that concern it, else the last that is over.

What this does not prove: that anything breaks on that day. A certificate that is served stays valid until its own end, so a shorter
lifetime of new ones is a warning only where the one that is served is older than any will then be.
"""

from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, date, datetime
from typing import Any

from probe.facts import Certified, LoggedOn, Secured, Verified, greetings, instant
from probe.judge._calendar import WARNS_DAYS, Row, rows
from probe.plain import dataclass
from probe.profile import Profile
from probe.record import Record, StageRecord
from probe.report import Finding, Kind, Severity

# Further away a date is nothing that a run need speak of.
SPEAKS_DAYS = 400

_MORE = ("Check: probe explain sunset",)
FINDINGS = {
    "sunset.basic-authentication": Kind(
        "a password is used where passwords are to end",
        "The account submits with a password to a service that is about to take tokens (OAuth) only.",
        _MORE,
    ),
    "sunset.tls-version": Kind(
        "a TLS version is used that the service is to end",
        "This connection agreed on TLS 1.0 or 1.1, likely by an endpoint for old clients.",
        _MORE,
    ),
    "sunset.certificate-lifetime": Kind(
        "the certificate is valid for longer than new ones will be",
        "Public CAs shorten the lifetime of certificates in steps. Renewal by hand, or by a timer for the longer lifetime, will be "
        "too late: a warning says that this certificate is already older than any will then be.",
        _MORE,
    ),
    "sunset.client-authentication": Kind(
        "the certificate may serve as a client's, which new ones may not",
        "Public CAs end the extended key usage clientAuth. It matters only where this certificate is shown to another server.",
        _MORE,
    ),
    "sunset.exchange-support": Kind(
        "the message went over an Exchange server whose support is to end, or has ended",
        "A Received field gives the build of an older Exchange Server: it gets no more security updates.",
        _MORE,
    ),
    "sunset.root": Kind(
        "the chain leads to a root that is to be retired, or is retired already",
        "The CA likely issues from newer roots by now; this certificate, or the chain that is sent with it, is from the older one. "
        "Thunderbird and what else takes Mozilla's list of roots will refuse it.",
        _MORE,
    ),
}

_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
_OLD_TLS = ("TLSv1", "TLSv1.1")
_TOKENS = ("XOAUTH2", "OAUTHBEARER")
_NO_PASSWORD = (*_TOKENS, "GSSAPI", "NTLM", "EXTERNAL")


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a stage shows of something that may end. `of` is compared with a row's `where`; `days_old`: of what has a lifetime."""

    finding: str
    stage: str
    evidence: str
    of: dict[str, Any] = field(default_factory=dict)
    days_old: float | None = None


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    started = instant(record.started)
    shown = [*_passwords(record), *_old_tls(record), *_certificates(record), *_builds(record)] if started is not None else []
    today = datetime.fromtimestamp(started or 0.0, UTC).date()
    for name in FINDINGS:
        found = [(row, one) for one in shown if one.finding == name for row in rows() if row.finding == name and _holds(row, one)]
        if picked := _next(found, today):
            yield _finding(*picked, [one for row, one in found if row is picked[0]], today)


def _next(found: list[tuple[Row, _Shown]], today: date) -> tuple[Row, _Shown] | None:
    """The next date, if it is near enough; else the last that is over."""
    coming = [item for item in found if item[0].date >= today]
    if coming and (first := min(coming, key=lambda item: item[0].date)) and (first[0].date - today).days <= SPEAKS_DAYS:
        return first
    return max((item for item in found if item[0].date < today), key=lambda item: item[0].date, default=None)


def _finding(row: Row, one: _Shown, alike: list[_Shown], today: date) -> Finding:
    near = row.warns and 0 <= (row.date - today).days <= WARNS_DAYS
    relies = next((other for other in alike if _relies(row, other)), None)
    severity: Severity = "warning" if near and relies else "info"
    stage = (relies or one).stage
    evidence = "; ".join(dict.fromkeys(f"{other.stage}: {other.evidence}" for other in alike))
    return Finding(one.finding, severity, stage, row.said(today), evidence, _cause(row), row.remedy)


def _cause(row: Row) -> str:
    return f"It concerns {row.concerns}. {row.note}".strip()


def _relies(row: Row, one: _Shown) -> bool:
    """Whether the run shows that it will not go on like this: a certificate that is older than any will be."""
    return "days" not in row.where or (one.days_old or 0.0) > row.where["days"]


def _holds(row: Row, one: _Shown) -> bool:
    where, of = row.where, one.of
    if "days" in where and of.get("days", 0.0) <= where["days"] + 1:  # a CA may count the last second in
        return False
    if "issuer" in where and where["issuer"] not in of.get("issuer", ""):
        return False
    if "roots" in where and of.get("root") not in where["roots"]:
        return False
    return "build_from" not in where or _numbers(where["build_from"]) <= of["build"] < _numbers(where["build_below"])


def _numbers(build: str) -> tuple[int, ...]:
    return tuple(map(int, build.split(".")))


def _passwords(record: Record) -> Iterator[_Shown]:
    stage = record.stage("smtp.auth")
    mechanism = stage.seen(LoggedOn).mechanism if stage and stage.status == "ok" else None
    if mechanism and mechanism not in _NO_PASSWORD and _exchange_online(record, "smtp"):
        yield _Shown("sunset.basic-authentication", "smtp.auth", f"{mechanism} with a password")


def _old_tls(record: Record) -> Iterator[_Shown]:
    for stage in record.stages:
        leg, _, step = stage.name.partition(".")
        version = stage.seen(Secured).version
        if step == "tls" and version in _OLD_TLS and _exchange_online(record, leg):
            yield _Shown("sunset.tls-version", stage.name, version or "")


def _exchange_online(record: Record, leg: str) -> bool:
    """By what it says of itself, else by its host; which families there are is looked up only where a name hints at this one."""
    said = " ".join((record.target.host, record.seen(f"{leg}.tls", Secured).sni or "", *greetings(record.seen, leg))).lower()
    if "outlook" not in said and "office365" not in said:
        return False
    from probe.judge._families import by_host, family

    seen = family(record, leg)
    host = record.target.host if leg == "smtp" else record.seen(f"{leg}.tls", Secured).sni or record.target.host
    return seen == "exchange-online" or (seen in (None, "exchange") and by_host(host) == "exchange-online")


def _certificates(record: Record) -> Iterator[_Shown]:
    """Of public CAs only: what they may issue is what the calendar is about. Signed timestamps show that it is one."""
    for stage in record.stages:
        seen = stage.seen(Certified)
        if seen.trusted and seen.scts and seen.chain:
            yield from _certificate(stage, seen)


def _certificate(stage: StageRecord, seen: Certified) -> Iterator[_Shown]:
    leaf, lifetime = seen.chain[0], seen.lifetime
    begins, looked, issuer = instant(seen.not_before), instant(seen.checked_at), leaf.get("issuer", "")
    if lifetime and begins is not None and looked is not None:
        old, days = (looked - begins) / 86400, lifetime / 86400
        evidence = f"valid for {days:.0f} days, {old:.0f} days old"
        yield _Shown("sunset.certificate-lifetime", stage.name, evidence, {"days": days, "issuer": issuer}, old)
    if _CLIENT_AUTH in (leaf.get("extended_key_usage") or ()):
        yield _Shown("sunset.client-authentication", stage.name, f"clientAuth, of {issuer}", {"issuer": issuer})
    if seen.verified_path:
        root = seen.verified_path[-1].lower()
        yield _Shown("sunset.root", stage.name, f"the root's SHA-256 is {root.upper()}", {"root": root})


def _builds(record: Record) -> Iterator[_Shown]:
    for stage in record.stages:
        for hop in stage.seen(Verified).hops:
            if build := hop.get("exchange"):
                evidence = f"{hop['by']} runs build {build}"
                yield _Shown("sunset.exchange-support", stage.name, evidence, {"build": _numbers(build)})
