"""Logons: refused, not possible now, withheld; and every exception from the credentials gate."""

from collections.abc import Iterator

from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

_LOOK = (
    "Look: the server's log for this user and time (Exchange: protocol log of the connector; Postfix/Dovecot: mail.log)"
)

_BASIC_AUTH = (
    "Exchange: Set-ReceiveConnector 'NAME\\Client Frontend NAME' "
    "-AuthMechanism Tls,Integrated,BasicAuth,BasicAuthRequireTLS"
)

FINDINGS = {
    "auth.refused": Kind(
        "the logon was refused",
        "The password is likely wrong or expired, the account locked, or the protocol switched off for this mailbox. "
        "Exchange also refuses the Administrator mailbox over POP3 and IMAP4.",
        (
            _LOOK,
            "Exchange: Get-CASMailbox USER | fl PopEnabled,ImapEnabled,SmtpClientAuthenticationDisabled; use a test mailbox",
            "Dovecot: doveadm auth test USER",
        ),
    ),
    "auth.temporary": Kind(
        "the logon is not possible at the moment",
        "The server cannot reach what checks passwords (a directory, a database); the password is not the matter.",
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
        "the server wants more time between two logons",
        "LOGIN-DELAY (RFC 2449): the probe runs more often than the server allows.",
        ("Probe less often, or read back over IMAP4",),
    ),
    "auth.mechanism-not-offered": Kind(
        "no mechanism to log on with",
        "After TLS the server offers no mechanism that the profile allows. Exchange's connector offers LOGIN only with "
        "BasicAuth in AuthMechanism.",
        (
            _BASIC_AUTH,
            "Postfix: postconf smtpd_sasl_auth_enable smtpd_sasl_type smtpd_sasl_path   Dovecot: doveconf auth_mechanisms",
            "Check account.mechanism in the profile",
        ),
    ),
    "auth.withheld": Kind(
        "the password was not sent",
        "No secret leaves before the certificate is verified against the profile's trust and the FQDN.",
        ("Mend the certificate, or pin it by tls.thumbprint in the profile",),
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
        ("Mend the certificate, or pin it by tls.thumbprint",),
    ),
    "auth.cleartext-before-tls": Kind(
        "the password can be sent in clear",
        "AUTH with LOGIN, PLAIN or a token mechanism is offered before TLS, so a client may send the password in clear. "
        "GSSAPI and NTLM before TLS are Exchange's healthy default.",
        (
            _BASIC_AUTH,
            "Postfix: postconf -e smtpd_tls_auth_only=yes",
        ),
    ),
}

_TROUBLES = {name: kind for name, kind in FINDINGS.items() if not name.startswith(("auth.sent", "auth.cleartext"))}
_CLEARTEXT = frozenset({"LOGIN", "PLAIN", "XOAUTH2", "OAUTHBEARER"})
_EXCEPTIONS = {"plaintext": "auth.sent-in-clear", "trust-any-certificate": "auth.sent-unverified"}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    yield from from_troubles(record, _TROUBLES)
    for stage in record.stages:
        exception = _EXCEPTIONS.get(str(stage.facts.get("secret_allowed_by")))
        if exception:
            kind = FINDINGS[exception]
            yield Finding(exception, "warning", stage.name, kind.summary, "", kind.cause, kind.remedy)
    offered = _CLEARTEXT & set(record.facts("smtp.ehlo").get("mechanisms", ()))
    if offered and record.target.security == "starttls":
        kind = FINDINGS["auth.cleartext-before-tls"]
        evidence = "AUTH " + " ".join(record.facts("smtp.ehlo")["mechanisms"])
        yield Finding("auth.cleartext-before-tls", "warning", "smtp.ehlo", kind.summary, evidence, kind.cause, kind.remedy)
