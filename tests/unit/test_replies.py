"""Every entry of the replies' file: what a server says → the entry; and what that makes of a finding."""

# ruff: noqa: E501 (a reply is easier to compare in one line)
import subprocess
import sys
from pathlib import Path

import pytest

from probe.facts import from_json
from probe.judge import findings, kinds
from probe.judge._refused_logon import finding_of
from probe.judge._replies import FINDING_OF, Said, entries, known
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target, Trouble
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
    "logon-in-use": ("pop3.login", REFUSED, None, 995, "-ERR unable to lock the spool: another session has it"),
    "logon-limit": ("smtp.auth", REFUSED, None, 587, "535 5.7.0 (#AUTH005) Too many bad auth attempts."),
    "logon-temporary": ("smtp.auth", REFUSED, None, 587, "535 5.7.8 Error: authentication failed: Connection lost to authentication server"),
    "logon-other-password": ("smtp.auth", REFUSED, None, 587, "535 Login Fail. Please enter your authorization code to login."),
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
    "exchange-reader-service-stopped": ("imap.connect", "connect.refused", None, None, "[Errno 111] Connection refused"),
    "fqdn-missing-in-one-zone": ("smtp.resolve", "dns.resolver-no-record", None, 587, "no address"),
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
}  # fmt: skip


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
    assert sorted(entry.id for entry in entries()) == sorted(ROWS)
    assert len(entries()) >= 60
    for entry in entries():
        assert "likely" in entry.cause, entry.id
        assert entry.check and entry.fix and entry.source.startswith("https://"), entry.id
        assert set(entry.findings) <= set(kinds()), entry.id


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
