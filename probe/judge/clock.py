"""Whether this machine's clock and the mail server's agree: the certificate's dates, tokens, lateness and history hang on it.

Nothing but the Received field of the server that took the message says what its clock shows (RFC 5321 section 4.4): it was written
between MAIL and the final reply.
"""

from collections.abc import Iterator
from functools import partial

from probe.facts import Verified, instant
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

MOST_SECONDS = 60.0

FINDINGS = {
    "clock.differs": Kind(
        "this machine's clock and the mail server's do not agree",
        "One of the two does not keep time: likely its time service does not run, or a virtual machine was resumed. Certificates "
        "are judged by this machine's clock; the server dates mail, and checks tokens and tickets, by its own.",
        (
            "Check, on both: timedatectl, chronyc tracking (Windows: w32tm /query /status)",
            "Fix: systemctl restart chrony (or systemd-timesyncd; Windows: w32tm /resync), and let it start with the machine",
        ),
    )
}
_finding = partial(finding, FINDINGS)


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    submit = next((stage for stage in record.stages if stage.name == "smtp.submit" and stage.status == "ok"), None)
    started = instant(record.started)
    if submit is None or started is None:
        return
    begins = started + submit.at
    for stage in record.stages:
        hops = stage.seen(Verified).hops
        at = instant(hops[0]["at"]) if hops else None
        if at is None:
            continue
        # Received has whole seconds.
        off = at - begins if at < begins else max(0.0, at - begins - submit.seconds)
        if abs(off) > MOST_SECONDS:
            text = f"{hops[0]['by']} dates the message {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this machine's clock"
            # No fault of the mail service, and its words are data: a remark.
            yield _finding("clock.differs", "info", stage.name, text, str(hops[0]["at"]))
        return
