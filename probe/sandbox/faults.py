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
    "new-message-id": "the message gets another Message-ID, as outlook.com gives it",
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
