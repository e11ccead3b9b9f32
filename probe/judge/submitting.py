"""MAIL, RCPT and the message: what the server refused."""

from collections.abc import Iterator

from probe.facts import Submitted
from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record, StageRecord
from probe.report import Finding, Kind

FINDINGS = {
    "submit.sender-refused": Kind(
        "the sender was refused",
        "The account likely may not send as this address, or the address does not exist.",
        (
            "Check message.sender in the profile",
            "Exchange, Exchange Online: Get-RecipientPermission, SendAs",
            "Postfix: smtpd_sender_login_maps",
        ),
    ),
    "submit.recipient-refused": Kind(
        "the recipient was refused",
        "The mailbox likely does not exist, is full (5.2.2), a policy or filter blocks it, or relaying is not allowed although "
        "the logon was accepted; the reply does not say which.",
        (
            "Check message.recipient in the profile",
            "Exchange, Exchange Online: Get-MailboxStatistics USER | fl TotalItemSize,StorageLimitStatus",
            "Dovecot: doveadm quota get -u USER",
        ),
    ),
    "submit.refused": Kind(
        "the message was refused",
        "The server took the envelope, but not the message: a full mailbox, a filter, or a size limit, likely.",
        ("Check: the server's own words in the evidence, then its log",),
    ),
    "submit.temporary": Kind(
        "the message was refused for now",
        "Greylisting, a server short of memory or disk space, a limit or a full mailbox (4.2.2), likely. The probe does not try "
        "again by itself, since that would hide the fault.",
        (
            "Check: the server's log at this time; does the same reply come again in some minutes?",
            "Exchange: Get-ExchangeDiagnosticInfo -Component ResourceThrottling",
            "Postfix: postqueue -p; df -h",
        ),
    ),
    "submit.too-large": Kind(
        "the message is larger than the server says it takes",
        "Users cannot send mail of that size either; base64 makes an attachment a third larger than its file.",
        (
            "Exchange: Get-TransportConfig | fl MaxSendSize,MaxReceiveSize; Get-ReceiveConnector | fl Identity,MaxMessageSize; "
            "Get-Mailbox USER | fl MaxSendSize,MaxReceiveSize",
            "Postfix: postconf message_size_limit mailbox_size_limit",
            "Exim: exim -bP message_size_limit",
            "Or a smaller message: --size, message.size",
        ),
    ),
    "submit.cut": Kind(
        "the connection ended in the midst of the message",
        "The server, or a firewall or proxy in front of it, likely ends connections that last long or carry much; or it found the "
        "message too large, and did not wait for its end.",
        (
            "Check: the server's log at this time; a smaller message (--size 1M): from which size on does it break?",
            "Exchange: Get-ReceiveConnector | fl Identity,MaxMessageSize,ConnectionTimeout,ConnectionInactivityTimeout",
            "Postfix: postconf message_size_limit smtpd_timeout",
        ),
    ),
    "submit.smtputf8-missing": Kind(
        "an address is not ASCII, and the server does not offer SMTPUTF8",
        "The server cannot carry internationalised addresses (RFC 6531).",
        ("Use an ASCII address for the probe", "Postfix: postconf -e smtputf8_enable=yes"),
    ),
    "submit.pipelining-broken": Kind(
        "the server offers PIPELINING, but lost commands of one flight",
        "The server, or a proxy before it, likely does not do what it offers (RFC 2920).",
        ("Try: probe run --no-pipelining; if that works, fix the server, or take PIPELINING out of its EHLO",),
    ),
    "submit.chunking-broken": Kind(
        "the server offers CHUNKING, and refuses its command BDAT",
        "The server, or a proxy before it, likely lists in its EHLO what only another of the two can do (RFC 3030). Clients that "
        "use BDAT fail here; the probe sent the message with DATA where the connection was still of use.",
        (
            "Take CHUNKING out of the EHLO reply, or let BDAT through",
            "Postfix: postconf -e smtpd_discard_ehlo_keywords=chunking,silent-discard; postfix reload",
            "Until then: probe run --no-pipelining uses DATA at once",
        ),
    ),
}

_ENVELOPE = 3  # MAIL, RCPT, and DATA or BDAT
# What is said of a command that is not known, or not here (RFC 5321 section 4.2.2).
_NOT_KNOWN = ("500", "501", "502", "503", "504")


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    yield from from_troubles(record, FINDINGS)
    stage = record.stage("smtp.submit")
    if stage is None:
        return
    yield from _pipelining(stage)
    yield from _chunking(stage)


def _pipelining(stage: StageRecord) -> Iterator[Finding]:
    if stage.trouble is None or not stage.seen(Submitted).pipelined:
        return
    # Behind a chunk an answer that does not come leaves the message's fate unknown.
    if stage.trouble.id in ("reply.timeout", "connect.closed", "protocol.malformed", "delivery.fate-unknown"):
        replies = stage.seen(Submitted).replies
        if 0 < len(replies) < _ENVELOPE:
            kind = FINDINGS["submit.pipelining-broken"]
            text = f"{_ENVELOPE} commands went in one flight, and only {len(replies)} were answered"
            yield Finding("submit.pipelining-broken", "warning", stage.name, text, "", kind.cause, kind.remedy)


def _chunking(stage: StageRecord) -> Iterator[Finding]:
    replies = stage.seen(Submitted).replies[:_ENVELOPE]
    is_known = stage.trouble is not None and stage.trouble.id == "submit.chunking-broken"
    if is_known or len(replies) < _ENVELOPE or not replies[-1]["command"].startswith("BDAT"):
        return
    *envelope, chunk = (" / ".join(reply["reply"]) for reply in replies)
    if all(said.startswith("2") for said in envelope) and chunk.startswith(_NOT_KNOWN):
        kind = FINDINGS["submit.chunking-broken"]
        text = f"the server offers CHUNKING, and refuses BDAT: {chunk}"
        yield Finding("submit.chunking-broken", "info", stage.name, text, "", kind.cause, kind.remedy)
