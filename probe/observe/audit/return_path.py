"""Mail to an address that cannot exist must come back to its sender: only with --return-path, since it sends a message.

RFC 5321 section 4.5.5 and 6.1: a server that took a message and cannot deliver it reports that to the sender, or it refuses the
recipient at once, which is the better answer. The address is of the sender's own domain and has a random name; the message goes to
nobody else. It asks for a report as a user's does: with X-Auto-Response-Suppress: All Exchange would send none.
"""

import asyncio
import secrets
from dataclasses import replace

from probe.facts import Deleted, Found, Submitted
from probe.message import Draft, compose, new_marker
from probe.observe.audit import Facts
from probe.observe.audit._scene import Scene
from probe.observe.job import Job, Milestone
from probe.observe.journal import Journal
from probe.observe.legs.submission import submit
from probe.record import SUBMISSION_STAGES, StageRecord, reader_stages
from probe.report import Kind

FINDINGS = {
    "audit.return-path": Kind(
        "mail to an address that does not exist is lost without a word",
        "Likely a catch-all takes it, the report is not sent (null sender refused, reports switched off), or is filtered as spam: "
        "whoever mistypes an address never hears of it.",
        (
            "Check: the server's log and queue, by the marker in the evidence; the spam folder and the quarantine",
            "Exchange, Exchange Online: Get-MessageTrackingLog -MessageSubject MARKER; Get-RemoteDomain | fl Name,NDREnabled; "
            "Get-AcceptedDomain | fl DomainName,DomainType (InternalRelay, ExternalRelay take any recipient); "
            "Get-TransportConfig | fl InternalDsnSendHtml,ExternalDsnSendHtml",
            "Postfix: postconf local_recipient_maps virtual_mailbox_maps relay_recipient_maps virtual_alias_maps luser_relay "
            "notify_classes; postmap -q @DOMAIN on each map finds a catch-all",
            "Exim: a verify = recipient in the ACL for RCPT; a redirect router with data = :blackhole: or a catch-all alias",
        ),
    )
}
SEVERITY = "warning"
PROVES = "a message to an address that does not exist was taken, and no report came back within limits.delivery_critical"
DOES_NOT_PROVE = "that mail to other domains comes back: nothing is sent there"
# It sends a message, so that it is carried out only where it is asked for.
OPTION = "--return-path"


async def observe(scene: Scene) -> Facts:
    draft = scene.job.draft
    if draft is None or scene.submission.credentials is None:
        return Facts("not-applicable", "the profile has no credentials")
    leg = _reader(scene, draft.sender)
    if leg is None:
        return Facts("undecided", f"the report would come to {draft.sender}, whose mailbox none of the profile's readers reads")
    job = _job(scene, leg, _misaddressed(scene, draft))
    assert job.draft is not None and scene.read_back is not None
    await asyncio.gather(_submission(job, scene.journal), scene.read_back(leg, job))
    return _judged(scene.journal, leg, job.draft)


def _reader(scene: Scene, sender: str) -> str | None:
    """The reader of the sender's mailbox, IMAP4 before others."""
    draft = scene.job.draft
    for leg in sorted(scene.readers, key=lambda name: name != "imap"):
        credentials = scene.readers[leg].credentials
        owner = {credentials.username.lower()} if credentials else set()
        if sender.lower() in owner | ({draft.recipient.lower()} if draft else set()):
            return leg
    return None


def _misaddressed(scene: Scene, draft: Draft) -> Draft:
    """A message to a random name of the sender's own domain."""
    nobody = f"{scene.stranger}@{draft.sender.rpartition('@')[2]}"
    now = scene.job.utc_now()
    marker = new_marker(secrets.token_bytes(16))
    return compose(marker=marker, key=scene.job.prove_key, sender=draft.sender, recipient=nobody, now=now, answered=True)


def _job(scene: Scene, leg: str, draft: Draft) -> Job:
    """The scene's, with this message and one reader; nothing of it is for a later sweep, which takes what is proven anyway."""
    return replace(
        scene.job,
        draft=draft,
        report_awaited=True,
        before_message=lambda: None,
        before_deletion=lambda: None,
        claim=lambda sent: "left",
        accepted=Milestone(),
        read={leg: Milestone()},
        done={leg: Milestone()},
    )


async def _submission(job: Job, journal: Journal) -> None:
    try:
        await submit(job, journal)
    finally:
        job.accepted.give_up()


def _judged(journal: Journal, leg: str, draft: Draft) -> Facts:
    stages = {stage.name: stage for stage in journal.stages((*SUBMISSION_STAGES, *reader_stages(leg)))}
    sent, found = stages["smtp.submit"], stages[f"{leg}.find"]
    more: dict[str, object] = {"recipient": draft.recipient, "marker": draft.marker}
    submitted = journal.seen("smtp.submit", Submitted)
    refused = next((one for one in submitted.replies if one["reply"] and one["reply"][-1][:1] in "45"), None)
    if refused is not None:
        said, command = " / ".join(refused["reply"]), refused["command"].split(" ")[0]
        if said.startswith("4"):
            return Facts("undecided", f"{command}: refused for now: {said}", more)
        if command in ("RCPT", "message", "DATA", "BDAT"):
            return Facts("pass", f"refused at once, at {command}: {said}", {**more, "refused_at": command})
        return Facts("undecided", f"{command}: {said}", more)
    if sent.status != "ok":
        trouble = next((stage.trouble for stage in stages.values() if stage.trouble is not None), None)
        return Facts("undecided", trouble.text if trouble else "the message could not be sent", more)
    return _of_reader(journal, leg, found, draft, more)


def _of_reader(journal: Journal, leg: str, found: StageRecord, draft: Draft, more: dict[str, object]) -> Facts:
    """What the mailbox showed of a message that was taken."""
    seen = journal.seen(f"{leg}.find", Found)
    if (report := seen.report) is not None:
        says = " ".join(filter(None, (report["status"], report["diagnostic"]))) or "no reason given"
        by = f" by {report['reporting']}" if report["reporting"] else ""
        if report["action"] == "delayed":
            return Facts("undecided", f"taken, and a report{by} says that it is delayed: {says}", {**more, "report": report})
        return Facts("pass", f"returned{by}: {says}", {**more, "report": report})
    if seen.folder is not None:
        gone = bool(journal.seen(f"{leg}.delete", Deleted).uids or journal.seen(f"{leg}.delete", Deleted).numbers)
        text = f"it was delivered to the sender's own mailbox ({seen.folder}), as a catch-all does"
        return Facts("fail", f"{text}{'' if gone else '; it stays there'}; {draft.marker}", {**more, "folder": seen.folder})
    trouble = found.trouble
    if trouble is None or trouble.id != "delivery.missing":
        return Facts("undecided", trouble.text if trouble else "the mailbox could not be read", more)
    return Facts("fail", f"taken, and nothing came back to {draft.sender}: {trouble.text}; {draft.marker}", more)
