"""Room to receive: how full the probe's own mailbox is. One that is full bounces mail, and looks like a fault of delivery."""

from collections.abc import Iterator
from functools import partial

from probe.facts import LoggedOn
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

NEARLY_FULL = 0.9

FINDINGS = {
    "mailbox.nearly-full": Kind(
        "the mailbox is nearly full",
        "Mail lies there that nobody deletes: likely the probe's own leftovers, or other mail that is sent to this address. Once "
        "it is full, the probe's message bounces.",
        (
            "Check: probe sweep PROFILE --older-than 1d; and what else lies there (Dovecot: doveadm quota get -u USER; "
            "Exchange: Get-MailboxStatistics USER | fl ItemCount,TotalItemSize)",
            "Fix: delete it, give the probe a mailbox of its own, or raise the quota "
            "(Exchange: Set-Mailbox USER -ProhibitSendReceiveQuota SIZE)",
        ),
    )
}
_finding = partial(finding, FINDINGS)


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    for stage in record.stages:
        seen = stage.seen(LoggedOn)
        full = [(quota["used"] / quota["limit"], name, quota) for name, quota in seen.quota.items()]
        share, name, quota = max(full, default=(0.0, "", None), key=lambda item: item[0])
        if quota is not None and share >= NEARLY_FULL:
            what = "of its storage" if name == "STORAGE" else "of its messages" if name == "MESSAGE" else f"of {name}"
            lies = f", {seen.messages} messages lie in it" if seen.messages is not None else ""
            text = f"{share:.0%} {what} is used{lies}"
            yield _finding("mailbox.nearly-full", "warning", stage.name, text, f"{name} {quota['used']} {quota['limit']}")
