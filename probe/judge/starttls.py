"""STARTTLS, the handshake, and what it agreed on."""

import re
from collections.abc import Iterator
from functools import partial

from probe.facts import Secured
from probe.judge._finding import finding
from probe.judge._troubles import from_troubles
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind, Severity

FINDINGS = {
    "starttls.not-offered": Kind(
        "the server does not offer STARTTLS",
        "The server likely has no usable certificate for this name and hides STARTTLS, TLS is switched off there, or "
        "something on the way strips it.",
        (
            "Exchange: Get-ReceiveConnector 'NAME\\Client Frontend NAME' | fl AuthMechanism,TlsCertificateName,Fqdn; "
            "Get-ExchangeCertificate | fl Subject,Services,Thumbprint",
            "Exchange: Enable-ExchangeCertificate -Thumbprint THUMBPRINT -Services SMTP,POP,IMAP (look for event 12014)",
            "Postfix: postconf smtpd_tls_security_level smtpd_tls_chain_files",
            "Dovecot: doveconf ssl ssl_cert",
        ),
    ),
    "starttls.refused": Kind(
        "STARTTLS is offered, but refused",
        "The server likely cannot load its certificate or key.",
        (
            "Check: the server's log at this time",
            "Postfix: grep -i tls /var/log/mail.log (or journalctl -u 'postfix*' | grep -i tls)",
            "Exchange: event log, source MSExchangeFrontEndTransport, 12014-12018",
        ),
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
            "Windows Server: enable TLS 1.2 for Server under SCHANNEL\\Protocols",
            "Postfix: smtpd_tls_protocols",
            "Dovecot: ssl_min_protocol",
            "To see the rest of the conversation all the same: tls.minimum_version in the profile",
        ),
    ),
    "tls.weak": Kind(
        "weak TLS was agreed on",
        "The server prefers, or knows nothing but, what current standards no longer allow (RFC 9325). Clients that insist on more "
        "cannot connect, and recorded traffic may be read later.",
        (
            "Check: openssl s_client -connect NAME:PORT -starttls smtp | grep -e Protocol -e Cipher -e 'Temp Key'",
            "Windows Server: enable TLS 1.2 for Server under SCHANNEL\\Protocols; Disable-TlsCipherSuite for what has no ECDHE",
            "Postfix: smtpd_tls_mandatory_protocols = >=TLSv1.2, smtpd_tls_mandatory_ciphers = high, tls_preempt_cipherlist = yes; "
            "Dovecot: ssl_min_protocol = TLSv1.2, ssl_cipher_list",
        ),
    ),
    "certificate.changed": Kind(
        "the server showed two certificates",
        "Several servers likely answer behind one name, with different certificates.",
        ("Probe each: connect = [...] in the profile",),
    ),
}


_finding = partial(finding, FINDINGS)


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    yield from from_troubles(record, FINDINGS)
    for stage in record.stages:
        seen = stage.seen(Secured)
        if seen.version and seen.cipher and (found := _weakness(seen.version, seen.cipher, seen.minimum_version)):
            severity, what = found
            agreed = f"{seen.version} {seen.cipher}"
            yield _finding("tls.weak", severity, stage.name, f"{what}: {agreed}", agreed)


_RETIRED = ("SSLv3", "TLSv1", "TLSv1.1")
# OpenSSL's names of what is broken, of what gives no forward secrecy (the key exchange is the certificate's RSA key), and of what
# RFC 9325 section 4 advises against. The size of a finite-field group cannot be known here: Python does not show it.
_BROKEN = re.compile(r"RC4|DES|NULL|EXP|MD5|anon|ADH|AECDH")
_FORWARD = re.compile(r"(ECDHE|DHE)-|TLS_")
_MODERN = re.compile(r"GCM|CHACHA20|CCM|TLS_")


def _weakness(version: str, cipher: str, minimum: str | None) -> tuple[Severity, str] | None:
    if _BROKEN.search(cipher):
        return "critical", "the cipher is broken"
    if version in _RETIRED:
        # Whoever lowers tls.minimum_version wants to see the rest of the conversation, and knows.
        return "info" if minimum in _RETIRED else "warning", "the TLS version is retired (RFC 8996)"
    if not _FORWARD.match(cipher):
        return "warning", "the cipher has no forward secrecy: whoever gets the server's key reads what was recorded"
    if not _MODERN.search(cipher):
        return "info", "the cipher is of the old kind (CBC)"
    return None
