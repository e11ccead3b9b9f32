"""Logons: refused, not possible now, withheld; and every exception from the credentials gate."""

from collections.abc import Iterator, Mapping
from functools import partial

from probe.facts import Connected, Ehlo, LoggedOn, greetings, trusts_this_machine
from probe.judge._finding import finding
from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record, StageRecord
from probe.report import Finding, Kind, Severity

_LOOK = (
    "Check: the server's log for this user and time (Exchange: protocol log of the connector; "
    "Postfix: /var/log/mail.log, or journalctl -u 'postfix*'; Dovecot: /var/log/mail.log, or journalctl -u dovecot)"
)

_BASIC_AUTH = (
    "Exchange: Set-ReceiveConnector 'NAME\\Client Frontend NAME' -AuthMechanism Tls,Integrated,BasicAuth,BasicAuthRequireTLS"
)

FINDINGS = {
    "auth.refused": Kind(
        "the logon was refused",
        "The password is likely wrong or expired, the account locked, or the protocol switched off for this mailbox.",
        (
            _LOOK,
            "Exchange: Get-CASMailbox USER | fl PopEnabled,ImapEnabled; use a test mailbox: POP3 and IMAP4 refuse Administrator's",
            "Exchange Online: Get-CASMailbox USER | fl PopEnabled,ImapEnabled,SmtpClientAuthenticationDisabled",
            "Dovecot: doveadm auth test USER",
        ),
    ),
    "auth.not-allowed": Kind(
        "the server does not allow this account to log on in this way",
        "The protocol is likely switched off for this mailbox or tenant, or a policy wants another kind of password (an app "
        "password, a token) or another client. The password itself is not the matter, so later runs go on trying.",
        (
            _LOOK,
            "Exchange, Exchange Online: Get-CASMailbox USER | fl PopEnabled,ImapEnabled,SmtpClientAuthenticationDisabled",
            "Google, Yahoo, Apple: an app password; QQ, 163: an authorisation code; Exchange Online: account.token (OAuth)",
        ),
    ),
    "auth.mechanism-failed": Kind(
        "the server offers this mechanism and does not carry it out",
        "The server likely keeps this password only hashed, which CRAM-MD5, DIGEST-MD5, SCRAM and NTLM cannot use, or its support "
        "for the mechanism is broken. The password is not the matter, so later runs go on trying.",
        (
            'Set account.mechanism = "PLAIN" (or "LOGIN") in the profile, as mail programs do over TLS',
            "Or take the mechanism out of what the server offers (Dovecot: auth_mechanisms = plain login; Cyrus: sasl_mech_list)",
        ),
    ),
    "auth.temporary": Kind(
        "the logon is not possible at the moment",
        "The server cannot reach what checks passwords (a directory, a database), or is busy; the password is not the matter.",
        (_LOOK,),
    ),
    "auth.server-failure": Kind("the server has a lasting fault of its own", "See the evidence.", (_LOOK,)),
    "auth.mailbox-in-use": Kind(
        "the maildrop is locked by another session",
        "Another POP3 client, or another probe, has this maildrop open.",
        ("Give the probe a mailbox of its own", "Dovecot: doveadm who; pop3_lock_session"),
    ),
    "lease.held": Kind(
        "another run of this machine has the maildrop open",
        "Two probes use one mailbox, or one takes longer than the interval between two.",
        ("Give each probe a mailbox of its own, or probe less often",),
    ),
    "auth.login-delay": Kind(
        "the server allows no further logon for now",
        "Too many logons, connections or wrong passwords in too short a time, by the probe (LOGIN-DELAY, RFC 2449) or by others.",
        ("Probe less often, or read back over IMAP4",),
    ),
    "auth.mechanism-not-offered": Kind(
        "no mechanism to log on with",
        "After TLS the server offers no mechanism that the profile allows. The server likely has password "
        "logon switched off for this port.",
        (
            _BASIC_AUTH,
            "Postfix: postconf smtpd_sasl_auth_enable smtpd_sasl_type smtpd_sasl_path",
            "Dovecot: doveconf auth_mechanisms",
            "Check account.mechanism in the profile",
        ),
    ),
    "auth.suspended": Kind(
        "the logon was not tried: this secret was refused before",
        "A refused password or token is left alone until it changes or the back-off passes, so that no account is locked: "
        "30 minutes after the first refusal (a minute, once, where it was accepted before), doubled with each further one, "
        "12 hours at most.",
        ("With a corrected password just run again; to try the same one, run the same command with --try-again",),
    ),
    "auth.backoff-not-stored": Kind(
        "the refused logon cannot be remembered",
        "The state directory cannot be written: each later run tries the refused password again, and whatever counts failed "
        "logons will likely lock the account.",
        (
            "Check: the state directory's rights and disk (SUBMISSION_PROBE_STATE, else XDG_STATE_HOME or %LOCALAPPDATA%)",
            "Fix: make it writable for the user that probes, or set SUBMISSION_PROBE_STATE to a folder that is",
        ),
    ),
    "auth.exchange-failed": Kind(
        "the authentication exchange broke off",
        "The server's challenge makes no sense for this mechanism; the password is not the matter.",
        (_LOOK, "Try another mechanism: account.mechanism in the profile"),
    ),
    "auth.client-failed": Kind(
        "this machine could not make its part of the logon",
        "The server had no part in it. On Windows without a password in the profile: a policy forbids outgoing NTLM, or the probe "
        "runs as somebody who has no credentials for the network (a local account, a task without a stored password).",
        (
            "Windows: secpol.msc, Local Policies, Security Options: Network security: Restrict NTLM: Outgoing NTLM traffic",
            "Windows: run the task as a domain account, with its password stored",
            "Set account.password: then the probe's own NTLM answers; or another account.mechanism",
        ),
    ),
    "auth.server-unproven": Kind(
        "the server did not prove that it knows the password",
        "SCRAM and DIGEST-MD5 end with the server's own proof, and it is wrong or missing: likely something between us and the "
        "real server, or a server with a fault.",
        ("Treat the password as exposed to whoever answers there, and find out who does", _LOOK),
    ),
    "auth.no-ticket": Kind(
        "there is no Kerberos ticket for this server",
        "No ticket in the credential cache, or an expired one, or the KDC knows no such service principal.",
        (
            "Linux: klist; kinit USER (or for cron: k5start, or a keytab by KRB5_CLIENT_KTNAME)",
            "Windows: klist; run as a domain account, a task with its password stored (S4U tasks have no ticket)",
            "Exchange: setspn -Q SMTP/FQDN (and IMAP/, POP/) must name the alternate service account",
            "Dovecot: auth_krb5_keytab must hold smtp/FQDN, imap/FQDN and pop/FQDN",
        ),
    ),
    "auth.library-missing": Kind(
        "a library for this mechanism is not installed",
        "GSSAPI needs Kerberos: on Windows a part of the system (SSPI), elsewhere MIT Kerberos and its Python bindings, an extra.",
        (
            "Linux: pip install 'submission-probe[kerberos]' (on Debian first: apt-get install libkrb5-dev gcc)",
            "Windows: pip install --upgrade pyspnego sspilib",
        ),
    ),
    "auth.token-expired": Kind(
        "the access token has expired",
        "It was not sent. Access tokens live for about an hour: the token comes from a place where nobody renews it.",
        (
            "Renew the token, or let the probe fetch one: [account.token.oauth] in the profile",
            "If it should still be valid, look at this machine's clock",
        ),
    ),
    "auth.token-wrong-audience": Kind(
        "the access token is for another audience",
        "A token for Microsoft Graph (or any other resource) opens no mailbox: IMAP4, POP3 and SMTP want one for Exchange Online.",
        (
            "Client credentials: scope https://outlook.office365.com/.default; "
            "users: https://outlook.office.com/IMAP.AccessAsUser.All and its kin",
            "Other servers: compare expect.token_audience in the profile with the token's aud, in the stage's facts",
        ),
    ),
    "auth.token-without-scope": Kind(
        "the access token does not allow this protocol",
        "The application was likely not given the permission, or nobody consented to it.",
        (
            "Microsoft 365, client credentials: application permissions SMTP.SendAsApp, IMAP.AccessAsApp, POP.AccessAsApp of "
            "'Office 365 Exchange Online', with admin consent",
            "Then in Exchange Online PowerShell: New-ServicePrincipal -AppId … -ObjectId …; "
            "Add-MailboxPermission -Identity USER -User … -AccessRights FullAccess",
        ),
    ),
    "tls.client-certificate-refused": Kind(
        "the server refuses our client certificate, or wants one",
        "The server's alert names a certificate, and the one it has to judge is ours: none was sent, or it is expired, or its "
        "issuer is not trusted there.",
        (
            "Set tls.client_certificate (and client_key) in the profile",
            "Dovecot: ssl_ca must hold the issuer; auth_ssl_require_client_cert",
            "Postfix: smtpd_tls_CAfile, smtpd_tls_req_ccert",
        ),
    ),
    "auth.withheld": Kind(
        "the password was not sent",
        "No secret leaves before the certificate is verified against the profile's trust and the FQDN.",
        ("Fix the certificate, or pin it by tls.thumbprint in the profile",),
    ),
    "auth.no-credentials": Kind(
        "the profile has no credentials", "A readback needs an account.", ("Set account.username and account.password",)
    ),
    "auth.sent-in-clear": Kind(
        "the password went over a connection without TLS",
        'security = "plaintext" in the profile allows it.',
        ('Set security = "starttls" or "tls"',),
    ),
    "auth.sent-unverified": Kind(
        "the password went to a server whose certificate is not verified",
        "trust_any_certificate in the profile (or --trust-any-certificate) allows it.",
        ("Fix the certificate, or pin it by tls.thumbprint",),
    ),
    "auth.cleartext-before-tls": Kind(
        "the password can be sent in clear",
        "AUTH with LOGIN, PLAIN or a token mechanism is offered before TLS, so a client may send the password in clear. "
        "GSSAPI and NTLM before TLS do not: they are a healthy default.",
        (
            _BASIC_AUTH,
            "Postfix: postconf -e smtpd_tls_auth_only=yes",
        ),
    ),
}
_finding = partial(finding, FINDINGS)


def _items(claim: object) -> list[str]:
    return [str(item) for item in claim] if isinstance(claim, (list, tuple)) else []


def _of_token(stage: StageRecord, profile: Profile) -> Iterator[Finding]:
    """What the token says of itself against what the profile, or Microsoft, expects; worse when the logon failed too."""
    token = stage.seen(LoggedOn).token
    if not isinstance(token, Mapping) or token.get("opaque", True):
        return
    severity: Severity = "critical" if stage.status == "failed" else "warning"
    audience = _items(token.get("audience"))
    microsoft = str(token.get("issuer", "")).startswith(_MICROSOFT)
    wanted = profile.expect.token_audience or (_EXCHANGE_ONLINE if microsoft else ())
    if wanted and not any(item.startswith(tuple(wanted)) for item in audience):
        evidence = f"aud: {' '.join(audience) or 'none'}; wanted: {' or '.join(wanted)}"
        yield _finding("auth.token-wrong-audience", severity, stage.name, "", evidence)
    allowed = _items(token.get("scopes")) + _items(token.get("roles"))
    prefix = _SCOPES.get(stage.name.partition(".")[0], "")
    if microsoft and not any(item.rpartition("/")[2].startswith(prefix) for item in allowed):
        yield _finding("auth.token-without-scope", severity, stage.name, "", f"scp and roles: {' '.join(allowed) or 'none'}")


_TROUBLES = {name: kind for name, kind in FINDINGS.items() if not name.startswith(("auth.sent", "auth.cleartext", "auth.token-w"))}
_CLEARTEXT = frozenset({"LOGIN", "PLAIN", "XOAUTH2", "OAUTHBEARER"})
_EXCEPTIONS = {"plaintext": "auth.sent-in-clear", "trust-any-certificate": "auth.sent-unverified"}


# Microsoft's resource for mail, by name and by application id (national clouds have hosts of their own, of the same form).
_EXCHANGE_ONLINE = (
    "https://outlook.office",
    "https://ps.outlook.com",
    "00000002-0000-0ff1-ce00-000000000000",
    "https://partner.outlook.cn",
)
_MICROSOFT = ("https://sts.windows.net/", "https://login.microsoftonline.", "https://sts.chinacloudapi.cn/")
_SCOPES = {"smtp": "SMTP.", "imap": "IMAP.", "pop3": "POP."}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    yield from from_troubles(record, _TROUBLES)
    for stage in record.stages:
        if stage.seen(LoggedOn).server_proven is False and stage.status == "ok":
            yield _finding("auth.server-unproven", "critical", stage.name, "", "success without the server's proof")
        yield from _of_token(stage, profile)
    for stage in record.stages:
        if stage.seen(LoggedOn).refusal_stored is False:
            yield _finding("auth.backoff-not-stored", "warning", stage.name, "", "")
        exception = _EXCEPTIONS.get(str(stage.seen(LoggedOn).secret_allowed_by))
        if exception:
            kind = FINDINGS[exception]
            yield Finding(exception, "warning", stage.name, kind.summary, "", kind.cause, kind.remedy)
    offered = _CLEARTEXT & set(record.seen("smtp.ehlo", Ehlo).mechanisms)
    if offered and record.target.security == "starttls" and not _is_trusted_peer(record):
        kind = FINDINGS["auth.cleartext-before-tls"]
        evidence = "AUTH " + " ".join(record.seen("smtp.ehlo", Ehlo).mechanisms)
        yield Finding("auth.cleartext-before-tls", "warning", "smtp.ehlo", kind.summary, evidence, kind.cause, kind.remedy)


def _is_trusted_peer(record: Record) -> bool:
    connected = record.seen("smtp.connect", Connected)
    return trusts_this_machine(connected.local, connected.remote, " ".join(greetings(record.seen, "smtp")))
