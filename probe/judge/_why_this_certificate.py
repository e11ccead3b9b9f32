"""Why a server shows this certificate and no other: the rule of its product that most likely picked it, and what changes it.

Exchange: "Selection of inbound STARTTLS certificates" and "Set-ReceiveConnector -TlsCertificateName" (Microsoft). SMTP takes what
TlsCertificateName names (of several with that issuer and subject the newest); without it, of those enabled for SMTP that have the
connector's FQDN, the newest of a CA, else the newest self-signed. POP3 and IMAP4 take X509CertificateName of their settings.
Postfix: TLS_README; Dovecot: its page on SSL configuration.
"""

from collections.abc import Callable

from probe.certificate.host_name import name_matches
from probe.certificate.identifier import assignment
from probe.facts import Certified, Ehlo
from probe.facts.parts import Link
from probe.plain import dataclass
from probe.record import Record

# What another choice of certificate would cure.
CHOSEN = (
    "certificate.name-mismatch", "certificate.identifier-differs", "certificate.thumbprint-differs", "certificate.self-signed",
    "certificate.expired",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the rules look at: the certificate served, the FQDN that the connector gives itself, a better one on another port."""

    leg: str
    host: str
    served: Certified
    own_name: str
    better: tuple[str, Certified] | None

    @property
    def leaf(self) -> Link:
        return self.served.chain[0]


def why(record: Record, stage: str, host: str) -> tuple[str, tuple[str, ...]] | None:
    """(cause, remedy) for a wrong certificate at this stage; None where the product is not known, or there is no certificate."""
    from probe.judge._families import family

    leg, served = stage.partition(".")[0], record.seen(stage, Certified)
    rule = _RULES.get((family(record, leg) or "", leg == "smtp"))
    if rule is None or not served.chain:
        return None
    own = record.seen("smtp.ehlo", Ehlo).name or record.seen("smtp.ehlo_tls", Ehlo).name or ""
    return rule(_Seen(leg, host, served, own, better(record, stage, host)))


def better(record: Record, stage: str, host: str) -> tuple[str, Certified] | None:
    """A certificate that another port of this run shows, and that would do here: (its leg, its facts)."""
    for other in record.stages:
        seen = other.seen(Certified)
        if other.name != stage and seen.chain and seen.trusted and name_matches(seen.chain[0], host):
            return other.name.partition(".")[0], seen
    return None


def _exchange_smtp(seen: _Seen) -> tuple[str, tuple[str, ...]]:
    own = seen.own_name or "its name"
    if seen.leaf.get("self_signed"):
        cause = (
            "Exchange likely fell back on its own certificate: the connector has no TlsCertificateName, and no certificate of a CA "
            f"that is enabled for SMTP has the connector's Fqdn ({own})."
        )
    elif seen.own_name and name_matches(seen.leaf, seen.own_name):
        cause = (
            f"Exchange likely took it for the connector's Fqdn, {own}, which it contains: without a TlsCertificateName it is the "
            "newest of a CA among those enabled for SMTP that have that name. Where TlsCertificateName is set, the newest with "
            "that issuer and subject is taken."
        )
    else:
        cause = (
            f"The connector's TlsCertificateName likely names it: it does not contain the connector's Fqdn ({own}), for which "
            "alone Exchange would take it by itself."
        )
    check = (
        "Check: Get-ReceiveConnector 'SERVER\\Client Frontend SERVER' | fl Fqdn,TlsCertificateName; "
        "Get-ExchangeCertificate | fl Thumbprint,Services,Issuer,Subject,NotBefore,NotAfter,CertificateDomains"
    )
    return cause, (check, *_exchange_fix(seen, "SMTP"))


def _exchange_fix(seen: _Seen, service: str) -> tuple[str, ...]:
    if seen.better is None:
        return (
            f"Fix: Enable-ExchangeCertificate -Thumbprint THUMBPRINT -Services {service}, with one that has {seen.host}; then "
            f"Set-ReceiveConnector 'SERVER\\Client Frontend SERVER' -Fqdn {seen.host} -TlsCertificateName '<I>issuer<S>subject'",
        )
    leg, better = seen.better
    return (
        f"Fix: what {leg} shows would do: Enable-ExchangeCertificate -Thumbprint {better.thumbprint} -Services {service}",
        f"Then: {assignment(better.certificate_name or '')}",
    )


def _exchange_reader(seen: _Seen) -> tuple[str, tuple[str, ...]]:
    kind = "Imap" if seen.leg == "imap" else "Pop"
    services = "MSExchangeImap4,MSExchangeIMAP4BE" if seen.leg == "imap" else "MSExchangePop3,MSExchangePOP3BE"
    cause = (
        f"{kind.upper()} takes the certificate that X509CertificateName of its settings names, by FQDN. Likely it names another "
        f"host, no certificate enabled for {kind.upper()} has that name, or the services were not restarted since it was changed."
    )
    enable = f"-Thumbprint {seen.better[1].thumbprint if seen.better else 'THUMBPRINT'} -Services {kind.upper()}"
    return cause, (
        f"Check: Get-{kind}Settings | fl X509CertificateName; Get-ExchangeCertificate | fl Thumbprint,Services,Subject,NotAfter",
        f"Fix: Enable-ExchangeCertificate {enable}; Set-{kind}Settings -X509CertificateName {seen.host}",
        f"Then: Restart-Service {services}",
    )


def _postfix(seen: _Seen) -> tuple[str, tuple[str, ...]]:
    if seen.better and (_is_newer(seen.better[1], seen.served)):
        cause = f"Postfix likely was not reloaded since the renewal: {seen.better[0]} already shows the newer certificate."
    else:
        cause = (
            f"Postfix shows what smtpd_tls_chain_files (or smtpd_tls_cert_file) names to every client whose name "
            f"tls_server_sni_maps does not have; likely neither leads to a certificate for {seen.host}."
        )
    return cause, (
        "Check: postconf -n smtpd_tls_chain_files smtpd_tls_cert_file tls_server_sni_maps; "
        "openssl x509 -noout -subject -enddate -in FILE",
        "Fix: name the right file there (an SNI map: postmap -F hash:/etc/postfix/sni), then postfix reload",
    )


def _dovecot(seen: _Seen) -> tuple[str, tuple[str, ...]]:
    if seen.better and (_is_newer(seen.better[1], seen.served)):
        cause = f"Dovecot likely was not reloaded since the renewal: {seen.better[0]} already shows the newer certificate."
    else:
        cause = (
            "Dovecot shows ssl_cert of the block that fits best: local_name (the name that the client asks for), local (the "
            f"address), protocol, else the global one; likely none of them has a certificate for {seen.host}."
        )
    return cause, (
        "Check: doveconf -n | grep -e ssl_cert -e local_name; openssl x509 -noout -subject -enddate -in FILE",
        f"Fix: local_name {seen.host} {{ ssl_cert = <FILE, ssl_key = <FILE }}, or the global ssl_cert; then doveadm reload",
    )


def _is_newer(one: Certified, other: Certified) -> bool:
    return (one.not_before or "") > (other.not_before or "")


_RULES: dict[tuple[str, bool], Callable[[_Seen], tuple[str, tuple[str, ...]]]] = {
    ("exchange", True): _exchange_smtp,
    ("exchange", False): _exchange_reader,
    ("postfix", True): _postfix,
    ("dovecot", False): _dovecot,
}
