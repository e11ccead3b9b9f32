"""STARTTLS and the handshake."""

from collections.abc import Iterator

from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind

FINDINGS = {
    "starttls.not-offered": Kind(
        "the server does not offer STARTTLS",
        "The server likely has no usable certificate for this name (Exchange then logs event 12014 and hides STARTTLS), "
        "TLS is switched off there, or something on the way strips it.",
        (
            "Exchange: Get-ReceiveConnector 'NAME\\Client Frontend NAME' | fl AuthMechanism,TlsCertificateName,Fqdn; "
            "Get-ExchangeCertificate | fl Subject,Services,Thumbprint",
            "Exchange: Enable-ExchangeCertificate -Thumbprint THUMBPRINT -Services SMTP,POP,IMAP",
            "Postfix: postconf smtpd_tls_security_level smtpd_tls_chain_files   Dovecot: doveconf ssl ssl_cert",
        ),
    ),
    "starttls.refused": Kind(
        "STARTTLS is offered, but refused",
        "The server likely cannot load its certificate or key.",
        ("Postfix: grep -i tls /var/log/mail.log", "Exchange: event log, source MSExchangeFrontEndTransport, 12014-12018"),
    ),
    "starttls.injected-reply": Kind(
        "octets came in clear behind the STARTTLS reply",
        "Somebody on the way may be injecting replies (CVE-2011-0411 and its kin), or the server is broken.",
        ("Compare from another network; if it stays, update the server",),
    ),
    "tls.handshake-failed": Kind(
        "the TLS handshake failed",
        "Server and client likely have no TLS version or cipher in common, or the port does not speak TLS this way "
        "(implicit TLS on 465/993/995, STARTTLS on 587/143/110).",
        (
            "Check: probe run -v --light; openssl s_client -connect NAME:PORT -starttls smtp (or imap, pop3; without it for TLS)",
            "Check submission.security and tls.minimum_version in the profile",
        ),
    ),
    "tls.version": Kind(
        "server and profile have no TLS version in common",
        "The server likely speaks only TLS 1.0 or 1.1, which RFC 8996 retired.",
        (
            "Windows: enable TLS 1.2 for Server under SCHANNEL\\Protocols",
            "Postfix: smtpd_tls_protocols   Dovecot: ssl_min_protocol",
            "To see the rest of the conversation all the same: tls.minimum_version in the profile",
        ),
    ),
    "certificate.changed": Kind(
        "the server showed two certificates",
        "Several servers likely answer behind one name, with different certificates.",
        ("Probe each: connect = [...] in the profile",),
    ),
}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    return from_troubles(record, FINDINGS)
