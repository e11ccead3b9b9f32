"""A message that nobody reads back is not deleted by anybody either."""

from collections.abc import Iterator

from probe.facts import Submitted
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "cleanup.left-behind": Kind(
        "the message stays in the mailbox: nothing was to read it back, so nothing deletes it",
        "The run was asked for no reader (--readback none), and each such run adds a message.",
        (
            "Fix: probe sweep PROFILE --older-than 1h, every day: it deletes the probe's own messages, and no others",
            "A profile without a readback table: probe sweep PROFILE --set readback.imap.security=tls",
            "Or read it back: --readback imap, pop3 or both",
        ),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    """Where the server took the message, and an option took the readers away; a profile without any says so itself."""
    stage = record.stage("smtp.submit")
    if stage is None or stage.status not in ("ok", "warning") or not profile.unread:
        return
    text = f"the message stays in the mailbox of {profile.recipient}: nothing was to read it back, so nothing deletes it"
    yield finding(FINDINGS, "cleanup.left-behind", "info", stage.name, text, " ".join(stage.seen(Submitted).reply))
