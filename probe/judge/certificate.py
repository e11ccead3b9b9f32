"""The certificate, in our own reading beside OpenSSL's code: dates, names, trust, and what the profile expects.

OpenSSL stops at its first problem; here every problem is a finding of its own. Sources: RFC 5280, RFC 9525, and Microsoft's
page on authenticated SMTP (the certificate must contain the FQDN, be trusted and be assigned).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from probe.certificate.identifier import assignment, same_identifier
from probe.facts import Certified
from probe.facts.parts import Link
from probe.judge._chain import spare_and_expired, unrelated, used
from probe.judge._finding import finding
from probe.judge._openssl import NOT_TRUSTED, UNTRUSTED, explains, likely_cause, of_the_issuer, refusal, unexplained
from probe.judge._why_this_certificate import CHOSEN, better, why
from probe.plain import dataclass
from probe.profile import Profile, Tls
from probe.record import Record
from probe.report import Finding, Kind, Severity

_OBTAIN = "Postfix, Dovecot: obtain a certificate that has this name as subjectAltName"
_RENEW = (
    "Fix: renew the certificate, put it with its intermediates where the server reads it, and reload every service that shows it",
    "Exchange: Get-ExchangeCertificate | fl Subject,NotAfter,Services,Thumbprint; New-ExchangeCertificate; "
    "Enable-ExchangeCertificate -Thumbprint THUMBPRINT -Services SMTP,POP,IMAP",
    "Postfix: smtpd_tls_chain_files; then postfix reload   Dovecot: ssl_cert; then doveadm reload",
)
_CHAIN = (
    "Check: openssl s_client -connect NAME:PORT -starttls smtp -showcerts (Windows: certutil -verify -urlfetch FILE.cer)",
    "Exchange: import the CA's certificates into the computer's Intermediate/Root store, then restart the services",
    "Postfix, Dovecot: put the leaf first and the intermediates behind it into the chain file",
)

FINDINGS = {
    "certificate.expired": Kind("the certificate has expired", "It was likely not renewed, or the new one is not served.", _RENEW),
    "certificate.intermediate-expired": Kind(
        "an intermediate certificate has expired",
        "The CA renewed its intermediate, and the server still sends the old one.",
        _CHAIN,
    ),
    "certificate.not-yet-valid": Kind(
        "the certificate is not yet valid", "It was issued for later, or a clock (here or where it was issued) is wrong.", _RENEW
    ),
    "certificate.expires-soon": Kind("the certificate expires soon", "Renewal is due.", _RENEW),
    "certificate.name-mismatch": Kind(
        "the certificate is not valid for the name users type",
        "The FQDN is likely missing among the certificate's names, or another certificate is assigned to this service.",
        (
            "Exchange: Set-ReceiveConnector 'NAME\\Client Frontend NAME' -Fqdn NAME -TlsCertificateName '<I>issuer<S>subject'",
            "Exchange: Set-PopSettings -X509CertificateName NAME; Restart-Service MSExchangePOP3,MSExchangePOP3BE",
            "Exchange: Set-ImapSettings -X509CertificateName NAME; Restart-Service MSExchangeIMAP4,MSExchangeIMAP4BE",
            _OBTAIN,
        ),
    ),
    "certificate.no-subject-alternative-name": Kind(
        "the certificate has no subjectAltName",
        "Only the subject's CN names the host; clients no longer look there (RFC 9525).",
        _RENEW,
    ),
    "certificate.self-signed": Kind(
        "the certificate is self-signed",
        "A default certificate that the server made for itself at its installation, or one made by hand: clients do not trust it.",
        ("Assign a certificate of a CA that clients trust, or pin this one by tls.thumbprint", *_RENEW),
    ),
    "certificate.unknown-issuer": Kind(
        "the certificate's issuer is not trusted here",
        "The CA is likely private and its root is not in the trust that was used (tls.ca_file, or the system's store).",
        (
            "Set tls.ca_file to the CA's root certificate, if clients trust it",
            "Windows fetches public roots only when a program of its own meets them: open a page with a certificate of that CA "
            "once (Invoke-WebRequest https://NAME), or certutil -verify -urlfetch FILE.cer",
            *_CHAIN,
        ),
    ),
    "certificate.missing-intermediate": Kind(
        "the server likely does not send its intermediate certificate",
        "Only the server's own certificate is sent. Where its issuer is an intermediate CA, clients cannot build the chain.",
        _CHAIN,
    ),
    "certificate.not-trusted": Kind("OpenSSL does not accept the certificate", "See OpenSSL's words in the evidence.", _CHAIN),
    "certificate.weak-key": Kind("the certificate's key is weak", "Less than 2048 bits RSA or 224 bits EC.", _RENEW),
    "certificate.weak-signature": Kind("a certificate is signed with a broken hash", "MD5 or SHA-1.", _RENEW),
    "certificate.wrong-usage": Kind(
        "a certificate is not meant for what it is used for",
        "Its key usage, extended key usage or basic constraints forbid it: a client's certificate on a server, a CA that is none.",
        _RENEW,
    ),
    "certificate.chain-order": Kind(
        "the chain is out of order", "A certificate is not followed by the one that issued it (RFC 5246 requires it).", _CHAIN
    ),
    "certificate.junk-in-chain": Kind(
        "the server sends certificates that belong to no chain of its own",
        "Likely left in the file after a renewal or a change of CA; some clients stumble over them.",
        _CHAIN,
    ),
    "certificate.malformed": Kind(
        "a part of a certificate cannot be read",
        "The CA's software likely encoded an extension wrongly: some clients ignore it, others refuse the whole certificate.",
        ("Obtain the certificate anew, and report it to the CA", *_RENEW),
    ),
    "certificate.thumbprint-differs": Kind(
        "another certificate is served than the profile expects",
        "It was likely renewed, and the profile was not changed, or the change has not reached this service.",
        ("Restart the service that serves the old one", "Exchange: Get-ExchangeCertificate | fl Thumbprint,Services", *_RENEW),
    ),
    "certificate.identifier-differs": Kind(
        "issuer or subject is not what the profile expects",
        "Another certificate is assigned. A renewed certificate with equal issuer and subject has the same string, so only "
        "the thumbprint proves which one is served.",
        ("Exchange: Set-ReceiveConnector -TlsCertificateName with the value the report shows",),
    ),
}
_finding = partial(finding, FINDINGS)

_SERVER_AUTH = ("1.3.6.1.5.5.7.3.1", "2.5.29.37.0")
_WEAK_BITS = {"RSA": 2048, "DSA": 2048, "EC": 224}


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    """Every problem of every leg's certificate."""
    for stage in record.stages:
        seen = stage.seen(Certified)
        if seen.chain or seen.openssl_code:
            tls = profile.tls_of(stage.name)
            for problem in _problems(seen, tls):
                eased = _eased(problem.severity, seen, problem.name)
                found = _finding(problem.name, eased, stage.name, problem.summary, problem.evidence)
                found = replace(found, cause=problem.cause or found.cause)
                if problem.name in CHOSEN:
                    found = _with_rule(found, record, profile, seen)
                if problem.name == NOT_TRUSTED:
                    found = replace(found, cause=likely_cause(seen.openssl_code) or found.cause)
                yield found


def _with_rule(found: Finding, record: Record, profile: Profile, seen: Certified) -> Finding:
    """With the rule that most likely picked this certificate, where the product is known, and what changes it."""
    reader = profile.readers.get(found.stage.partition(".")[0])
    host = profile.host_for(reader) if reader else profile.submission.host
    ruled = why(record, found.stage, host)
    if ruled:
        found = replace(found, cause=f"{found.cause} {ruled[0]}", remedy=ruled[1])
    elif found.id == "certificate.name-mismatch" and (there := better(record, found.stage, host)):
        fix = f"Fix: use here too the certificate that {there[0]} shows (SHA-1 {there[1].thumbprint}): it is valid for {host}"
        found = replace(found, remedy=(fix, *(step for step in found.remedy if step != _OBTAIN)))
    if found.id in _ASSIGNED:
        found = replace(
            found, remedy=(*found.remedy, f"Exchange: to assign what is served now: {assignment(seen.certificate_name or '')}")
        )
    return found


# What an assignment of the certificate that is served may cure: the profile may be what is wrong.
_ASSIGNED = ("certificate.name-mismatch", "certificate.identifier-differs", "certificate.thumbprint-differs")


def _eased(severity: Severity, facts: Certified, name: str) -> Severity:
    """What the profile accepts on purpose is still reported. A pin replaces trust in the issuer and nothing else: users' clients
    do not know of it, and fail on a date or a name. With trust_any_certificate a broken certificate is a warning."""
    if severity != "critical" or name in ("certificate.thumbprint-differs", "certificate.identifier-differs"):
        return severity
    if facts.accepted_by == "thumbprint":
        of_the_issuer_only = name in _OF_THE_ISSUER or (name == NOT_TRUSTED and of_the_issuer(facts.openssl_code))
        return "info" if of_the_issuer_only else severity
    return "warning" if facts.accepted_by == "trust-any-certificate" else severity


_OF_THE_ISSUER = ("certificate.unknown-issuer", "certificate.self-signed")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a certificate, before the profile's exceptions ease it."""

    name: str
    severity: Severity
    summary: str
    evidence: str
    # Where this run showed more than its kind says.
    cause: str = ""


def _problems(facts: Certified, tls: Tls) -> Iterator[Problem]:
    chain = facts.chain
    if chain:
        read = [*_dates(facts, chain, tls), *_names(facts, chain[0]), *_trust(facts, chain), *_strength(facts)]
        yield from _with_refusal(facts, read)
        yield from _unread(facts)
        yield from _expected(facts, tls)
    else:
        yield from _with_refusal(facts, [])


def _with_refusal(facts: Certified, problems: Sequence[Problem]) -> Iterator[Problem]:
    """OpenSSL's refusal is never left out: it stands in the problem that explains it, else in one of its own."""
    code, words = facts.openssl_code, refusal(facts)
    if not code:
        yield from problems
        return
    said = next((problem for problem in problems if problem.severity == "critical" and explains(problem.name, code)), None)
    for problem in problems:
        missing = problem is said and words not in problem.evidence
        yield replace(problem, evidence=f"{problem.evidence}; {words}") if missing else problem
    if said is None:
        name, summary = unexplained(facts)
        yield Problem(name, "critical", summary, words)


def _dates(facts: Certified, chain: Sequence[Link], tls: Tls) -> Iterator[Problem]:
    now = _instant(facts.checked_at or "")
    for index in used(facts):
        entry = chain[index]
        if "not_after" not in entry:
            continue
        who = "the certificate" if index == 0 else f"the CA certificate {entry['subject']}"
        left = (_instant(entry["not_after"]) - now).total_seconds()
        if left < 0:
            name = "certificate.expired" if index == 0 else "certificate.intermediate-expired"
            yield Problem(name, "critical", f"{who} expired on {entry['not_after']}", entry["not_after"])
        elif _instant(entry["not_before"]) > now:
            yield Problem(
                "certificate.not-yet-valid", "critical", f"{who} is valid only from {entry['not_before']}", entry["not_before"]
            )
        elif left < tls.expires_warning.of(lifetime := _lifetime(entry)):
            severity: Severity = "critical" if left < tls.expires_critical.of(lifetime) else "warning"
            text = f"{who} expires in {left / 86400:.1f} days, on {entry['not_after']}"
            yield Problem("certificate.expires-soon", severity, text, entry["not_after"])


def _lifetime(entry: Link) -> float:
    return (_instant(entry["not_after"]) - _instant(entry["not_before"])).total_seconds()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _names(facts: Certified, leaf: Link) -> Iterator[Problem]:
    if facts.name_matches:
        return
    names = ", ".join(facts.subject_names) or "none"
    host = facts.name_checked
    if not leaf.get("has_san") and "error" not in leaf:
        yield Problem(
            "certificate.no-subject-alternative-name", "critical", "the certificate has no subjectAltName", leaf["subject"]
        )
    reasons = "; ".join(facts.name_reasons) or names
    yield Problem("certificate.name-mismatch", "critical", f"the certificate is not valid for {host}; its names: {names}", reasons)


def _trust(facts: Certified, chain: Sequence[Link]) -> Iterator[Problem]:
    """Why there is no path to a trusted root. OpenSSL's codes do not distinguish a root that nobody trusts from an
    intermediate that was not sent (20 for both): the chain itself has to."""
    leaf = chain[0]
    if facts.openssl_code not in UNTRUSTED:
        return
    evidence = refusal(facts)
    if leaf.get("self_signed"):
        yield Problem("certificate.self-signed", "critical", "the certificate is self-signed and not trusted here", evidence)
        return
    top = chain[used(facts)[-1]]
    alone = top is leaf
    if alone and leaf.get("issuer_urls") and not _of_a_company(leaf):
        # The leaf alone, and it says where its issuer's certificate can be had: a private root says no such thing.
        text = f"the server sends its own certificate without the intermediate that signed it ({top.get('issuer', '')})"
        yield Problem("certificate.missing-intermediate", "critical", text, f"{evidence}; {leaf['issuer_urls'][0]}")
        return
    yield Problem("certificate.unknown-issuer", "critical", *_unknown_issuer(facts, top, evidence))
    if alone:
        # Nothing in the certificate distinguishes a private root from an intermediate: say both, this one with less weight.
        text = f"the server sends only its own certificate, not its issuer's ({top.get('issuer', '')})"
        yield Problem("certificate.missing-intermediate", "warning", text, evidence)


def _unknown_issuer(facts: Certified, top: Link, evidence: str) -> tuple[str, str, str]:
    """(summary, evidence, cause) for a chain that ends in nobody who is trusted."""
    issuer, where = top.get("issuer", ""), facts.trust_store or "the trust that was used"
    if facts.roots_named_alike:
        cause = "A root of that name is trusted, but it did not sign: the CA likely has a new key. Add its new root certificate."
        return f"{where} has a root named {issuer}, with another key", f"{evidence}; {facts.roots_named_alike[0]}", cause
    if top.get("self_signed"):
        cause = f"The server sends its root itself (SHA-256 {top['sha256']}), likely a private CA's. Trust it where clients do."
        return f"{where} lacks the root that the server sends: {top['subject']}", evidence, cause
    if _of_a_company(top):
        cause = (
            "The certificate is likely from a company's own CA (AD CS: its certificate lies in Active Directory). If that CA is "
            "the root, tls.ca_file lacks it (certutil -ca.cert FILE on the CA); if not, the server fails to send it."
        )
        return f"the issuer is not trusted here: {issuer}", evidence, cause
    return f"the issuer is not trusted here: {issuer}", evidence, ""


def _of_a_company(entry: Link) -> bool:
    """AD CS gives an LDAP address for its certificate; a public CA does not."""
    return any(url.lower().startswith("ldap:") for url in entry.get("issuer_urls", ()))


def _strength(facts: Certified) -> Iterator[Problem]:
    path = [facts.chain[index] for index in used(facts)]
    for entry in path:
        bits, least = entry.get("key_bits"), _WEAK_BITS.get(entry.get("key", ""), 0)
        if bits is not None and bits < least:
            text = f"{entry['subject']} has a key of {bits} bits ({entry['key']})"
            yield Problem("certificate.weak-key", "critical", text, f"{entry['key']} {bits}")
        # A root's signature over itself proves nothing and may be old.
        digest = entry.get("signature_hash")
        if digest in ("md5", "sha1") and not entry.get("self_signed"):
            text = f"{entry['subject']} is signed with {digest.upper()}"
            yield Problem("certificate.weak-signature", "critical", text, digest)
    yield from _usage(path)
    yield from _order(facts)


def _usage(path: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    leaf, authorities = path[0], path[1:]
    extended, usage = leaf.get("extended_key_usage"), leaf.get("key_usage")
    if extended is not None and not set(extended) & set(_SERVER_AUTH):
        yield Problem("certificate.wrong-usage", "critical", "the certificate is not meant for servers", ", ".join(extended))
    if usage is not None and not set(usage) & {"digital_signature", "key_encipherment", "key_agreement"}:
        yield Problem(
            "certificate.wrong-usage", "critical", "the certificate's key may not be used for TLS", ", ".join(usage) or "none"
        )
    elif usage is not None and leaf.get("key") == "RSA" and "digital_signature" not in usage:
        text = "the certificate's key may not sign, which TLS 1.3 and every ECDHE cipher need: Thunderbird and Outlook refuse it"
        yield Problem("certificate.wrong-usage", "warning", text, ", ".join(usage))
    if leaf.get("ca") and not leaf.get("self_signed"):
        yield Problem("certificate.wrong-usage", "warning", "the server's certificate is a CA's", leaf["subject"])
    for entry in authorities:
        usage = entry.get("key_usage")
        if entry.get("basic_constraints") and not entry.get("ca"):
            yield Problem("certificate.wrong-usage", "critical", f"{entry['subject']} signs others, but is no CA", "CA:FALSE")
        elif usage is not None and "key_cert_sign" not in usage:
            text = f"{entry['subject']} signs others, but its key may not be used for that"
            yield Problem("certificate.wrong-usage", "critical", text, ", ".join(usage))


def _order(facts: Certified) -> Iterator[Problem]:
    chain, path = facts.chain, used(facts)
    # TLS 1.2 wants each certificate to be followed by its issuer (RFC 5246 section 7.4.2); all others may stand behind.
    if path != sorted(path):
        text = f"{chain[path[0]].get('subject')} is not followed by its issuer"
        yield Problem("certificate.chain-order", "warning", text, "; ".join(str(entry.get("subject")) for entry in chain))
    if junk := [chain[index] for index in unrelated(facts)]:
        names = "; ".join(str(entry.get("subject") or entry.get("error")) for entry in junk)
        yield Problem(
            "certificate.junk-in-chain", "warning", f"the server sends certificates that do not belong to its own: {names}", names
        )
    if old := [chain[index] for index in spare_and_expired(facts)]:
        names = "; ".join(f"{entry['subject']} (until {entry['not_after']})" for entry in old)
        yield Problem(
            "certificate.junk-in-chain", "info", f"the server also sends what has expired and no path needs: {names}", names
        )


def _unread(facts: Certified) -> Iterator[Problem]:
    unread = [oid for entry in facts.chain for oid in entry.get("unread_extensions", ())]
    if unread:
        text = f"an extension of a certificate cannot be read: {', '.join(unread)}"
        yield Problem("certificate.malformed", "warning", text, ", ".join(unread))


def _expected(facts: Certified, tls: Tls) -> Iterator[Problem]:
    served = (facts.thumbprint, facts.sha256)
    if tls.thumbprint and tls.thumbprint not in served:
        text = f"the certificate served has thumbprint {facts.thumbprint}, not {tls.thumbprint}"
        yield Problem("certificate.thumbprint-differs", "critical", text, str(facts.thumbprint))
    if tls.certificate_name and not same_identifier(tls.certificate_name, str(facts.certificate_name)):
        text = f"the certificate served is {facts.certificate_name}, not {tls.certificate_name}"
        yield Problem("certificate.identifier-differs", "critical", text, str(facts.certificate_name))
