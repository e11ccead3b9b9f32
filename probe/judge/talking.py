"""The conversation: greetings, refusals and octets that have no place in the protocol."""

from collections.abc import Iterator

from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "greeting.refused": Kind(
        "the server greets with a refusal",
        "The server does not want to serve this client (a block list, a connection limit) or is not ready; PREAUTH over "
        "a connection that should become TLS is refused by us.",
        ("Check: the server's log for this client's address",),
    ),
    "smtp.unavailable": Kind(
        "the SMTP server said good-bye (421)",
        "The service is likely shutting down, in maintenance, or limits this client's connections or rate.",
        (
            "Check: the server's log at this time",
            "Exchange: Get-ServerComponentState NAME",
            "Postfix: grep -e anvil -e 421 /var/log/mail.log (or journalctl -u 'postfix*' | grep -e anvil -e 421)",
        ),
    ),
    "imap.unavailable": Kind(
        "the IMAP4 server said good-bye",
        "The service is likely shutting down or limits connections per user and address.",
        (
            "Check: the server's log at this time; who else reads this mailbox",
            "Exchange: Get-ServerComponentState NAME",
            "Dovecot: doveadm who; mail_max_userip_connections",
        ),
    ),
    "ehlo.refused": Kind(
        "EHLO was refused",
        "The server does not like the name this probe gives, or a middlebox knows only HELO.",
        ("Set submission.ehlo in the profile to a name that resolves",),
    ),
    "imap.no-folder": Kind(
        "the first folder cannot be opened",
        "The folder named first in readback.imap.folders does not exist or is not readable.",
        ("Fix: readback.imap.folders in the profile",),
    ),
    "imap.refused": Kind(
        "the mailbox cannot be opened or read now",
        "The folder is likely there, and the server cannot serve it: its store is down, its disk full, or its rights are wrong.",
        (
            "Check: the server's IMAP4 log at this time",
            "Exchange: Get-MailboxDatabaseCopyStatus; Get-MailboxStatistics USER",
            "Dovecot: doveadm mailbox status -u USER all INBOX",
        ),
    ),
    "imap.search-refused": Kind(
        "SEARCH was refused", "See the server's own words in the evidence.", ("Check: the server's IMAP4 log",)
    ),
    "pop3.refused": Kind(
        "a POP3 command was refused", "See the server's own words in the evidence.", ("Check: the server's POP3 log",)
    ),
    "protocol.malformed": Kind(
        "the answer is not what the protocol allows",
        "Likely something else listens on that port, or a proxy between changes the conversation.",
        ("Check: the transcript (-v); is the port one of the protocol you probe?",),
    ),
    "protocol.too-long": Kind(
        "an answer longer than any real one",
        "The other side is broken or hostile: it was cut off.",
        ("Check: what listens on that port?",),
    ),
    "protocol.unsolicited": Kind(
        "octets came that nothing had asked for",
        "Replies that come before their command may be injected by somebody on the way, or the server is out of step.",
        ("Check: the transcript (-v); compare from another network",),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    return from_troubles(record, FINDINGS)
