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
}

PERSONALITIES = ("postfix", "exchange-2016")
