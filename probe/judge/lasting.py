"""What we log on with, and when it ends: client certificates, the certificate that signs for a token, a secret's day in the
profile; and what a token endpoint refused since it is over.

The margin is that of certificates (tls.expires_warning), 21 days where it is a share of a lifetime that nobody knows. What has
ended and is still taken is a warning: the server does not look, or the profile's day is wrong.
"""

import math
from collections.abc import Iterator
from functools import partial

from probe.facts import LoggedOn, instant
from probe.judge._finding import finding
from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Lasting, Record
from probe.report import Finding, Kind

_DAY = 86_400.0
_USUAL = 21 * _DAY

_RENEW = (
    "Client certificate: have it renewed by its CA, and put it with its key where tls.client_certificate names it",
    "Microsoft 365: Entra admin center, App registrations, Certificates & secrets: a new one, then the old one removed",
    "Then the day in the profile: expect.secret_expires",
)

FINDINGS = {
    "auth.secret-expired": Kind(
        "what the probe identifies itself with has expired",
        "A client secret, a client certificate, a sign-in or a password was likely never renewed.",
        (*_RENEW, "A sign-in (device code): run the profile once at a terminal"),
    ),
    "auth.secret-expires-soon": Kind(
        "what the probe logs on with expires soon", "Renewal is due; whatever else uses it stops on the same day.", _RENEW
    ),
}
_finding = partial(finding, FINDINGS)


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    yield from from_troubles(record, FINDINGS)
    started = instant(record.started)
    for one in record.lasting if started is not None else ():
        yield from _ending(record, profile, one, started or 0.0)


def _ending(record: Record, profile: Profile, one: Lasting, now: float) -> Iterator[Finding]:
    ends, begins = instant(one.ends), instant(one.begins)
    if ends is None:
        return
    left, stage = ends - now, _logon(record)
    margin = profile.tls.expires_warning.of(ends - begins if begins is not None else math.inf)
    if left < 0:
        failed = any(stage.seen(LoggedOn).offered and stage.status == "failed" for stage in record.stages)
        text = f"{one.whose} ended on {one.ends}" + ("" if failed else ", and was still taken")
        yield _finding("auth.secret-expired", "critical" if failed else "warning", stage, text, one.ends)
    elif left < (margin if math.isfinite(margin) else _USUAL):
        yield _finding(
            "auth.secret-expires-soon", "warning", stage, f"{one.whose} ends in {left / _DAY:.1f} days, on {one.ends}", one.ends
        )


def _logon(record: Record) -> str:
    """The first logon, else the first stage."""
    names = [stage.name for stage in record.stages]
    return next((name for name in names if name.partition(".")[2] in ("auth", "login")), names[0] if names else "")
