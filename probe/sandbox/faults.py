"""What the sandbox can do wrong, as data: name → one sentence. Each protocol asks `fault == NAME` where it matters."""

FAULTS = {
    "no-starttls": "STARTTLS is not offered on the submission port",
    "wrong-name": "the certificate is for other.sandbox.test",
    "expired": "the certificate expired yesterday",
    "untrusted": "the certificate is signed by a CA that is not in ca_file",
    "client-only": "the certificate is meant for clients only",
    "self-signed": "the certificate is self-signed",
    "wrong-password": "every logon is refused",
    "mailbox-full": "552 5.2.2 after the final dot",
    "never-delivers": "the message is accepted with 250 and lost",
    "junk": "the message is delivered to Junk",
    "late": "the message is delivered after 3 seconds",
    "twice": "the message is delivered two times",
    "footer": "a disclaimer is added to the text",
    "no-uidplus": "IMAP4 has no UIDPLUS",
    "in-use": "POP3 says [IN-USE] at logon",
    "no-pipelining": "SMTP and POP3 do not offer PIPELINING",
    "chunking-refused": "CHUNKING is offered, and its command BDAT is refused",
    "chunking-broken": "CHUNKING is offered, and each line behind BDAT is taken for a command",
    "no-certificate": "Exchange: the connector has no certificate (event 12014), so STARTTLS is not offered",
    "auth-before-tls": "Exchange: BasicAuthRequireTLS was taken away, AUTH LOGIN is offered before TLS",
    "proxy-failure": "Exchange: the front end cannot reach the mailbox server, 451 4.7.0",
    "maintenance": "Exchange: the server is in maintenance, 421 4.3.2",
    "back-pressure": "Exchange: resources run short, 452 4.3.1",
    "send-as-denied": "Exchange: the account may not send as the sender, 550 5.7.60",
    "smtp-auth-disabled-tenant": "Exchange Online: 535 5.7.139, SMTP AUTH is switched off for the tenant",
    "smtp-auth-disabled-mailbox": "Exchange Online: 535 5.7.139, SMTP AUTH is switched off for the mailbox",
    "basic-auth-disabled": "Exchange Online: 535 5.7.139, basic authentication is disabled",
    "conditional-access": "Exchange Online: 535 5.7.139, the request did not meet the criteria (Conditional Access)",
    "security-defaults": "Exchange Online: 535 5.7.139, the user is locked by the organisation's security defaults",
    "credentials-incorrect": "Exchange Online: 535 5.7.139, the user credentials were incorrect",
    "imap-not-connected": "Exchange: IMAP4 logs on, then says BAD User is authenticated but not connected",
    "imap-disabled": "Exchange: IMAP4 is switched off for the mailbox",
    "pop3-disabled": "Exchange: POP3 is switched off for the mailbox",
    "administrator": "Exchange: the account is Administrator, which IMAP4 and POP3 refuse",
    "new-message-id": "Exchange: the message gets another Message-ID, as outlook.com gives it",
}

# What the report of a probe shows of each, by the finding's id where it has one, and what can be learnt from it.
TEACHES = {
    "no-starttls": "starttls.not-offered: without STARTTLS the password stays here; nothing is sent in clear",
    "wrong-name": "certificate.name-mismatch: it is valid, but not for the name that users type; their clients warn or refuse",
    "expired": "certificate.expired: what users see on the day after, on each of the three ports",
    "untrusted": "certificate.unknown-issuer: a private CA, whose root clients do not have; the password stays here",
    "client-only": "certificate.wrong-usage: without the usage for servers it is refused, though its name and dates are right",
    "self-signed": "certificate.self-signed: the server's own default certificate, where another should be assigned",
    "wrong-password": "auth.refused: one attempt a protocol, then the password is left alone, so that no account is locked",
    "mailbox-full": "submit.refused: the last word is the reply behind the message; MAIL and RCPT were accepted",
    "never-delivers": "delivery.missing: 250 is a promise, not a delivery; only reading the message back shows the difference",
    "junk": "delivery.other-folder: it was delivered, but where users do not look",
    "late": "delivery.late: the time from the final reply to the mailbox, against the profile's limits",
    "twice": "delivery.duplicate: one message sent, two found",
    "footer": "message.altered: a text that was added on the way, which breaks signatures",
    "no-uidplus": "cleanup.failed: without UIDPLUS IMAP4 cannot expunge one message alone, so ours stays",
    "in-use": "auth.mailbox-in-use: one POP3 session a mailbox; not a wrong password, and not treated as one",
    "no-pipelining": "nothing is wrong: each command waits for its reply, so the run takes longer",
    "chunking-refused": "submit.chunking-broken, as a remark: the message is sent with DATA, in the same session",
    "chunking-broken": "submit.chunking-broken: the server ends the connection; --no-pipelining sends with DATA at once",
    "no-certificate": "starttls.not-offered: on Exchange the usual cause is a connector whose certificate is missing",
    "auth-before-tls": "auth.cleartext-before-tls: a client without TLS could give its password away; this one does not",
    "proxy-failure": "submit.temporary: the front end answers, the mailbox server behind it does not",
    "maintenance": "smtp.unavailable: a server that says in its greeting that it takes nothing now",
    "back-pressure": "submit.temporary: the server defers mail because disk or memory runs short",
    "send-as-denied": "submit.refused: logging on is not enough; the account needs the right to send as this address",
    "smtp-auth-disabled-tenant": "auth.not-allowed: the password is not what is wrong; the organisation's setting is",
    "smtp-auth-disabled-mailbox": "auth.not-allowed: the same for one mailbox, with the command that shows the setting",
    "basic-auth-disabled": "auth.not-allowed: passwords are switched off by an authentication policy; OAuth is needed",
    "conditional-access": "auth.not-allowed: a policy refuses this sign-in; the sign-in log says which",
    "security-defaults": "auth.not-allowed: security defaults refuse passwords for the whole organisation",
    "credentials-incorrect": "auth.refused: SMTP AUTH is off where IMAP4 takes the same password; else it is the password",
    "imap-not-connected": "imap.refused: the logon succeeded and the mailbox did not open: the password is right",
    "imap-disabled": "auth.refused: SMTP takes the same password, so IMAP4 is switched off for the mailbox",
    "pop3-disabled": "auth.refused: SMTP takes the same password, so POP3 is switched off for the mailbox",
    "administrator": "auth.refused: Exchange refuses this account over IMAP4 and POP3, whatever its password",
    "new-message-id": "message.altered, as a remark: the message is ours all the same, by its keyed proof",
}

_TAIL = "535 5.7.139 Authentication unsuccessful, "
# Fault → step → what is said there instead of what a healthy server says.
SAYS: dict[str, dict[str, str]] = {
    "proxy-failure": {"smtp MAIL": "451 4.7.0 Temporary server error. Please try again later. PRX2"},
    "maintenance": {"smtp greeting": "421 4.3.2 Service not available"},
    "back-pressure": {"smtp MAIL": "452 4.3.1 Insufficient system resources"},
    "send-as-denied": {"smtp DATA": "550 5.7.60 SMTP; Client does not have permissions to send as this sender"},
    "smtp-auth-disabled-tenant": {
        "smtp AUTH": f"{_TAIL}SmtpClientAuthentication is disabled for the Tenant. "
        "Visit https://aka.ms/smtp_auth_disabled for more information."
    },
    "smtp-auth-disabled-mailbox": {
        "smtp AUTH": f"{_TAIL}SmtpClientAuthentication is disabled for the Mailbox. "
        "Visit https://aka.ms/smtp_auth_disabled for more information."
    },
    "basic-auth-disabled": {"smtp AUTH": f"{_TAIL}basic authentication is disabled."},
    "conditional-access": {
        "smtp AUTH": f"{_TAIL}the request did not meet the criteria to be authenticated successfully. Contact your administrator."
    },
    "security-defaults": {
        "smtp AUTH": f"{_TAIL}user is locked by your organization's security defaults policy. Contact your administrator."
    },
    "credentials-incorrect": {"smtp AUTH": f"{_TAIL}the user credentials were incorrect."},
    "imap-not-connected": {"imap SELECT": "User is authenticated but not connected."},
    "imap-disabled": {"imap LOGIN": "LOGIN failed."},
    "pop3-disabled": {"pop3 PASS": "Logon failure: unknown user name or bad password."},
}

PERSONALITIES = ("postfix", "exchange-2016")


def personality_of(fault: str | None) -> str:
    """The server that has this fault: Exchange's own are Exchange's, the others are tried on Postfix."""
    return "exchange-2016" if fault is not None and FAULTS[fault].startswith("Exchange") else "postfix"
