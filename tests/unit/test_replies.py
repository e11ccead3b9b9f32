"""Every entry of the replies' file: what a server says → the entry; and what that makes of a finding."""

# ruff: noqa: E501 (a reply is easier to compare in one line)
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from probe.facts import Ehlo, LoggedOn, from_json
from probe.judge import findings, kinds
from probe.judge._families import families, family
from probe.judge._refused_logon import finding_of
from probe.judge._replies import FINDING_OF, Said, entries, known
from probe.profile import Profile, load_mapping
from probe.record import Record, StageRecord, Target, Trouble
from probe.tasks.each_address import compared
from probe.tasks.plan import plugins

EX, EOL, PF, DC = "exchange", "exchange-online", "postfix", "dovecot"
GREETS: dict[str | None, str] = {
    EX: "220 mail.contoso.com Microsoft ESMTP MAIL Service ready",
    EOL: "220 AM0PR01CA0001.outlook.office365.com Microsoft ESMTP MAIL Service ready",
    PF: "220 mail.contoso.com ESMTP Postfix",
    DC: "* OK Dovecot ready.",
}
SHOOK = "tls.handshake-failed"
REFUSED, NONE, HIDDEN = "auth.refused", "auth.mechanism-not-offered", "starttls.not-offered"
POLICY = "535 5.7.139 Authentication unsuccessful, "

# entry → stage, the finding it sharpens, family of the server, port, what the server says
ROWS: dict[str, tuple[str, str, str | None, int | None, str]] = {
    "online-smtp-auth-disabled-tenant": (
        "smtp.auth", REFUSED, EOL, 587, POLICY + "SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled",
    ),
    "online-smtp-auth-disabled-mailbox": (
        "smtp.auth", REFUSED, EOL, 587, POLICY + "SmtpClientAuthentication is disabled for the Mailbox.",
    ),
    "online-security-defaults": (
        "smtp.auth", REFUSED, EOL, 587, POLICY + "user is locked by your organization's security defaults policy. Contact your administrator.",
    ),
    "online-conditional-access": (
        "smtp.auth", REFUSED, EOL, 587, POLICY + "the request did not meet the criteria to be authenticated successfully.",
    ),
    "online-basic-auth-disabled": ("smtp.auth", REFUSED, EOL, 587, POLICY + "basic authentication is disabled."),
    "online-locked": ("smtp.auth", REFUSED, EOL, 587, POLICY + "the account is locked."),
    "online-password-expired": ("smtp.auth", REFUSED, EOL, 587, POLICY + "the password has expired."),
    "online-bad-credentials": ("smtp.auth", REFUSED, EOL, 587, POLICY + "the user credentials were incorrect. [AM0PR01CA0071]"),
    "online-auth-request-rejected": ("smtp.auth", REFUSED, EOL, 587, "535 5.7.139 Authentication unsuccessful"),
    "exchange-auth-temporary-online": ("smtp.auth", "auth.temporary", EOL, 587, "454 4.7.0 Temporary authentication failure [AM0]"),
    "exchange-auth-unsuccessful": ("smtp.auth", REFUSED, EX, 587, "535 5.7.3 Authentication unsuccessful"),
    "exchange-auth-temporary": ("smtp.auth", "auth.temporary", EX, 587, "454 4.7.0 Temporary authentication failure"),
    "exchange-mechanism-unknown": ("smtp.auth", NONE, EX, 587, "504 5.7.4 Unrecognized authentication type"),
    "exchange-port-25-connector": ("smtp.auth", NONE, EX, 25, "NTLM GSSAPI"),
    "exchange-no-basic-auth": ("smtp.auth", NONE, EX, 587, "NTLM GSSAPI"),
    "exchange-proxy-failed": ("smtp.submit", "submit.temporary", EX, 587, "451 4.7.0 Temporary server error. Please try again later. PRX5"),
    "exchange-maintenance": ("smtp.submit", "smtp.unavailable", EX, 587, "421 4.3.2 Service not active"),
    "exchange-back-pressure": ("smtp.submit", "submit.temporary", EX, 587, "452 4.3.1 Insufficient system resources (UsedDiskSpace[C:\\])"),
    "exchange-back-pressure-any": ("smtp.submit", "submit.temporary", PF, 587, "452 4.3.1 Insufficient system resources"),
    "exchange-too-many-errors": ("smtp.ehlo", "smtp.unavailable", EX, 587, "421 4.7.0 Too many errors on this connection, closing transmission channel"),
    "exchange-too-many-connections": (
        "smtp.greeting", "smtp.unavailable", EX, 587, "421 4.3.2 The maximum number of concurrent connections has exceeded a limit",
    ),
    "exchange-421-timeout": ("smtp.submit", "smtp.unavailable", EX, 587, "421 4.4.1 Connection timed out"),
    "exchange-421-dropped": ("smtp.submit", "smtp.unavailable", EX, 587, "421 4.4.2 Message submission failed, connection dropped"),
    "online-throttled-storedrv": (
        "smtp.submit", "submit.temporary", EOL, 587, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
    ),
    "online-rate-limit": ("smtp.submit", "submit.temporary", EX, 587, "421 4.4.2 Message submission rate for this client has exceeded the configured limit"),
    "postfix-no-sasl-server": ("smtp.ehlo_tls", "connect.closed", PF, 587, "EHLO: 127.0.0.1:587 closed the connection"),
    "postfix-client-refused": (
        "smtp.greeting", "greeting.refused", None, 587, "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
    ),
    "tls-internal-error": (
        "smtp.starttls", "tls.handshake-failed", None, 587, "TLS handshake with 192.0.2.1:587: tlsv1 alert internal error",
    ),
    "tls-closed": ("imap.tls", "tls.handshake-failed", None, 587, "TLS handshake with 192.0.2.1:993: the server closed the connection"),
    "logon-password-expired": (
        "imap.login", REFUSED, None, 993, "NO [AUTHENTICATIONFAILED] 80090308: LdapErr: DSID-0C09041C, AcceptSecurityContext error, data 532, v4563",
    ),
    "logon-in-use": ("pop3.login", REFUSED, None, 995, "-ERR unable to lock the spool: another session has it"),
    "logon-limit": ("smtp.auth", REFUSED, None, 587, "535 5.7.0 Too many bad auth attempts."),
    "logon-temporary": ("smtp.auth", REFUSED, None, 587, "535 5.7.8 Error: authentication failed: Connection lost to authentication server"),
    "logon-other-password": ("smtp.auth", REFUSED, None, 587, "535 Please log in with your authorization code."),
    "logon-not-allowed": ("smtp.auth", REFUSED, None, 587, "550 User has no permission"),
    "logon-mechanism": ("pop3.login", REFUSED, None, 995, "-ERR malformed command"),
    "logon-password": ("smtp.auth", REFUSED, None, 587, "535 Incorrect authentication data"),
    "exchange-starttls-required": ("smtp.auth", REFUSED, EX, 587, "530 5.7.0 Must issue a STARTTLS command first"),
    "exchange-client-not-authenticated": ("smtp.submit", "submit.sender-refused", EX, 587, "530 5.7.57 Client not authenticated to send mail"),
    "exchange-client-not-authenticated-old": ("smtp.submit", "submit.sender-refused", EX, 587, "530 5.7.1 Client was not authenticated"),
    "exchange-invalid-arguments": ("smtp.ehlo", "ehlo.refused", EX, 587, "501 5.5.4 Invalid domain name"),
    "exchange-starttls-hidden": ("smtp.starttls", HIDDEN, EX, 587, "SIZE PIPELINING DSN"),
    "exchange-starttls-454": ("smtp.starttls", "starttls.refused", EX, 587, "454 4.7.0 TLS not available due to temporary reason"),
    "exchange-certificate-name": ("smtp.certificate", "certificate.name-mismatch", EX, 587, "the certificate names EX01"),
    "exchange-reader-certificate-name": ("imap.certificate", "certificate.name-mismatch", EX, None, "the certificate names EX01"),
    "exchange-send-as": (
        "smtp.submit", "submit.refused", EX, 587, "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    ),
    "online-send-as-denied": (
        "smtp.submit", "submit.refused", EOL, 587, "554 5.2.252 SendAsDenied; probe@contoso.com not allowed to send as boss@contoso.com",
    ),
    "exchange-unable-to-relay": ("smtp.submit", "submit.recipient-refused", EX, 587, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"),
    "exchange-relay-old": ("smtp.submit", "submit.recipient-refused", EX, 587, "550 5.7.1 Unable to relay"),
    "exchange-recipient-restricted": ("smtp.submit", "submit.refused", EX, 587, "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized"),
    "exchange-access-denied": ("smtp.submit", "submit.sender-refused", EX, 587, "550 5.7.1 Access denied"),
    "exchange-recipient-unknown": ("smtp.submit", "submit.recipient-refused", EX, 587, "550 5.1.10 RESOLVER.ADR.RecipientNotFound"),
    "quota-exchange": ("smtp.submit", "submit.refused", EX, 587, "554 5.2.2 mailbox full"),
    "size-exchange": ("smtp.submit", "submit.sender-refused", EX, 587, "552 5.3.4 Message size exceeds fixed maximum message size"),
    "online-sender-blocked": ("smtp.submit", "submit.refused", EOL, 587, "550 5.1.8 Access denied, bad outbound sender"),
    "exchange-sender-denied": ("smtp.submit", "submit.sender-refused", None, 587, "554 5.7.1 Sender address denied"),
    "exchange-not-connected": ("imap.login", "imap.no-folder", EX, None, "BAD User is authenticated but not connected."),
    "exchange-imap-administrator": (
        "imap.login", REFUSED, EX, None, "NO LOGIN failed.\nIMAP4 logon as administrator@contoso.com: refused: NO LOGIN failed.",
    ),
    "exchange-protocol-disabled": ("pop3.login", REFUSED, EX, None, "-ERR POP3 is disabled for this mailbox"),
    "exchange-pop3-logon-failure": ("pop3.login", REFUSED, EX, None, "-ERR Logon failure: unknown user name or bad password."),
    "exchange-plaintext-logon-refused": ("pop3.login", REFUSED, EX, None, "-ERR Command is not valid in this state."),
    "exchange-imap-login-failed": ("imap.login", REFUSED, EX, None, "NO LOGIN failed."),
    "exchange-reader-connection-limit": ("imap.connect", "imap.unavailable", EX, None, "Connection is closed. 14"),
    "exchange-server-unavailable": ("imap.login", REFUSED, EX, None, "NO Server Unavailable. 15"),
    "exchange-reader-service-stopped": ("imap.connect", "connect.refused", EX, None, "[Errno 111] Connection refused"),
    "fqdn-missing-in-one-zone": ("smtp.resolve", "dns.resolver-no-record", None, 587, "no address"),
    "providers-name-missing": ("smtp.resolve", "dns.no-record", "gmail", 587, "no address"),
    "fqdn-missing": ("smtp.resolve", "dns.no-record", None, 587, "no address"),
    "submission-port-blocked": ("smtp.connect", "connect.timeout", None, 587, "no answer in time"),
    "port-25-blocked": ("smtp.connect", "connect.timeout", None, 25, "no answer in time"),
    "submission-not-listening": ("smtp.connect", "connect.refused", None, 587, "[Errno 111] Connection refused"),
    "autodiscover-no-smtp-settings": ("discover.autodiscover", "", None, None, "Autodiscover has no SMTP entry"),
    "autodiscover-no-reader-settings": ("discover.autodiscover", "", None, None, "Autodiscover has no IMAP entry"),
    "postfix-auth-failed": ("smtp.auth", REFUSED, PF, 587, "535 5.7.8 Error: authentication failed: (reason unavailable)"),
    "auth-temporary-sasl": ("smtp.auth", "auth.temporary", PF, 587, "454 4.7.0 Temporary authentication failure: Connection lost"),
    "postfix-auth-not-enabled": ("smtp.auth", REFUSED, PF, 587, "503 5.5.1 Error: authentication not enabled"),
    "postfix-no-auth-offered": ("smtp.auth", NONE, PF, 587, "none"),
    "postfix-sender-not-owned": (
        "smtp.submit", "submit.recipient-refused", PF, 587, "553 5.7.1 <boss@example.test>: Sender address rejected: not owned by user probe",
    ),
    "postfix-relay-denied": ("smtp.submit", "submit.recipient-refused", PF, 587, "554 5.7.1 <x@example.org>: Relay access denied"),
    "postfix-greylisted": ("smtp.submit", "submit.temporary", PF, 587, "451 4.7.1 Greylisting in action, please come back later"),
    "postfix-user-unknown": (
        "smtp.submit", "submit.recipient-refused", PF, 587, "550 5.1.1 <x@example.test>: Recipient address rejected: User unknown in virtual mailbox table",
    ),
    "postfix-unverified-address": (
        "smtp.submit", "submit.temporary", PF, 587, "450 4.1.8 <a@b.test>: Sender address rejected: Domain not found",
    ),
    "postfix-helo-rejected": (
        "smtp.submit", "submit.recipient-refused", PF, 587, "504 5.5.2 <probe>: Helo command rejected: need fully-qualified hostname",
    ),
    "postfix-client-blocked": (
        "smtp.submit", "submit.recipient-refused", PF, 587, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    ),
    "postfix-too-many-connections": ("smtp.greeting", "smtp.unavailable", PF, 587, "421 4.7.0 mail Error: too many connections from 192.0.2.1"),
    "postfix-too-much-mail": ("smtp.submit", "submit.temporary", PF, 587, "450 4.7.1 Error: too much mail from 192.0.2.1"),
    "postfix-disk-full": ("smtp.submit", "submit.temporary", PF, 587, "452 4.3.1 Insufficient system storage"),
    "postfix-queue-file": ("smtp.submit", "submit.temporary", PF, 587, "451 4.3.0 Error: queue file write error"),
    "postfix-server-configuration": ("smtp.submit", "submit.temporary", PF, 587, "451 4.3.5 Server configuration problem"),
    "postfix-milter": ("smtp.submit", "submit.temporary", PF, 587, "451 4.7.1 Service unavailable - try again later"),
    "postfix-starttls-454": ("smtp.starttls", "starttls.refused", PF, 587, "454 4.7.0 TLS not available due to local problem"),
    "postfix-starttls-hidden": ("smtp.starttls", HIDDEN, PF, 587, "PIPELINING SIZE"),
    "postfix-starttls-required": ("smtp.auth", REFUSED, PF, 587, "538 5.7.11 Encryption required for requested authentication mechanism"),
    "postfix-size": ("smtp.submit", "submit.sender-refused", PF, 587, "552 5.3.4 Message size exceeds fixed limit"),
    "mailbox-full": ("smtp.submit", "submit.recipient-refused", PF, 587, "552 5.2.2 Mailbox is full"),
    "mailbox-full-for-now": ("smtp.submit", "submit.temporary", PF, 587, "452 4.2.2 Mailbox is full"),
    "size-any": ("smtp.submit", "submit.refused", None, 587, "552 5.3.4 too big"),
    "authentication-required": ("smtp.submit", "submit.sender-refused", None, 587, "530 5.7.0 Authentication required"),
    "password-transition": ("smtp.auth", "auth.temporary", None, 587, "432 4.7.12 A password transition is needed"),
    "gmail-app-password": ("smtp.auth", REFUSED, None, 587, "534 5.7.9 Application-specific password required"),
    "dovecot-plaintext-refused": ("imap.login", REFUSED, DC, None, "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure connections."),
    "dovecot-connection-limit": (
        "imap.login", REFUSED, DC, None, "NO Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)",
    ),
    "dovecot-temporary": ("imap.login", "auth.temporary", DC, None, "NO [UNAVAILABLE] Temporary authentication failure."),
    "dovecot-internal-error": ("imap.login", REFUSED, DC, None, "NO [SERVERBUG] Internal error occurred. Refer to server log"),
    "imap-expired": ("imap.login", REFUSED, DC, None, "NO [EXPIRED] Password expired."),
    "imap-authorization-failed": ("imap.login", REFUSED, DC, None, "NO [AUTHORIZATIONFAILED] Authorization failed"),
    "dovecot-auth-failed": ("imap.login", REFUSED, DC, None, "NO [AUTHENTICATIONFAILED] Authentication failed."),
    "dovecot-starttls-hidden": ("imap.tls", HIDDEN, DC, None, "IMAP4REV1 IDLE"),
    "pop3-in-use": ("pop3.login", "auth.mailbox-in-use", DC, None, "-ERR [IN-USE] Mailbox is locked by another POP3 session."),
    "imap-over-quota": ("imap.delete", "cleanup.failed", DC, None, "NO [OVERQUOTA] Quota exceeded"),
    "antivirus-proxy": ("smtp.certificate", "certificate.unknown-issuer", None, 587, "CN=Fortinet CA"),
    "tls-nothing-in-common": ("smtp.starttls", SHOOK, None, 587, "[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure"),
    "tls-insufficient-security": ("imap.tls", SHOOK, None, None, "[SSL: TLSV1_ALERT_INSUFFICIENT_SECURITY] tlsv1 alert insufficient security"),
    "tls-inappropriate-fallback": ("pop3.tls", SHOOK, None, None, "[SSL: TLSV1_ALERT_INAPPROPRIATE_FALLBACK] tlsv1 alert inappropriate fallback"),
    "tls-unrecognized-name": ("smtp.starttls", SHOOK, None, 587, "[SSL: TLSV1_UNRECOGNIZED_NAME] tlsv1 unrecognized name"),
    "tls-protocol-version": ("smtp.starttls", "tls.version", None, 587, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version"),
    "tls-not-understood": ("smtp.starttls", SHOOK, None, 587, "[SSL: TLSV1_ALERT_DECODE_ERROR] tlsv1 alert decode error"),
    "tls-is-no-tls": ("imap.tls", SHOOK, None, None, "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
    "middlebox-esmtp-inspection": ("smtp.starttls", HIDDEN, None, 587, "SIZE XXXXXXXA"),
    "reader-not-listening": ("imap.connect", "connect.refused", None, None, "[Errno 111] Connection refused"),
    # -- what a refusal is about
    "about-rate": ("smtp.submit", "submit.temporary", None, 587, "450 4.2.1 User is receiving mail too quickly"),
    "about-relay": ("smtp.submit", "submit.recipient-refused", None, 587, "550 5.7.1 Relaying denied"),
    "about-domain-authentication": ("smtp.submit", "submit.refused", None, 587, "550 5.7.26 Unauthenticated email is not accepted due to DMARC policy"),
    "about-block-list": ("smtp.submit", "submit.refused", None, 587, "554 5.7.1 Your IP is listed by Spamhaus"),
    "about-account-disabled": ("smtp.submit", "submit.recipient-refused", None, 587, "550 5.2.1 This mailbox has been blocked due to inactivity"),
    "about-content": ("smtp.submit", "submit.refused", None, 587, "554 5.7.1 Message rejected under suspicion of SPAM"),
    "about-greylisting": ("smtp.submit", "submit.temporary", None, 587, "451 4.7.1 Greylisted for 5 minutes"),
    "about-policy": ("smtp.submit", "submit.refused", None, 587, "550 5.7.1 Message rejected due to local policy"),
    "about-starttls-required": ("smtp.submit", "submit.sender-refused", None, 587, "530 5.7.0 Must issue a STARTTLS command first"),
    "about-sender-not-owned": ("smtp.submit", "submit.sender-refused", None, 587, "550 5.7.1 You are not allowed to send as boss@example.test"),
    "about-sender-unknown": ("smtp.submit", "submit.sender-refused", None, 587, "550 5.1.8 Invalid sender"),
    "about-system": ("smtp.submit", "submit.temporary", None, 587, "451 4.3.0 Resources are short, try again later"),
    "about-recipient-unknown": ("smtp.submit", "submit.recipient-refused", None, 587, "550 5.1.1 No such user here"),
    "about-syntax": ("smtp.submit", "submit.recipient-refused", None, 587, "501 Syntax error in parameters or arguments"),
    "about-refused": ("smtp.submit", "submit.refused", None, 587, "550 5.2.0 Mail rejected. ofr_506"),
    # -- providers
    "gmail-access-off": ("imap.login", "auth.not-allowed", None, None, "NO [ALERT] Your account is not enabled for IMAP use. (Failure)"),
    "yahoo-too-many-logons": ("smtp.auth", "auth.login-delay", None, 587, "535 5.7.0 (#AUTH005) Too many bad auth attempts."),
    "yahoo-app-password": ("imap.login", REFUSED, "yahoo", None, "NO [AUTHENTICATIONFAILED] LOGIN Invalid credentials"),
    "icloud-app-password": ("smtp.auth", REFUSED, "icloud", 587, "535 5.7.8 Error: authentication failed: authentication failure"),
    "qq-authorization-code": ("smtp.auth", "auth.not-allowed", None, 587, "535 Login Fail. Please enter your authorization code to login."),
    "netease-unsafe-login": ("imap.find", "imap.no-folder", "netease", None, "NO SELECT Unsafe Login. Please contact kefu@188.com for help"),
    "netease-authorization-code": ("smtp.auth", REFUSED, "netease", 465, "535 Error: authentication failed"),
    "zoho-app-password": ("smtp.auth", REFUSED, "zoho", 587, "535 Authentication Failed"),
    "yandex-app-password": (
        "smtp.auth", "auth.not-allowed", "yandex", 587,
        "535 5.7.8 Error: authentication failed: This user does not have access rights to this service",
    ),
    "mailru-app-password": ("smtp.auth", REFUSED, "mailru", 465, "535 5.7.0 NEOBHODIM parol prilozheniya / Application password is REQUIRED"),
    "gmx-mail-programs-off": ("smtp.auth", REFUSED, "gmx", 587, "535 Authentication credentials invalid"),
    "fastmail-app-password": ("smtp.auth", REFUSED, "fastmail", 465, "535 5.7.0 Incorrect username or password"),
    "proton-bridge-password": ("smtp.auth", REFUSED, "proton", 1025, "535 5.7.8 Authentication failed"),
    "ses-not-verified": ("smtp.submit", "submit.refused", None, 587, "554 Message rejected: Email address is not verified."),
    "ses-sending-limit": ("smtp.submit", "submit.temporary", "ses", 587, "454 Throttling failure: Maximum sending rate exceeded."),
    "ses-smtp-credentials": ("smtp.auth", REFUSED, None, 587, "535 Authentication Credentials Invalid"),
    "sendgrid-api-key": ("smtp.auth", REFUSED, "sendgrid", 587, "535 Authentication failed: Bad username / password"),
    "sendgrid-sender-identity": (
        "smtp.submit", "submit.refused", "sendgrid", 587, "550 The from address does not match a verified Sender Identity.",
    ),
    "mailgun-smtp-credentials": ("smtp.auth", REFUSED, "mailgun", 587, "535 5.7.8 Authentication failed"),
    "postmark-server-token": ("smtp.auth", REFUSED, "postmark", 587, "535 5.7.8 Authentication failed"),
    "brevo-smtp-key": ("smtp.auth", REFUSED, "brevo", 587, "535 5.7.8 Authentication failed"),
    "online-basic-auth-retired": (
        "smtp.auth", REFUSED, EOL, 587, "550 5.7.30 Basic authentication is not supported for Client Submission.",
    ),
    "online-auth-unsuccessful": ("smtp.auth", REFUSED, EOL, 587, "535 5.7.3 Authentication unsuccessful [AM0PR01CA0071]"),
    "online-submission-quota": ("smtp.submit", "submit.refused", EOL, 587, "550 5.2.2 Submission quota exceeded"),
    "online-tenant-attribution": (
        "smtp.submit", "submit.recipient-refused", None, 25, "550 5.7.64 TenantAttribution; Relay Access Denied SMTP",
    ),
    "online-tenant-blocked": ("smtp.submit", "submit.recipient-refused", None, 25, "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP"),
    "online-storedrv": ("smtp.submit", "submit.refused", None, 587, "550 5.2.0 STOREDRV.Submission.Exception:StoreDriverFailure; failed to process message"),
    "online-access-denied": ("smtp.submit", "submit.recipient-refused", EOL, 25, "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)"),
    "online-banned-address": ("smtp.submit", "submit.recipient-refused", None, 25, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]"),
    "online-busy": ("smtp.submit", "submit.temporary", EOL, 25, "451 4.7.500 Server busy. Please try again later from [192.0.2.1]."),
    # -- products, and filters in front
    "exim-auth-failed": ("smtp.auth", REFUSED, "exim", 587, "535 Incorrect authentication data"),
    "exim-relay-not-permitted": ("smtp.submit", "submit.recipient-refused", "exim", 587, "550 relay not permitted"),
    "exim-unrouteable": ("smtp.submit", "submit.recipient-refused", "exim", 587, "550 Unrouteable address"),
    "sendmail-auth-failed": ("smtp.auth", REFUSED, "sendmail", 587, "535 5.7.0 authentication failed"),
    "opensmtpd-auth-failed": ("smtp.auth", REFUSED, "opensmtpd", 587, "535 Authentication failed"),
    "courier-auth-failed": ("pop3.login", REFUSED, "courier", None, "-ERR Login failed."),
    "cyrus-auth-failed": ("imap.login", REFUSED, "cyrus", None, "NO Login failed: authentication failure"),
    "hmailserver-auth-required": ("smtp.submit", "submit.recipient-refused", None, 587, "530 SMTP authentication is required."),
    "hmailserver-auth-failed": ("smtp.auth", REFUSED, "hmailserver", 587, "535 Authentication failed. Restarting authentication process."),
    "mdaemon-auth-failed": ("smtp.auth", REFUSED, "mdaemon", 587, "535 5.7.8 Authentication failed"),
    "zimbra-auth-failed": ("smtp.auth", REFUSED, "zimbra", 587, "535 5.7.8 Error: authentication failed: authentication failure"),
    "stalwart-auth-failed": ("imap.login", REFUSED, "stalwart", None, "NO [AUTHENTICATIONFAILED] Authentication failed"),
    "proofpoint-block-list": (
        "smtp.submit", "submit.recipient-refused", None, 25, "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using prs.proofpoint.com",
    ),
    "mimecast-policy": (
        "smtp.submit", "submit.recipient-refused", None, 25, "550 Envelope blocked - User Entry - https://community.mimecast.com/docs/DOC-1369#550",
    ),
    "barracuda-not-now": ("smtp.submit", "submit.temporary", None, 25, "451 cuda_nsu 4.4.3 Temporary server error. Please try again later"),
    "about-form": ("smtp.submit", "submit.refused", None, 587, "550 5.7.1 Messages with multiple From headers are refused"),
    "about-spam-score": ("smtp.submit", "submit.refused", None, 587, "554 5.7.1 Mail score 9 is over the limit of 5"),
    "about-loop": ("smtp.submit", "submit.refused", None, 587, "554 5.4.6 Too many hops"),
    "about-sending-quota": ("smtp.submit", "submit.sender-refused", None, 587, "550 5.7.1 Your hourly sending quota is used up"),
    "about-sending-account": ("smtp.submit", "submit.sender-refused", None, 587, "550 5.7.0 Your account is not yet activated"),
    "about-system-by-code": ("smtp.submit", "submit.refused", None, 587, "554 5.3.0 That did not work"),
    "logon-account-disabled": ("smtp.auth", "auth.not-allowed", None, 587, "535 5.7.13 User account disabled"),
    "online-reader-password": ("imap.login", REFUSED, EOL, None, "NO LOGIN failed."),
    "zoho-sender-not-owned": ("smtp.submit", "submit.sender-refused", "zoho", 587, "553 Relaying disallowed as boss@example.test"),
    "zoho-unusual-activity": ("smtp.submit", "submit.refused", "zoho", 587, "550 5.4.6 Unusual sending activity detected"),
    "netease-sending-limit": ("smtp.submit", "submit.temporary", "netease", 25, "451 MI:SFQ 163 mx1,abc"),
    "netease-address-refused": ("smtp.submit", "smtp.unavailable", "netease", 25, "421 HL:REP 163 mx1,abc"),
    "netease-content": ("smtp.submit", "submit.refused", "netease", 25, "554 DT:SPM 163 smtp1,abc"),
    "netease-account-suspended": ("smtp.auth", "auth.not-allowed", "netease", 465, "550 User suspended"),
    "brevo-address-not-authorised": ("smtp.auth", "auth.not-allowed", "brevo", 587, "525 5.7.1 Unauthorized IP address"),
    "ses-paused": ("smtp.submit", "submit.refused", "ses", 587, "554 Message rejected: Sending paused for this account."),
    "ses-permission": ("smtp.submit", "submit.refused", "ses", 587, "554 Access denied: User `x' is not authorized to perform `ses:SendRawEmail'"),
    "sendgrid-credits": ("smtp.auth", "auth.login-delay", "sendgrid", 587, "451 Authentication failed: Maximum credits exceeded"),
    "proton-bridge-later": ("smtp.auth", "auth.temporary", "proton", 1025, "454 4.7.0 invalid username or password"),
    "courier-authdaemon-down": ("imap.login", "imap.unavailable", "courier", None, "BYE Temporary problem, please try again later"),
    "about-limited-for-authentication": ("smtp.submit", "smtp.unavailable", None, 587, "421 4.7.0 Your mail is rate limited, since SPF did not pass"),
    "gmail-sender-requirements": ("smtp.submit", "submit.refused", "gmail", 587, "550 5.7.30 This mail has been blocked because DKIM does not pass."),
    "online-corrupt-content": ("smtp.submit", "submit.refused", EX, 587, "554 5.6.0 STOREDRV.Deliver; Corrupt message content"),
    "about-relay-for-sender": ("smtp.submit", "submit.sender-refused", None, 587, "553 Relaying disallowed as boss@example.test"),
}  # fmt: skip
# What another service of the run made of the same password.
ELSEWHERE = {
    "elsewhere-taken-smtp": ("smtp.auth", EOL, "535 5.7.139 Authentication unsuccessful"),
    "elsewhere-taken-imap": ("imap.login", DC, "NO [AUTHENTICATIONFAILED] Authentication failed."),
    "elsewhere-taken-pop3": ("pop3.login", EX, "-ERR Logon failure: unknown user name or bad password."),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_said_leads_to_its_entry(name: str) -> None:
    stage, finding, family, port, text = ROWS[name]
    means = {entry.id: entry.means for entry in entries()}[name]
    if means is not None and stage in ("smtp.auth", "imap.login", "pop3.login") and finding == REFUSED:
        finding = finding_of(stage, text, GREETS.get(family, ""))
        assert finding == FINDING_OF[means]
    entry = known(Said(text, stage, finding, family, port))
    assert entry is not None and entry.id == name


def test_the_table_has_a_row_for_every_entry_and_no_entry_claims_to_know() -> None:
    assert sorted(entry.id for entry in entries()) == sorted({**ROWS, **ELSEWHERE})
    assert len(entries()) >= 60
    for entry in entries():
        assert "likely" in entry.cause, entry.id
        assert entry.check and entry.fix and entry.source.startswith("https://"), entry.id
        assert set(entry.findings) <= set(kinds()), entry.id
        assert entry.text is None or re.compile(entry.text), entry.id


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_other_services_made_of_the_password_leads_to_its_entry(name: str) -> None:
    stage, family, text = ELSEWHERE[name]
    said = Said(text, stage, REFUSED, family, 587, "taken")
    entry, alone = known(said), known(replace(said, elsewhere=None))
    assert entry is not None and entry.id == name
    assert alone is None or alone.id not in ELSEWHERE


@pytest.mark.parametrize(
    ("stage", "family", "text"),
    [
        ("smtp.auth", PF, "535 5.7.3 no"),  # Exchange's code from another server proves nothing
        ("smtp.submit", None, "550 no"),
        ("imap.login", DC, ""),
        ("smtp.submit", EX, "1535 5.7.3x"),  # not a reply code
        ("pop3.find", EX, "-ERR Logon failure: unknown user name or bad password."),  # another stage
    ],
)
def test_what_nobody_knows_has_no_entry(stage: str, family: str | None, text: str) -> None:
    assert known(Said(text, stage, "submit.refused", family, 587)) is None


def _record(greeting: str, trouble: Trouble | None, stage: str = "smtp.auth", port: int = 587) -> Record:
    greeted = StageRecord("smtp.greeting", "ok", facts=from_json("smtp.greeting", {"lines": [greeting]}))
    ended = StageRecord(stage, "failed" if trouble else "ok", trouble=trouble)
    return Record("0" * 16, "p", Target("mail.contoso.com", port, "starttls"), "2026-11-24T00:00:00Z", 1.0, (greeted, ended))


PROFILE = load_mapping(
    {"submission": {"host": "mail.contoso.com"}, "message": {"sender": "a@b.test", "recipient": "a@b.test"}}, plugins=plugins()
)
EXCHANGE_GREETING = "220 mail.contoso.com Microsoft ESMTP MAIL Service ready at Tue, 24 Nov 2026 01:00:00 +0000"


def test_a_finding_keeps_its_id_and_gets_the_cause_that_the_reply_points_at() -> None:
    said = "535 5.7.3 Authentication unsuccessful"
    record = _record(EXCHANGE_GREETING, Trouble("auth.refused", f"AUTH LOGIN as x: refused: {said}", said))
    (found,) = findings(record, PROFILE)
    assert (found.id, found.severity, found.evidence) == ("auth.refused", "critical", said)
    assert found.cause != kinds()["auth.refused"].cause and "locked" in found.cause
    assert any("Get-ADUser" in step for step in found.remedy)
    assert any("probe explain reply.exchange-auth-unsuccessful" in step for step in found.remedy)


def test_the_same_reply_of_another_server_gets_general_advice() -> None:
    said = "535 5.7.3 Authentication unsuccessful"
    (found,) = findings(_record("220 mail ESMTP Postfix", Trouble("auth.refused", said, said)), PROFILE)
    assert any("reply.logon-password" in step for step in found.remedy)
    assert not any("Get-" in step for step in found.remedy)


def test_a_maker_of_replies_cannot_speak_through_the_remedy() -> None:
    said = "535 5.7.3 \x1b[2J<script>probe explain"
    (found,) = findings(_record(EXCHANGE_GREETING, Trouble("auth.refused", said, said)), PROFILE)
    assert "<script>" not in found.cause + "".join(found.remedy)


HOSTED = {
    "smtp.gmail.com": ("gmail", "myaccount.google.com"),
    "smtp.mail.yahoo.com": ("yahoo", "app password"),
    "email-smtp.eu-west-1.amazonaws.com": ("ses", "SMTP credentials"),
    "smtp.office365.com": ("exchange-online", "SmtpClientAuthenticationDisabled"),
}


def _logons(host: str, *said: tuple[str, str, str | None], username: str = "u@example.test") -> Record:
    """A run of these logons: stage, greeting, and the refusal, or None where it was taken."""
    stages = []
    for stage, greeting, refusal in said:
        facts = LoggedOn(username=username, attempts=1, greeting=greeting)
        trouble = Trouble(finding_of(stage, refusal, greeting), f"logon as {username}: refused", refusal) if refusal else None
        stages.append(StageRecord(stage, "failed" if trouble else "ok", trouble=trouble, facts=facts))
    return Record("0" * 16, "p", Target(host, 587, "starttls"), "2026-11-24T00:00:00Z", 1.0, tuple(stages))


@pytest.mark.parametrize("host", HOSTED)
def test_a_host_is_recognised_by_its_name(host: str) -> None:
    record = _logons(host, ("smtp.auth", "", "535 5.7.3 Username and Password not accepted"))
    (found,) = findings(record, PROFILE)
    name, advice = HOSTED[host]
    assert family(record, "smtp") == name and advice in " ".join((found.cause, *found.remedy))
    assert not any("doveadm" in step or "postconf" in step for step in found.remedy)


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (("mail.contoso.com Hello [smtp.gmail.com]",), None),  # the text behind the name greets us
        (("smtp.gmail.com at your service",), "gmail"),
        (("mail.contoso.com Hello", "X-EXPS GSSAPI NTLM"), "exchange"),
    ],
)
def test_what_the_ehlo_reply_says_is_seen(lines: tuple[str, ...], name: str | None) -> None:
    keywords = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    ehlo = StageRecord("smtp.ehlo", "ok", facts=Ehlo(lines=lines, name=lines[0].split()[0], keywords=keywords))
    record = Record("0" * 16, "p", Target("mail.contoso.com", 587, "starttls"), "2026-11-24T00:00:00Z", 1.0, (ehlo,))
    assert family(record, "smtp") == name


def test_a_server_known_only_by_its_words_gets_its_commands_under_a_label() -> None:
    said = "550 5.1.1 <x@b.test>: Recipient address rejected: User unknown in virtual mailbox table"
    (found,) = findings(_record("220 mail ESMTP", Trouble("submit.recipient-refused", said, said), "smtp.submit"), PROFILE)
    assert "Postfix" not in found.cause and all(step.startswith("Postfix: ") for step in found.remedy)


# By family, what its advice may name; an alternative stands under its label where the family is not known.
NAMES = {
    "exchange": r"\b(Get|Set)-[A-Z]",
    "postfix": r"\bpostconf\b|Postfix",
    "dovecot": r"\bdove(adm|conf)\b|Dovecot",
    "gmail": r"Google|Gmail",
}
REFUSALS = {
    "smtp.submit": (
        "550 no",
        "450 no",
        "550 5.1.1 unknown",
        "452 4.2.2 full",
        "550 spam",
        "550 5.7.1 relay",
        "552 5.3.4 size",
        "550 5.7.1 no",
    ),
    "smtp.greeting": ("554 no", "421 4.7.0 no", "421 4.3.2 too many connections"),
    "smtp.starttls": ("454 4.7.0 TLS not available",),
    "smtp.auth": ("535 5.7.8 no", "454 4.7.0 no", "550 5.7.1 not allowed"),
}
FINDING = {"smtp.submit": "submit.recipient-refused", "smtp.greeting": "greeting.refused", "smtp.starttls": "starttls.refused"}


@pytest.mark.parametrize("stage", REFUSALS)
@pytest.mark.parametrize("name", ["gmail", "yahoo", "exim", "postfix", "exchange", "exchange-online", "ses", "opensmtpd"])
def test_no_family_gets_another_ones_commands(name: str, stage: str) -> None:
    greeting: dict[str | None, str] = {item: f"220 m.test ESMTP {one.title}" for item, one in families().items()}
    greeting |= GREETS
    greeting |= {
        "gmail": "220 smtp.gmail.com ESMTP x - gsmtp",
        "yahoo": "220 smtp.mail.yahoo.com ESMTP",
        "ses": "220 amazonses.com ESMTP",
    }
    allowed = {name, *families()[name].beside} | ({"exchange"} if name == "exchange-online" else set())
    for said in REFUSALS[stage]:
        identity = FINDING.get(stage) or finding_of(stage, said, greeting[name])
        (found,) = findings(_record(greeting[name], Trouble(identity, said, said), stage), PROFILE)
        text = "\n".join((found.cause, *found.remedy))
        assert found.remedy and [other for other, shown in NAMES.items() if other not in allowed and re.search(shown, text)] == []


def test_a_reader_that_does_not_say_what_it_is_stands_beside_its_submission() -> None:
    for greeting, elsewhere in (("220 m.test ESMTP Postfix", False), ("220 m.test ESMTP", True)):
        record = _record(greeting, Trouble("auth.refused", "refused: NO", "NO"), "imap.login")
        (found,) = findings(record, PROFILE)
        text = "\n".join(found.remedy)
        assert "doveadm" in text and ("Exchange: " in text) == elsewhere, text


def test_a_server_that_says_nothing_is_what_the_profile_extends() -> None:
    record = _record("220 m.test", Trouble("connect.refused", "connection refused", ""), "smtp.connect")
    steps = {parent: "\n".join(findings(record, _extending(parent))[0].remedy) for parent in ("generic", "postfix-dovecot")}
    assert "Exchange: " in steps["generic"] and "Postfix: " in steps["generic"]
    assert "Exchange: " not in steps["postfix-dovecot"] and "Postfix: " in steps["postfix-dovecot"]


def _extending(parent: str) -> Profile:
    return PROFILE.replace(extends=parent)


def test_advice_for_a_providers_name_is_not_to_publish_it() -> None:
    trouble = Trouble("dns.no-record", "look up smtp.office365.com: the name has no address", "")
    record = replace(_logons("smtp.office365.com"), stages=(StageRecord("smtp.resolve", "failed", trouble=trouble),))
    (found,) = findings(record, PROFILE)
    assert "this machine's resolver" in found.cause and not any("A/AAAA" in step for step in found.remedy)


def test_pop3_that_refuses_a_password_which_smtp_took_is_off_for_the_user() -> None:
    refusal = "-ERR [AUTH] Authentication failed."
    record = _logons("m.test", ("smtp.auth", "", None), ("pop3.login", "+OK Dovecot ready.", refusal))
    (found,) = findings(record, PROFILE)
    assert (
        found.id == "auth.refused" and "took this user's password" in found.cause and "POP3 is likely switched off" in found.cause
    )
    assert any("doveadm" in step for step in found.remedy) and not any("Get-CASMailbox" in step for step in found.remedy)
    (found,) = findings(
        replace(record, stages=(replace(record.stages[0], facts=LoggedOn(username="b@c.test", attempts=1)), record.stages[1])),
        PROFILE,
    )
    assert "took this user's password" not in found.cause


def test_where_every_service_refuses_it_is_the_password() -> None:
    record = _logons(
        "m.test",
        ("smtp.auth", "", "535 5.7.8 Authentication failed"),
        ("imap.login", "* OK Dovecot ready.", "NO [AUTHENTICATIONFAILED] no"),
    )
    found = findings(record, PROFILE)
    assert [item.id for item in found] == ["auth.refused"] * 2
    assert all("Every service of this run refused this user" in item.cause for item in found)


@pytest.mark.parametrize("address", ["spam@relay.example", "quota@mail.163.com", "greylist@example.test"])
def test_an_address_in_a_refusal_is_not_what_it_is_about(address: str) -> None:
    said = f"550 5.1.1 <{address}>: no such user here"
    trouble = Trouble("submit.recipient-refused", f"RCPT TO:<{address}>: refused: {said}", said)
    (found,) = findings(_record("220 m ESMTP", trouble, "smtp.submit"), PROFILE)
    assert any("explain reply.about-recipient-unknown" in step for step in found.remedy), found


def test_a_node_that_alone_refuses_is_named() -> None:
    said = "554 5.7.1 no"
    records = [
        replace(_record("220 m ESMTP", trouble, "smtp.submit"), target=Target("m.test", 587, "starttls", address, node))
        for address, node, trouble in (
            ("192.0.2.1:587", "ex01", None),
            ("192.0.2.2:587", "ex02", Trouble("submit.refused", said, said)),
        )
    ]
    connected = [replace(one, stages=(StageRecord("smtp.connect", "ok"), *one.stages)) for one in records]
    (found,) = findings(compared(connected)[1], PROFILE)
    assert "Only node 192.0.2.2:587 (ex02) fails; 192.0.2.1:587 went well in this run." in found.cause
    alone = [connected[1], replace(connected[1], target=records[0].target)]
    (found,) = findings(compared(alone)[0], PROFILE)
    assert "node 192.0.2" not in found.cause.lower()


def test_every_family_is_recognised_and_beside_ones_that_exist() -> None:
    assert len(families()) >= 32
    for one in families().values():
        assert one.greeting or one.hosts or one.words, one.name
        assert set(one.beside) <= set(families()) and one.labels, one.name
        assert all(host == host.lower() for host in one.hosts), one.name


def test_a_remark_reads_no_entries() -> None:
    code = (
        "from probe.judge._replies import entries, explained\n"
        "from probe.judge import kinds\n"
        "from probe.record import Record, Target\n"
        "from probe.report import Finding\n"
        "record = Record('0' * 16, 'p', Target('smtp.gmail.com', 587, 'starttls'), '2026-11-24T00:00:00Z', 1.0, ())\n"
        "remark = Finding('tls.weak', 'info', 'smtp.starttls', 's', '', 'c', ('Look', 'Postfix: postconf x'))\n"
        "(found,) = explained(record, [remark], kinds())\n"
        "assert found.remedy == ('Look',), found.remedy\n"
        "assert entries.cache_info().currsize == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent.parent)


def test_a_run_that_went_well_never_reads_the_file() -> None:
    code = (
        "import sys\n"
        "from probe.judge import findings\n"
        "from probe.tasks.plan import plugins\n"
        "from probe.profile import load_mapping\n"
        "from probe.record import Record, StageRecord, Target\n"
        "tables = {'submission': {'host': 'm.test'}, 'message': {'sender': 'a@b.test', 'recipient': 'a@b.test'}}\n"
        "stages = (StageRecord('smtp.greeting', 'ok', facts={'lines': ['220 m.test']}),)\n"
        "record = Record('0' * 16, 'p', Target('m.test', 587, 'starttls'), '2026-11-24T00:00:00Z', 1.0, stages)\n"
        "assert findings(record, load_mapping(tables, plugins=plugins())) == ()\n"
        "assert 'probe.judge._replies' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent.parent)
