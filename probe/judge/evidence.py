"""What came back: is the message signed, what did the receiving side think of it? An alarm only where `[expect]` asks for it."""

from collections.abc import Iterator
from functools import partial

from probe.facts import Verified
from probe.facts.parts import SignatureSeen
from probe.judge._finding import finding
from probe.profile import Profile
from probe.record import Record
from probe.report import Finding, Kind, Severity

_DIG = "Check: dig SELECTOR._domainkey.DOMAIN TXT (Windows: Resolve-DnsName -Type TXT SELECTOR._domainkey.DOMAIN)"
_DMARC = (
    "Check: dig _dmarc.DOMAIN TXT (Windows: Resolve-DnsName -Type TXT _dmarc.DOMAIN); the Authentication-Results field of the "
    "message"
)
FINDINGS = {
    "dkim.missing": Kind(
        "the message came back without the DKIM signature that the profile expects",
        "The signer likely is not running or not asked for mail of this account, or signs for another domain.",
        (
            "Postfix: postconf smtpd_milters non_smtpd_milters milter_default_action; systemctl status opendkim rspamd",
            "Exchange Online: Get-DkimSigningConfig | ft Domain,Enabled,Status (Exchange Server itself signs nothing)",
            "Check: the signer's table of domains and its log, by the queue id",
        ),
    ),
    "dkim.failed": Kind(
        "a DKIM signature does not hold",
        "Likely something behind the signer changed the message (a disclaimer, a rewriting gateway), or DNS has another key.",
        (_DIG, "Sign last: behind every filter that changes mail", "Publish a new key before the signer uses it"),
    ),
    "dkim.unverified": Kind(
        "the DKIM signature that the profile expects could not be verified",
        "The key could not be looked up, or the message was not read as a whole: whether the signature holds is not known.",
        (_DIG, "Name a resolver that answers under [dns.resolvers]"),
    ),
    "dmarc.failed": Kind(
        "the receiving side does not say that DMARC passes",
        "Neither SPF nor a DKIM signature of From's domain likely passed there, or nobody there checks DMARC.",
        (
            _DMARC,
            "Where another name writes the results: name it in expect.authserv_id",
            "Mail that is submitted and delivered within one server is often not checked at all: probe a mailbox elsewhere",
        ),
    ),
    "spam.verdict": Kind(
        "a spam filter does not think well of the message",
        "The tests that weighed most are named in the facts of the stage, as `spam`.",
        (
            "Exempt the probe's address from filtering, or fix what the tests name",
            "Exchange: Get-MailboxJunkEmailConfiguration; Get-HostedContentFilterPolicy (Exchange Online)",
            "Check: rspamc symbols < MESSAGE (rspamd); spamassassin -t < MESSAGE",
        ),
    ),
    "authentication.ignored": Kind(
        "Authentication-Results that are not the receiving side's word were not counted",
        "Another server on the way wrote them, or a sender forged them: whoever writes mail can write such a field.",
        (
            "Where the name is one of yours: name it in expect.authserv_id",
            "Have the first server of yours remove those that carry its own name (RFC 8601 section 5)",
        ),
    ),
    "evidence.in-part": Kind(
        "not all of what came back was read",
        "The message, its header or the number of its signatures is beyond what the probe reads of any mail.",
        ("Check: what a gateway adds to the header of every message",),
    ),
}
_finding = partial(finding, FINDINGS)
_MOST_SHOWN = 5


def judge(record: Record, profile: Profile) -> Iterator[Finding]:
    for stage in record.stages:
        if stage.name.endswith(".verify") and stage.status == "ok":
            yield from of_message(stage.name, stage.seen(Verified), profile)


def of_message(stage: str, seen: Verified, profile: Profile) -> Iterator[Finding]:
    """What one delivered message shows; nothing where nobody looked."""
    if seen.evidence is None:
        return
    if seen.evidence != "whole":
        yield _finding("evidence.in-part", "info", stage, f"not all of what came back was read: {seen.evidence}")
    yield from _signed(stage, seen, profile.expect.dkim)
    yield from _dmarc(stage, seen, profile)
    yield from _spam(stage, seen, profile.expect.spam_score_below)
    yield from _ignored(stage, seen)


def _signed(stage: str, seen: Verified, expected: str | None) -> Iterator[Finding]:
    wanted = [one for one in seen.signatures if one["domain"] == (expected or "").lower()] if expected else []
    if expected and not wanted:
        others = ", ".join(dict.fromkeys(one["domain"] for one in seen.signatures if one["domain"]))
        text = f"the message came back without a DKIM signature of {expected}" + (f" (signed by {others})" if others else "")
        yield _finding("dkim.missing", "critical", stage, text)
    # One that holds is enough: receivers take the best (RFC 6376 section 4.2); a signer may sign by RSA and Ed25519 alike.
    holds = any(one["result"] == "pass" for one in wanted)
    unknown = any(one["result"] == "unknown" for one in wanted)
    for one in seen.signatures:
        severity: Severity = "critical" if one in wanted and not holds and not unknown else "info"
        if one["result"] == "fail":
            yield _finding("dkim.failed", severity, stage, f"the DKIM signature of {_named(one)} does not hold: {one['why']}")
        elif one["result"] == "unknown" and one in wanted and not holds:
            text = f"whether the DKIM signature of {_named(one)} holds is not known: {one['why']}"
            yield _finding("dkim.unverified", "warning", stage, text)


def _named(one: SignatureSeen) -> str:
    return f"{one['domain'] or 'an unnamed domain'} (selector {one['selector'] or 'not named'})"


def _dmarc(stage: str, seen: Verified, profile: Profile) -> Iterator[Finding]:
    said = seen.said_of("dmarc")
    if profile.expect.dmarc is None:
        if said is not None and said["result"] == "fail":
            yield _finding(
                "dmarc.failed", "info", stage, "the receiving side says that DMARC fails", _shown(said["by"], said["about"])
            )
    elif said is None:
        ignored = [f"{one['by'] or 'no name'}: {one['ignored']}" for one in seen.authentication if one["method"] == "dmarc"]
        text = "nothing that counts was written of DMARC on the receiving side"
        yield _finding("dmarc.failed", "critical", stage, text, "; ".join(ignored[:_MOST_SHOWN]))
    elif said["result"] != profile.expect.dmarc:
        text = f"the receiving side says of DMARC: {said['result']}"
        yield _finding("dmarc.failed", "critical", stage, text, _shown(said["by"], said["about"]))


def _shown(by: str, about: str) -> str:
    return f"by {by or 'no name'}, of {about or 'no domain'}"


def _spam(stage: str, seen: Verified, below: float | None) -> Iterator[Finding]:
    if below is not None and all(one["score"] is None for one in seen.spam):
        yield _finding("spam.verdict", "warning", stage, f"no spam filter wrote a score, which is expected to be below {below:g}")
    for one in seen.spam:
        score = "" if one["score"] is None else f", score {one['score']:g}"
        of = "" if one["threshold"] is None else f" of {one['threshold']:g}"
        tests = " ".join(one["tests"][:_MOST_SHOWN])
        if below is not None and one["score"] is not None and one["score"] >= below:
            text = f"{one['by']}{score}{of}: expected below {below:g}"
            yield _finding("spam.verdict", "warning", stage, text, tests)
        elif one["spam"]:
            yield _finding("spam.verdict", "info", stage, f"{one['by']} takes the message for spam{score}{of}", tests)


def _ignored(stage: str, seen: Verified) -> Iterator[Finding]:
    """Grouped by who wrote them and why they do not count; an ARC chain's are no pretence."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in seen.authentication:
        if one["ignored"] and one["instance"] is None:
            groups.setdefault((one["by"], one["ignored"]), []).append(f"{one['method']}={one['result']}")
    for (by, why), said in list(groups.items())[:_MOST_SHOWN]:
        text = f"results by {by or 'no name'} were not counted: {why}"
        yield _finding("authentication.ignored", "info", stage, text, " ".join(said[:_MOST_SHOWN]))
