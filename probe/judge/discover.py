"""What users are given against what is true. `probe discover` puts each source's answers, and what trying showed, in its stages.

It says nothing about a run. Sources: RFC 6186, RFC 8314, and Microsoft's page "Configure authenticated SMTP settings for POP3 and
IMAP4 clients in Exchange Server" (AdvertiseClientSettings).
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

from probe.facts import Published, Tried
from probe.facts.parts import Answered, Offered
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind, Severity

_SOURCES = (
    "SRV: Resolve-DnsName -Type SRV _submission._tcp.DOMAIN (Windows), or dig +short SRV _submission._tcp.DOMAIN "
    "(and _submissions, _imaps, _pop3s)",
    "Thunderbird: https://autoconfig.DOMAIN/mail/config-v1.1.xml",
    "Exchange: Get-PopSettings | fl *ConnectionSettings; Get-ImapSettings | fl *ConnectionSettings; "
    'Get-ReceiveConnector "*Client Frontend*" | fl Fqdn,AdvertiseClientSettings,ServiceDiscoveryFqdn',
)
_ADVERTISE = (
    'Check: Get-ReceiveConnector "*Client Frontend*" | fl Identity,Fqdn,AdvertiseClientSettings',
    'Fix: Set-ReceiveConnector "SERVER\\Client Frontend SERVER" -AdvertiseClientSettings $true',
    "Then restart IIS, so that Outlook on the web and Autodiscover show it: iisreset /noforce",
    "Elsewhere: add an outgoingServer to the autoconfig document, or _submission/_submissions SRV records",
)
_SERVE = (
    "Check: curl -v URL (Windows: curl.exe -v URL) from outside; who answers for that name?",
    "Fix: serve the document there, with a certificate that has the name, or take the name out of DNS",
)

FINDINGS = {
    "discover.nothing-found": Kind(
        "no source publishes anything for users",
        "Nobody has set up SRV records, autoconfig or Autodiscover for this domain; users have to type host, port and encryption.",
        _SOURCES,
    ),
    "discover.could-not-look": Kind(
        "it is not known what users are given: DNS could not be asked",
        "The resolver that was asked (this machine's, or that of --resolver) is not set up, cannot be reached or fails; what "
        "may be published was not seen.",
        (
            "Check: Resolve-DnsName _submission._tcp.DOMAIN -Type SRV (Windows), or dig SRV _submission._tcp.DOMAIN (-Server "
            "ADDRESS or @ADDRESS asks the one of --resolver)",
            "Ask another resolver: --resolver ADDRESS",
        ),
    ),
    "discover.no-smtp": Kind(
        "a source publishes how to read mail, but not how to send it",
        "On Exchange, the Client Frontend connector likely does not advertise its settings, which is the default.",
        _ADVERTISE,
    ),
    "discover.sources-disagree": Kind(
        "two sources publish different servers",
        "One of them was likely forgotten in a change. Which one a user gets depends on the mail program.",
        _SOURCES,
    ),
    "discover.internal-name": Kind(
        "an internal name or address is published",
        "The setting was likely left at the server's own name, which does not exist outside.",
        (
            "Exchange: Set-ReceiveConnector 'SERVER\\Client Frontend SERVER' -Fqdn mail.contoso.com",
            "Exchange: Set-PopSettings -ExternalConnectionSettings mail.contoso.com:995:SSL; "
            "Set-ImapSettings -ExternalConnectionSettings mail.contoso.com:993:SSL; restart both services",
        ),
    ),
    "discover.other-domain": Kind(
        "unsigned DNS alone names a server outside the domain",
        "Mail hosted by a provider looks like this, and so does a forged DNS answer, which sends passwords to whoever forged it: "
        "SRV records are not validated (DNSSEC), and no document of the domain over HTTPS names that server (RFC 6186 section 6).",
        (
            "Check: is that the provider of this domain's mail? The provider's own pages name the servers",
            "Fix: name the same servers in https://autoconfig.DOMAIN/mail/config-v1.1.xml, which a certificate vouches for",
        ),
    ),
    "discover.plaintext-told": Kind(
        "users are led to send their password in clear",
        "The document says plain, None or SSL off; a program that follows it uses no TLS.",
        ("Fix: publish STARTTLS or SSL/TLS (RFC 8314); see what the port offers with probe run",),
    ),
    "discover.name-not-resolved": Kind(
        "the published host has no address",
        "The name is likely missing in DNS, or exists only inside.",
        ("Check: Resolve-DnsName NAME (Windows), or dig +short A NAME; dig +short AAAA NAME", *_SOURCES),
    ),
    "discover.port-closed": Kind(
        "nobody answers at the published port",
        "The service is likely stopped, bound elsewhere, or a firewall is in between.",
        ("Check: Test-NetConnection NAME -Port PORT (Windows), or nc -vz NAME PORT, inside and outside", *_SOURCES),
    ),
    "discover.encryption-wrong": Kind(
        "the published encryption is not what the port speaks",
        "STARTTLS and implicit TLS were likely mistaken for each other: 587, 143 and 110 speak STARTTLS; 465, 993 and 995 TLS "
        "from the start.",
        (
            "Check: probe run -v --light with that host and port; openssl s_client -connect NAME:PORT (-starttls smtp, imap, pop3)",
            *_SOURCES,
        ),
    ),
    "discover.name-not-in-certificate": Kind(
        "the published host is not in the certificate",
        "The document likely names the server, while the certificate was issued for the name that users know (or the reverse).",
        ("Publish a name that is in the certificate, or obtain a certificate that has the published name", *_SOURCES),
    ),
    "discover.certificate-not-accepted": Kind(
        "the published server's certificate is not accepted",
        "It has expired, its issuer is not trusted here, or its chain is incomplete.",
        ("Check: probe run --light with that host; its findings name each problem", "For a private CA: --ca-file"),
    ),
    "discover.server-fails": Kind(
        "the published server answers, but not as such a server should",
        "Another service likely listens there, or it is broken.",
        ("Check: probe run -v --light with that host and port",),
    ),
    "discover.source-failed": Kind(
        "a source is there, but cannot be asked",
        "Its certificate is not accepted, TLS fails, or DNS does not answer. Mail programs warn their users of it or pass over it.",
        _SERVE,
    ),
    "discover.document-refused": Kind(
        "an answer was refused",
        "It is too large, does not end, redirects in a circle or to plain HTTP, or is no document of its kind. Programs differ in "
        "what they make of it.",
        _SERVE,
    ),
    "discover.dane-no-match": Kind(
        "the published server's certificate is not the one that its TLSA records stand for",
        "The certificate was likely renewed with a new key, and the TLSA records of that name and port were not changed: programs "
        "that take SRV records by DNSSEC (RFC 7673) refuse the server.",
        (
            "Check: dig +dnssec _PORT._tcp.NAME TLSA (Windows, whose Resolve-DnsName knows no TLSA: Invoke-RestMethod "
            "'https://dns.google/resolve?name=_PORT._tcp.NAME&type=TLSA')",
            "Fix: publish the record of the certificate that is served, or put the old key back",
        ),
    ),
    "discover.redirected": Kind(
        "a source names somebody else to ask",
        "Autodiscover has moved, or the mailbox has another address.",
        ("Ask there: probe discover with that address, or --consent HOST when the password may be sent there",),
    ),
    "discover.credentials-wanted": Kind(
        "a source answers only those who log on",
        "That is Exchange's way: Autodiscover answers nothing to strangers.",
        ("Run it again with --password-env NAME, and --user when the user name is not the address",),
    ),
    "discover.credentials-refused": Kind(
        "Autodiscover refuses the user name or password",
        "One of them is wrong, or Basic authentication is off for this account.",
        ("Check --user and the password; it is not tried a second time, so that no account is locked",),
    ),
}
_finding = partial(finding, FINDINGS)

_INSIDE = ("local", "lan", "internal", "intranet", "corp", "home", "localdomain", "private", "localhost", "home.arpa")
_CLOSED = ("connect.refused", "connect.timeout", "connect.unreachable", "connect.failed")
_NO_NAME = ("dns.no-record", "dns.failed", "dns.bad-name")
_NAMES = {"smtp": "SMTP", "imap": "IMAP4", "pop3": "POP3"}
_STAGES = ("discover.srv", "discover.autoconfig", "discover.autodiscover", "discover.autodiscover-v2", "discover.pacc")
_SAYS_SOMETHING = ("found", "empty", "credentials", "redirected")


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    """Every source's own problems, then what they say together, then what trying it showed."""
    by_stage = {stage: tuple(record.seen(stage, Published).answers) for stage in _STAGES}
    if record.stage("discover.srv") is None:
        return
    answers = [answer for stage in _STAGES for answer in by_stage[stage]]
    if not any(answer["declined"] or answer["outcome"] in _SAYS_SOMETHING for answer in answers):
        said = "; ".join(f"{answer['place']}: {answer['text'] or answer['outcome']}" for answer in answers)
        # A look-up that failed has found nothing out.
        looked = not any(answer["outcome"] == "failed" for answer in by_stage["discover.srv"])
        name = "discover.nothing-found" if looked else "discover.could-not-look"
        yield _finding(name, "warning", "discover.srv", FINDINGS[name].summary, said[:1000])
    else:
        looked = True
    yield from _look_ups_that_failed([(stage, answer) for stage in _STAGES for answer in by_stage[stage]], said_why=not looked)
    for stage, of_stage in by_stage.items():
        for answer in of_stage:
            if not _was_not_looked_up(answer):
                yield from _of_answer(stage, answer)
        yield from _without_smtp(stage, of_stage)
        yield from _internal(stage, of_stage, profile.submission.host)
    yield from _strangers(answers, profile.submission.host)
    yield from _disagreements(answers)
    for server in record.seen("discover.verify", Tried).servers:
        yield from _tried(server)


def _look_ups_that_failed(answers: Sequence[tuple[str, Answered]], *, said_why: bool) -> Iterator[Finding]:
    """One finding for all: a resolver that fails fails for each name, and is no fault of who publishes there."""
    failed = [(stage, answer) for stage, answer in answers if _was_not_looked_up(answer)]
    if failed:
        stage, first = failed[0]
        text = f"{len(failed)} of {len(answers)} sources could not be looked up in DNS: {first['text']}"
        one = _finding("discover.source-failed", "warning", stage, text, ", ".join(answer["place"] for _, answer in failed)[:1000])
        kind = FINDINGS["discover.could-not-look"]
        yield replace(one, cause=kind.cause, remedy=() if said_why else kind.remedy)


def _was_not_looked_up(answer: Answered) -> bool:
    return answer["outcome"] == "failed" and answer["text"].startswith("look up ")


def _of_answer(stage: str, answer: Answered) -> Iterator[Finding]:
    text = answer["text"]
    if answer["outcome"] == "failed":
        yield _finding("discover.source-failed", "warning", stage, text, answer["place"])
    elif answer["outcome"] == "refused":
        yield _finding("discover.document-refused", "warning", stage, text, answer["place"])
    elif answer["outcome"] == "redirected":
        yield _finding("discover.redirected", "info", stage, f"{answer['place']}: {text}", text)
    elif answer["outcome"] == "credentials":
        wrong = answer["username_sent"]
        name = "discover.credentials-refused" if wrong else "discover.credentials-wanted"
        yield _finding(name, "warning" if wrong else "info", stage, f"{answer['place']}: {text}", text)
    for server in answer["told"]:
        if server["security"] == "plaintext":
            text = f"{answer['place']} publishes {_said(server)}: the password goes in clear"
            yield _finding("discover.plaintext-told", "warning", stage, text, _said(server))


def _without_smtp(stage: str, answers: Iterable[Answered]) -> Iterator[Finding]:
    """A kind of source that speaks of readers, or of nothing at all though it answers, and never of SMTP."""
    for source in dict.fromkeys(answer["source"] for answer in answers):
        same = [answer for answer in answers if answer["source"] == source]
        told = {server["protocol"] for answer in same for server in answer["told"]}
        declined = any("smtp" in answer["declined"] for answer in same)
        emptied = any(answer["outcome"] == "empty" and not answer["declined"] for answer in same) and not told
        if "smtp" not in told and not declined and (told or emptied):
            only = " and ".join(_NAMES[name] for name in sorted(told)) or "no server at all"
            place = next(answer["place"] for answer in same if answer["outcome"] in ("found", "empty"))
            yield _finding("discover.no-smtp", "warning", stage, f"{source} publishes {only}, but no SMTP server to send by", place)


def _internal(stage: str, answers: Iterable[Answered], domain: str) -> Iterator[Finding]:
    seen = set()
    for answer in answers:
        for server in answer["told"]:
            where = (server["host"], server["scope"] == "internal")
            if where not in seen and is_internal(server["host"], domain):
                seen.add(where)
                # What is said to be internal may be: but whoever logs on from outside reads it there.
                severity: Severity = "info" if server["scope"] == "internal" else "warning"
                scope = f", {server['scope']}" if server["scope"] != "any" else ""
                text = f"{answer['place']} publishes the internal name {server['host']} ({_NAMES[server['protocol']]}{scope})"
                yield _finding("discover.internal-name", severity, stage, text, server["host"])


def is_internal(host: str, domain: str) -> bool:
    """A private address, a name of one label, or one under a suffix that the public DNS does not have, unless the mail domain is
    there too."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        pass
    inside = next((suffix for suffix in _INSIDE if host.endswith(f".{suffix}") or host == suffix), None)
    if inside is not None:
        return not domain.endswith(f".{inside}")
    return "." not in host


def _strangers(answers: Iterable[Answered], domain: str) -> Iterator[Finding]:
    """Hosts outside the domain that SRV names, and no document over HTTPS confirms. The evidence is the host alone."""
    by_dns: dict[str, str] = {}
    confirmed: set[str] = set()
    for answer in answers:
        for server in answer["told"]:
            if answer["source"] != "srv":
                confirmed.add(server["host"].lower())
            elif not is_within(server["host"], domain):
                by_dns.setdefault(server["host"], f"{answer['place']} publishes {_said(server)}")
    for host, said in by_dns.items():
        if host.lower() not in confirmed:
            text = f"{said}, outside {domain}, in unsigned DNS and nowhere else"
            yield _finding("discover.other-domain", "warning", "discover.srv", text, host)


def is_within(host: str, domain: str) -> bool:
    """Whether the host is the domain or below it."""
    return f".{host.lower().rstrip('.')}".endswith(f".{domain.lower().rstrip('.')}")


def _disagreements(answers: Iterable[Answered]) -> Iterator[Finding]:
    """Sources disagree on a protocol when they have no server in common; a list of several is no disagreement."""
    for protocol, name in _NAMES.items():
        told = dict(_told_of(protocol, answers))
        apart = next(((one, two) for one, two in combinations(told, 2) if not told[one] & told[two]), None)
        if apart is not None:
            evidence = "; ".join(f"{place}: {', '.join(sorted(servers)) or 'not offered'}" for place, servers in told.items())
            text = f"{name}: {apart[0]} publishes {', '.join(sorted(told[apart[0]])) or 'that there is none'}, "
            text += f"{apart[1]} publishes {', '.join(sorted(told[apart[1]])) or 'that there is none'}"
            yield _finding("discover.sources-disagree", "warning", "discover.srv", text, evidence[:1000])


def _told_of(protocol: str, answers: Iterable[Answered]) -> Iterator[tuple[str, set[str]]]:
    """By source (SRV's services are one, each document is its own): servers published for outside; none where it says so."""
    found: dict[str, set[str]] = {}
    declined: set[str] = set()
    for answer in answers:
        source = "SRV" if answer["source"] == "srv" else answer["place"]
        if protocol in answer["declined"]:
            declined.add(source)
        for server in answer["told"]:
            if server["protocol"] == protocol and server["scope"] != "internal":
                found.setdefault(source, set()).add(f"{server['host']}:{server['port']} {server['security']}")
    yield from found.items()
    yield from ((source, set()) for source in declined if source not in found)


def _said(server: Offered | Mapping[str, Any]) -> str:
    return f"{_NAMES[server['protocol']]} {server['host']}:{server['port']} ({server['security']})"


def _tried(server: Mapping[str, Any]) -> Iterator[Finding]:
    """One published server that was tried. What is published for the inside only is information: we may be outside."""
    severity: Severity = "info" if server["scope"] == "internal" else "critical"
    who = f"{', '.join(server['sources'])}: {_said(server)}"
    certificate, trouble = server["certificate"], server["trouble"]

    def found(name: str, text: str, evidence: str) -> Finding:
        return _finding(name, severity, "discover.verify", f"{who}: {text}", evidence)

    if server["really"]:
        words = {"tls": "TLS from the start", "starttls": "STARTTLS"}
        yield found("discover.encryption-wrong", f"the port speaks {words[server['really']]}", trouble["text"])
    if certificate is not None and not certificate["name_matches"]:
        names = ", ".join(certificate["subject_names"]) or "none"
        yield found("discover.name-not-in-certificate", f"the certificate is for {names}", names)
    if certificate is not None and _refused(certificate):
        text = f"OpenSSL: {certificate['openssl_text']}"
        yield found("discover.certificate-not-accepted", text, f"until {certificate['not_after']}")
    if (dane := server.get("dane")) and dane["authenticated"] and dane["records"] and not dane["matching"]:
        yield found("discover.dane-no-match", f"none of its {dane['records']} TLSA records is for this certificate", dane["text"])
    if trouble and not server["really"] and certificate is None:
        yield found(_named(trouble["id"]), trouble["text"], trouble["id"])
    elif trouble and not server["really"] and trouble["id"] != "certificate.not-accepted":
        yield found("discover.server-fails", trouble["text"], trouble["id"])


def _refused(certificate: Mapping[str, Any]) -> bool:
    """Whether OpenSSL refused it for more than the name, or for a name that our own reading finds in it."""
    return not certificate["trusted"] or bool(certificate["name_matches"] and certificate.get("openssl_code"))


def _named(trouble: str) -> str:
    if trouble in _CLOSED:
        return "discover.port-closed"
    if trouble in _NO_NAME:
        return "discover.name-not-resolved"
    return "discover.encryption-wrong" if trouble in ("starttls.not-offered", "starttls.refused") else "discover.server-fails"
