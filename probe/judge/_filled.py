"""Remedies with what this run saw in the place of SERVER, NAME, QUEUE-ID and the like, and only for the services concerned.

What a server says is data: a value is put in only where it matches a strict pattern, of which no character means anything to sh, to
PowerShell or within the quotes of either, and none can begin an option. Otherwise the placeholder stays.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from probe.certificate.host_name import name_matches
from probe.facts import Certified, Connected, Resolved, Submitted, Swept, greetings
from probe.judge._at_node import at_node, node_of
from probe.judge._narrowed import narrowed
from probe.message import MARKER_PATTERN
from probe.plain import dataclass
from probe.profile import Profile
from probe.profile.named import secret_of
from probe.record import Record, StageRecord
from probe.report import Finding
from probe.report.exchange_server import HERE, NAME, connector, exchange_server

_HOST = r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_USER = r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,253}"
_DIGEST = r"[0-9A-Fa-f]{40}"
# What may stand in a command, by placeholder.
_HARMLESS: Mapping[str, str] = {
    "NAME": _HOST,
    "PORT": r"[0-9]{1,5}",
    "ADDRESS": r"[0-9A-Fa-f.:]{2,45}",
    "RESOLVER": r"[0-9A-Fa-f.:]{2,45}",
    "SERVER": rf"{NAME.pattern}|{re.escape(HERE)}",
    "CONNECTOR": ".*",
    "CLIENT": r"[0-9A-Fa-f.:]{2,45}",
    "DOMAIN": _HOST,
    "PROFILE": r"[A-Za-z0-9_./][A-Za-z0-9_./-]{0,254}",
    "TLSA": rf"_[0-9]{{1,5}}\._tcp\.(?:{_HOST})",
    "EXPECTED": _HOST,
    "USER": _USER,
    "ACCOUNT": _USER,
    "SENDER": _USER,
    "RECIPIENT": _USER,
    "MARKER": r"[A-Za-z0-9][A-Za-z0-9-]{3,79}",
    "QUEUE-ID": r"[A-Za-z0-9][A-Za-z0-9-]{3,39}",
    "THUMBPRINT": _DIGEST,
    "SERVED": _DIGEST,
    "IDENTIFIER": r"<I>[A-Za-z0-9 =,.()/@+&:_*-]{1,400}<S>[A-Za-z0-9 =,.()/@+&:_*-]{1,400}",
}
# Where a placeholder stands, what it stands for: the words around it decide where one word is used for several things. What is
# captured as `kept` is no placeholder: a server's own words, quoted.
_PLACES: Sequence[tuple[str, str]] = (
    ("IDENTIFIER", r"(?<=')<I>issuer<S>subject(?=')"),
    ("kept", r"(?<=-TlsCertificateName )'(?!<I>issuer<S>subject')(?:[^']|'')*'|^Publish: .*|(?<=-env )NAME|(?<=sc_query:)DOMAIN"),
    ("CONNECTOR", r"'(?:NAME|SERVER)\\Client Frontend (?:NAME|SERVER)'|\"SERVER\\Client Frontend SERVER\""),
    ("SERVER", r"(?<=Get-ServerComponentState )NAME"),
    ("RESOLVER", r"(?<=Resolve-DnsName NAME -Server )SERVER|(?<=dig @)SERVER"),
    ("TLSA", r"(?<=dig \+dnssec )NAME|(?<=delv )NAME|(?<=\?name=)NAME"),
    ("SERVED", r"(?<=-verifystore My )THUMBPRINT"),
    ("ADDRESS", r"(?<=route get )ADDRESS|(?<=Test-NetConnection )ADDRESS|(?<=nc -vz )ADDRESS"),
    ("CLIENT", r"(?<=dig -x )ADDRESS|(?<=Resolve-DnsName )ADDRESS|(?<=exim -bh )ADDRESS"),
    ("PORT", r"(?<=NAME -Port )587|(?<=nc -vz NAME )587|(?<=sport = :)587|(?<=allow TCP )587"),
    ("EXPECTED", r"(?<=-Fqdn )mail\.contoso\.com"),
    ("NAME", r"(?<=/)FQDN"),
)
_WORDS = (
    "THUMBPRINT", "QUEUE-ID", "MARKER", "USER", "ACCOUNT", "SENDER", "RECIPIENT", "NAME", "SERVER", "PORT", "DOMAIN", "PROFILE",
)  # fmt: skip
_ALL: Sequence[tuple[str, str]] = (*_PLACES, *((word, rf"(?<![\w-]){word}(?![\w-])") for word in _WORDS))
_ANY = re.compile("|".join(rf"(?P<_{index}>{place})" for index, (_, place) in enumerate(_ALL)))
# Where all that is known of a finding is for services that did not fail.
_ITS_OWN = "Check: this service's own settings and log on the server"
# Said of a service that shows another certificate than the others: the newest of them is the one that all should show.
_BETWEEN_PORTS = ("certificate.differs-between-ports", "certificate.not-reloaded")


@dataclass(frozen=True, slots=True)
class _Side:
    """Where a leg goes: a reader's own host, port and account, or the submission's."""

    leg: str
    host: str
    port: int
    security: str
    user: str


def filled(record: Record, profile: Profile, found: Sequence[Finding]) -> list[Finding]:
    """The findings, their remedies filled from what was seen, and without commands of services that are not concerned."""
    sides = _sides(record, profile)
    return [_filled(record, profile, finding, found, sides) if finding.remedy else finding for finding in found]


def _sides(record: Record, profile: Profile) -> dict[str, _Side]:
    target, account = record.target, profile.account
    sides = {"smtp": _Side("smtp", target.host, target.port, target.security, account.username or "")}
    for name, reader in profile.readers.items():
        user = profile.account_for(reader).username or ""
        sides[name] = _Side(name, profile.host_for(reader), reader.port, reader.security, user)
    return sides


def _filled(record: Record, profile: Profile, finding: Finding, found: Iterable[Finding], sides: Mapping[str, _Side]) -> Finding:
    if finding.stage.startswith("discover."):
        # The host is the domain that was asked about; the servers are those that a finding names.
        return replace(finding, remedy=tuple(_with(step, {"DOMAIN": profile.submission.host}) for step in finding.remedy))
    side = sides.get(finding.stage.partition(".")[0], sides["smtp"])
    wrong = [other.stage for other in found if other.id == finding.id]
    right = _right(record, wrong if finding.id not in _BETWEEN_PORTS else [], side.host)
    legs = {stage.partition(".")[0] for stage in wrong}
    if finding.id in _BETWEEN_PORTS and right is not None:
        legs = {stage.name.partition(".")[0] for stage in _showing(record) if stage.seen(Certified).thumbprint != right.thumbprint}
    says = " ".join(greetings(record.seen, side.leg))
    node = node_of(record, profile, side.leg)
    steps = [at_node(narrowed(step, finding.stage, legs, side.security, says=says), node) for step in finding.remedy]
    values = {
        **_of_profile(profile, side),
        **_of_run(record, profile, finding, side),
        **_of_certificates(record, profile, finding, right),
    }
    finding = _with_source(finding, profile, side.leg)
    return replace(finding, remedy=tuple(dict.fromkeys(_with(step, values) for step in steps if step)) or (_ITS_OWN,))


def _with_source(finding: Finding, profile: Profile, leg: str) -> Finding:
    """Of a password or token that was refused: where the probe has it from, which may be a place that nobody looks at any more."""
    source = secret_of(profile, leg) if finding.id == "auth.refused" else ""
    return replace(finding, cause=f"{finding.cause} The {source}.") if source else finding


def _with(step: str, values: Mapping[str, str]) -> str:
    """The step with every value that is known and harmless."""

    def value(match: re.Match[str]) -> str:
        name = _ALL[int((match.lastgroup or "_0")[1:])][0]
        known = values.get(name, "")
        return known if name in _HARMLESS and re.fullmatch(_HARMLESS[name], known) else match[0]

    return _ANY.sub(value, step)


def _of_profile(profile: Profile, side: _Side) -> dict[str, str]:
    return {
        "NAME": side.host,
        "PORT": str(side.port),
        "TLSA": f"_{side.port}._tcp.{side.host}",
        "EXPECTED": profile.expect.fqdn or side.host,
        "USER": side.user,
        "ACCOUNT": profile.account.username or "",
        "SENDER": profile.sender,
        "RECIPIENT": profile.recipient,
        "PROFILE": profile.given,
    }


def _of_run(record: Record, profile: Profile, finding: Finding, side: _Side) -> dict[str, str]:
    sent, server = record.seen("smtp.submit", Submitted), exchange_server(record.seen, side.leg)
    address = (record.seen(f"{side.leg}.connect", Connected).remote or "").rpartition(":")[0].strip("[]")
    return {
        "ADDRESS": address or (record.target.address or "" if side.leg == "smtp" else ""),
        "CLIENT": _client(finding),
        "DOMAIN": _domain(profile, finding) if side.leg == "smtp" else "",
        "RESOLVER": _resolver(record, finding),
        "SERVER": server or HERE,
        "CONNECTOR": connector(server),
        "MARKER": sent.marker or _marker(record, finding),
        "QUEUE-ID": sent.queue_id or "",
    }


def _domain(profile: Profile, finding: Finding) -> str:
    """Of the address that the finding is about."""
    return (profile.recipient if "recipient" in finding.id else profile.sender).rpartition("@")[2]


def _client(finding: Finding) -> str:
    """Our own address as the server sees it, where its words name one: `Client host [192.0.2.1] blocked`."""
    named = {found for found in map(_address, re.findall(r"\[([0-9A-Fa-f.:]{2,45})\]", finding.evidence)) if found}
    return named.pop() if len(named) == 1 else ""


def _marker(record: Record, finding: Finding) -> str:
    """Of a collection: the message that the finding names, else the first that is missing."""
    named = MARKER_PATTERN.search(finding.evidence)
    seen = record.seen(finding.stage, Swept)
    return named[0] if named else next(iter((*seen.lost, *seen.waiting)), "")


def _resolver(record: Record, finding: Finding) -> str:
    """The one that the finding names; none where it is about several."""
    answers = record.seen("smtp.resolve", Resolved).resolvers
    named = {answer["server"] for name, answer in answers.items() if f"resolver {name} " in finding.summary}
    return _address(named.pop()) if len(named) == 1 else ""


def _address(text: str) -> str:
    """Of a name server, which may be written with its port."""
    for candidate in (text, text.rpartition(":")[0]):
        try:
            return str(ip_address(candidate.strip("[]")))
        except ValueError:
            continue
    return ""


def _showing(record: Record) -> list[StageRecord]:
    return [stage for stage in record.stages if stage.seen(Certified).chain]


def _right(record: Record, wrong: Sequence[str], host: str) -> Certified | None:
    """The newest certificate that this run saw and that would do for this host; not one with which just this is wrong."""
    bad = {record.seen(stage, Certified).thumbprint for stage in wrong}
    seen = [stage.seen(Certified) for stage in _showing(record)]
    good = [one for one in seen if one.trusted and name_matches(one.chain[0], host) and one.thumbprint not in bad]
    return max(good, key=lambda one: one.not_before or "", default=None)


def _of_certificates(record: Record, profile: Profile, finding: Finding, right: Certified | None) -> dict[str, str]:
    served = record.seen(finding.stage, Certified)
    wanted = profile.tls_of(finding.stage).thumbprint
    if wanted is None or not re.fullmatch(_DIGEST, wanted) or wanted == served.thumbprint:
        wanted = right.thumbprint if right else None
    name = right.certificate_name if right and right.thumbprint == wanted else None
    return {"THUMBPRINT": wanted or "", "SERVED": served.thumbprint or "", "IDENTIFIER": name or ""}
