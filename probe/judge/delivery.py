"""Delivery: did our message arrive, where, how often, when, and unharmed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from probe.facts import Found, LoggedOn, Submitted, Swept, Verified
from probe.facts.parts import HopSeen
from probe.judge._changer import changer, link_rewriter, rewriter
from probe.judge._finding import finding
from probe.judge._seen import first_seen
from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record, StageRecord
from probe.report import Finding, Kind, Severity

_SWEEP = "Delete it by hand, or let `probe sweep` do so later"
FINDINGS = {
    # Raised by judge/_verdict.py, for monitoring plugins' -w and -c.
    "threshold.exceeded": Kind(
        "a value is one on which the range of -w or -c alerts",
        "The server is slower than the check allows, or its certificate ends sooner; or the range is too narrow.",
        ("Compare with earlier runs: probe history; then fix what is slow or ends soon, or widen the range",),
    ),
    "delivery.missing": Kind(
        "the message was accepted, but did not arrive",
        "It is likely still queued, was filtered, bounced, or delivered to another mailbox.",
        (
            "Check: the server's queue and its log, by the marker or the queue id; the spam folder and the quarantine",
            "Exchange: Get-MessageTrackingLog -MessageSubject MARKER; Get-Queue",
            "Postfix: postqueue -p; grep QUEUE-ID /var/log/mail.log (or journalctl -u 'postfix*' | grep QUEUE-ID)",
        ),
    ),
    "delivery.bounced": Kind(
        "the message was accepted, then returned",
        "A report came back that says why: the recipient's server, or a filter behind this one, refused it.",
        ("Read the reason and the reporting server's name; its log has the message by its marker",),
    ),
    "delivery.fate-unknown": Kind(
        "the server never said whether it took the message",
        "The connection ended after the final dot and before the final reply. The message is looked for, never sent again.",
        ("Check: the server's log for the marker",),
    ),
    "delivery.late": Kind(
        "the message arrived late",
        "A queue, a content filter or greylisting likely held it; the hops in the verify stage say where.",
        ("Check: the hops and their delays in the verify stage",),
    ),
    "delivery.other-folder": Kind(
        "the message was not in the first folder",
        "A spam filter or a rule likely moved it.",
        ("Exempt the probe's address from filtering, or fix what makes its mail look like spam",),
    ),
    "delivery.duplicate": Kind(
        "the message arrived more than once",
        "Two deliveries of one message: likely an alias that lists the mailbox twice, or a retry after a lost reply.",
        ("Check: the Received headers of both; the server's log by queue id",),
    ),
    "message.altered": Kind(
        "the message was changed on the way",
        "A disclaimer, a content filter or a gateway likely rewrote it.",
        ("Check: transport rules (Exchange, Exchange Online: Get-TransportRule), content filters, mailing-list footers",),
    ),
    "message.forged": Kind(
        "a message with our marker is not ours",
        "Somebody copied the marker, or the state directory with the probe's key was lost in mid-run.",
        ("Check: the message itself; nothing was deleted",),
    ),
    "message.sender-rewritten": Kind(
        "the sender was rewritten on the way",
        "Likely a canonical or rewriting rule (masquerading, SRS): recipients see another address than the account's.",
        ("Postfix: postconf sender_canonical_maps canonical_maps masquerade_domains", "Exchange: Get-AddressRewriteEntry"),
    ),
    "delivery.not-remembered": Kind(
        "the message was left for a collection that will not know of it",
        "The state directory cannot be written, so that no trace of the message is kept.",
        ("Set SUBMISSION_PROBE_STATE to a folder that can be written, for --send-only and --collect alike",),
    ),
    "cleanup.failed": Kind(
        "the test message could not be deleted",
        "Without UIDPLUS an IMAP4 client can expunge only everything that is marked, other people's mail along; or the "
        "server refused.",
        (_SWEEP, "Read back over POP3, which deletes one message exactly"),
    ),
}
delivery_finding = partial(finding, FINDINGS)

_CRITICAL = ("delivery.missing", "delivery.bounced", "delivery.fate-unknown", "message.forged")


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    yield from from_troubles(record, {name: FINDINGS[name] for name in _CRITICAL})
    yield from from_troubles(record, {"cleanup.failed": _cleanup(record)}, "warning")
    yield from _not_remembered(record)
    for stage in record.stages:
        if stage.name.endswith(".find") and stage.status == "ok":
            # Of earlier messages: collection.py.
            yield from () if isinstance(stage.facts, Swept) else _found(stage, record, profile)
        if stage.name.endswith(".verify") and stage.status == "ok":
            yield from unharmed(stage.name, stage.seen(Verified))


def _not_remembered(record: Record) -> Iterator[Finding]:
    """Where a reader looks for it in this run, nothing is lost by it."""
    if record.seen("smtp.submit", Submitted).remembered is False and not any(one.name.endswith(".find") for one in record.stages):
        text = "the message was sent and left, but no trace of it can be kept: no --collect will look for it"
        yield delivery_finding("delivery.not-remembered", "warning", "smtp.submit", text)


def _cleanup(record: Record) -> Kind:
    """Without UIDPLUS a sweep over IMAP4 cannot delete it either; one over POP3 can."""
    kind, seen = FINDINGS["cleanup.failed"], record.seen("imap.login", LoggedOn).capabilities_after
    by_pop3 = any(stage.name == "pop3.login" and stage.status == "ok" for stage in record.stages)
    if not seen or by_pop3 or {"UIDPLUS", "IMAP4REV2"} & set(seen):
        return kind
    return replace(kind, remedy=("Delete it by hand", *kind.remedy[1:]))


def _found(stage: StageRecord, record: Record, profile: Profile) -> Iterator[Finding]:
    seen = stage.seen(Found)
    first = seen.folders[0] if seen.folders else seen.folder
    yield from misplaced(stage.name, seen.folder, first, seen.copies)
    earliest = first_seen(record.stages)
    if earliest is not None and seen.seconds == earliest[0]:
        yield from _late(stage, earliest[0], profile)


def misplaced(stage: str, folder: str | None, first: str | None, copies: int | None) -> Iterator[Finding]:
    """A message that lies elsewhere than in the first folder, or more than once."""
    if folder != first:
        yield delivery_finding("delivery.other-folder", "warning", stage, f"the message was found in {folder}, not in {first}")
    if copies is not None and copies > 1:
        yield delivery_finding("delivery.duplicate", "warning", stage, f"the message arrived {copies} times")


def _late(stage: StageRecord, seconds: float, profile: Profile) -> Iterator[Finding]:
    limits = profile.limits
    for severity, limit in (("critical", limits.delivery_critical), ("warning", limits.delivery_warning)):
        if seconds > limit:
            text = f"the message arrived {seconds:.1f} s after the final reply (limit {limit:g} s)"
            yield delivery_finding("delivery.late", "critical" if severity == "critical" else "warning", stage.name, text)
            return


# Contract section 9: what mailers do on the way is no fault; what a filter adds is worth knowing; what is lost is a fault.
_OF_TEXT: dict[str, tuple[Severity, str]] = {
    "rewrapped": ("info", "the lines of the text were broken anew"),
    "added-to": ("warning", "text was added to the message"),
    "html-only": ("warning", "only HTML is left of the text"),
    "changed": ("critical", "the text of the message is not what was sent"),
}

_OF_FILLING = {
    "cut": "the attachment was cut off",
    "changed": "the attachment is not what was sent",
    "missing": "the attachment was taken away",
}


def unharmed(stage: str, seen: Verified) -> Iterator[Finding]:
    """What the way did to a message, and which hop most likely did it."""
    by = changer(seen.hops)
    if said := _OF_TEXT.get(seen.text or ""):
        yield delivery_finding("message.altered", said[0], stage, said[1], by)
    if lost := _OF_FILLING.get(seen.filling or ""):
        same = f"{seen.filling_same} octets of it are as they were sent" if seen.filling_same else ""
        yield delivery_finding("message.altered", "critical", stage, lost, same)
    if seen.enclosed:
        yield delivery_finding("message.altered", "warning", stage, "a filter enclosed the message in one of its own", by)
    if seen.proven_by == "text":
        yield delivery_finding("message.altered", "info", stage, "the probe's own header fields were removed", by)
    if seen.subject in ("tagged", "replaced"):
        yield delivery_finding("message.altered", "warning", stage, f"the Subject was {seen.subject}", by)
    if seen.sender_rewritten:
        text = "the sender was rewritten on the way"
        said_of = "; ".join(filter(None, (seen.sender_rewritten, rewriter(seen.sender_rewritten, seen.hops))))
        yield delivery_finding("message.sender-rewritten", "info", stage, text, said_of)
    if seen.link_rewritten is not None:
        yield _of_link(stage, seen.link_rewritten, seen.hops)
    if seen.message_id_changed:
        yield delivery_finding("message.altered", "info", stage, "the Message-ID was replaced", by)


def _of_link(stage: str, written: str, hops: Sequence[HopSeen]) -> Finding:
    """A service that guards links rewrites them on purpose; one that is gone is missed by whoever should follow it."""
    if not written:
        return delivery_finding("message.altered", "warning", stage, "the link was taken out of the message", changer(hops))
    said = "; ".join(filter(None, (written, link_rewriter(written, hops))))
    return delivery_finding("message.altered", "info", stage, "the link in the message was rewritten", said)
