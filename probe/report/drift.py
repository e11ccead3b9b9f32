"""What a server showed over time: its TLS version, its certificate and so on, each with when it was first and last seen.

Each value is stored once with its first and last time, not once a run, so that years of runs stay small. What was not seen (a run
that failed) changes nothing of what is known. Values that come and go behind one address are one entry that alternates.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field, replace
from datetime import datetime, timedelta
from typing import Any

from probe.facts import Certified, Connected, Ehlo, F, LoggedOn, Secured, Seen, Verified, greetings
from probe.facts import from_json as facts_from_json
from probe.plain import dataclass
from probe.report import Report

# In the order in which they are listed.
KEYS = ("tls", "group", "cipher", "mechanisms", "ehlo", "certificate", "software", "dkim")
LEGS = ("smtp", "imap", "pop3")
MOST_SPANS = 60
MOST_VALUES = 8
_MOST_TEXT = 2000
# Two values that have come back so often in so many days alternate: a change that was undone and made again does not.
_RETURNS, _TAIL, _DAYS = 3, 8, 14
# So long, and in so many runs, one value alone has to be seen until it no longer alternates.
_SETTLED_RUNS, _SETTLED_DAYS = 20, 3


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which one value was seen, or several in turn. Instants are RFC 3339 UTC.

    `values`: each value with when it was last seen; `streak`: how many runs in a row saw the latest one, `since` the first of them;
    `more`: there were more values than are kept.
    """

    values: Mapping[str, str]
    first: str
    last: str
    streak: int = 1
    since: str = ""
    more: bool = False

    @property
    def latest(self) -> str:
        return max(self.values, key=lambda value: self.values[value])


Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a list needs to have of a certificate. `sha1`, `sha256` and `serial` in upper hex; RFC 3339 UTC; `names`: those of its
    subjectAltName."""

    sha1: str
    sha256: str = ""
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    not_before: str = ""
    not_after: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """What one address of one server showed to the runs of a profile. `node`: address and port; `certificates`: by SHA-1, each
    certificate in `spans`."""

    profile: str
    leg: str
    host: str
    node: str
    spans: Mapping[str, Spans] = field(default_factory=dict)
    certificates: Mapping[str, Leaf] = field(default_factory=dict)

    @property
    def first(self) -> str:
        return min((spans[0].first for spans in self.spans.values() if spans), default="")

    @property
    def last(self) -> str:
        return max((spans[-1].last for spans in self.spans.values() if spans), default="")


@dataclass(frozen=True, slots=True)
class Shown:
    """What one run saw of one service: by key of KEYS a value; its certificate, where it was seen."""

    profile: str
    leg: str
    host: str
    node: str
    at: str
    values: Mapping[str, str]
    certificate: Leaf | None = None


def shown(report: Report) -> Iterator[Shown]:
    """What the run saw, service by service; nothing of a service that was not reached."""
    yield from _shown(report.profile, report.target.host, report.started, report.seen)


def shown_in_json(data: Mapping[str, object]) -> Iterator[Shown]:
    """The same of a report's JSON, as a store has it. Raises KeyError or TypeError for what is none."""
    run: Mapping[str, Any] = data
    stages = {stage["name"]: stage["facts"] for stage in run["stages"]}

    def seen(name: str, kind: type[F], /) -> F:
        facts = facts_from_json(name, stages.get(name, {}))
        return facts if isinstance(facts, kind) else kind()

    yield from _shown(run["profile"], run["target"]["host"], run["started"], seen)


def _shown(profile: str, target: str, at: str, seen: Seen) -> Iterator[Shown]:
    for leg in LEGS:
        node = seen(f"{leg}.connect", Connected).remote
        values = dict(_values(seen, leg))
        if not node or not values:
            continue
        certified = seen(f"{leg}.certificate", Certified)
        asked = certified.name_checked or seen(f"{leg}.tls", Secured).sni
        yield Shown(profile, leg, target if leg == "smtp" else asked or target, node, at, values, leaf_of(certified))


def _values(seen: Seen, leg: str) -> Iterator[tuple[str, str]]:
    secured = seen("smtp.starttls" if leg == "smtp" else f"{leg}.tls", Secured)
    for key, value in (("tls", secured.version), ("group", secured.group), ("cipher", secured.cipher)):
        if value:
            yield key, value[:_MOST_TEXT]
    yield from _words(seen, leg)
    if thumbprint := seen(f"{leg}.certificate", Certified).thumbprint:
        yield "certificate", thumbprint
    if software := software_of(next(greetings(seen, leg), "")):
        yield "software", software
    if leg == "smtp":
        yield from _signers(seen)


def _signers(seen: Seen) -> Iterator[tuple[str, str]]:
    """The domains whose signature on the delivered message held; an empty value: none did. Nothing where that is not known."""
    for reader in LEGS[1:]:
        facts = seen(f"{reader}.verify", Verified)
        if facts.evidence is not None and all(one["result"] != "unknown" for one in facts.signatures):
            yield "dkim", _listed(one["domain"] for one in facts.signatures if one["result"] == "pass")
            return


def _words(seen: Seen, leg: str) -> Iterator[tuple[str, str]]:
    """Mechanisms and keywords, sorted: after TLS, before the logon. An empty value is one too: none were offered."""
    if leg == "smtp":
        after, before = seen("smtp.ehlo_tls", Ehlo), seen("smtp.ehlo", Ehlo)
        ehlo = after if after.keywords or seen("smtp.starttls", Secured).version else before
        if ehlo.keywords:
            yield "mechanisms", _listed(ehlo.mechanisms)
            # AUTH's parameters are the mechanisms, which have a line of their own.
            yield "ehlo", _listed(" ".join([name, *given]) for name, given in ehlo.keywords.items() if not name.startswith("AUTH"))
        return
    capabilities = seen(f"{leg}.login", LoggedOn).capabilities
    if capabilities:
        offered = [word for line in capabilities for word in _offered(line)]
        yield "mechanisms", _listed(offered)
        yield "ehlo", _listed(line for line in capabilities if not _offered(line))


def _offered(capability: str) -> list[str]:
    """The mechanisms in one capability: `AUTH=PLAIN` over IMAP4, `SASL PLAIN LOGIN` over POP3."""
    if capability.upper().startswith("AUTH="):
        return [capability[5:].upper()]
    return capability.upper().split()[1:] if capability.upper().startswith("SASL ") else []


def _listed(words: Any) -> str:
    return "\n".join(sorted(set(words)))[:_MOST_TEXT]


# A timestamp for APOP; capabilities, an encoded name; instants, in the two forms that servers use; addresses; a connection's id.
_NOISE = re.compile(
    r"""<[^>]*> | \[[^\]]*\]
    | (?:\ (?:ready\ )?at)?\s*\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\ [A-Za-z0-9 ]{5,12}\ ?\d\d:\d\d:\d\d
      (?:\ \d{4})?(?:\ [+-]\d{4}|\ [A-Z]{2,4})?
    | \b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?\S*
    | \b\d{1,3}(?:\.\d{1,3}){3}\b
    | (?<!\S)(?=\S*\d)(?=\S*[a-z])[\w.+=/-]{14,}(?!\S)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def software_of(greeting: str) -> str:
    """What the server says it is, without its name, the time, and ids of the connection: those are others each time.

    >>> software_of("220 mail.contoso.com ESMTP Exim 4.96 Fri, 27 Nov 2026 11:21:54 +0000")
    'ESMTP Exim 4.96'
    """
    said = re.sub(r"^(?:\d{3}[ -]\S+|\* [A-Z]+|\+OK|-ERR)\s*", "", greeting)
    return " ".join(_NOISE.sub(" ", said).split())[:200].strip(" -.,")


def leaf_of(seen: Certified) -> Leaf | None:
    """The certificate that was shown; None where none was seen."""
    if not seen.thumbprint:
        return None
    first = seen.chain[0] if seen.chain else {}
    subject, issuer, serial = (str(first.get(key) or "")[:300] for key in ("subject", "issuer", "serial"))
    names = tuple(name[:255] for name in seen.subject_names[:20])
    return Leaf(seen.thumbprint, seen.sha256 or "", subject, issuer, serial, seen.not_before or "", seen.not_after or "", names)


def noted(before: Service, seen: Shown) -> Service:
    """The service with what one more run saw of it."""
    spans = {**before.spans, **{key: followed(before.spans.get(key, ()), value, seen.at) for key, value in seen.values.items()}}
    certificates = {**before.certificates, **({seen.certificate.sha1: seen.certificate} if seen.certificate else {})}
    known = {value for span in spans.get("certificate", ()) for value in span.values}
    return replace(before, spans=spans, certificates={sha1: one for sha1, one in certificates.items() if sha1 in known})


def followed(spans: Spans, value: str, at: str) -> Spans:
    """The spans with one more sight of a value."""
    now = spans[-1] if spans else None
    if now is None or not (value in now.values or now.more):
        return _folded((*spans, Span({value: at}, at, at, 1, at)))[-MOST_SPANS:]
    again = value == now.latest
    streak, since = (now.streak + 1, now.since) if again else (1, at)
    values = dict(sorted({**now.values, value: at}.items(), key=lambda item: item[1])[-MOST_VALUES:])
    now = replace(now, values=values, last=at, streak=streak, since=since)
    if len(values) > 1 and streak >= _SETTLED_RUNS and _days(since, at) >= _SETTLED_DAYS:
        others = {one: seen for one, seen in values.items() if one != value}
        # The value was among those that alternated until then; from `since` on it is alone.
        ended = replace(now, values={**others, value: since}, last=since, streak=1)
        return (*spans[:-1], ended, Span({value: at}, since, at, streak, since))[-MOST_SPANS:]
    return (*spans[:-1], now)


def _folded(spans: Spans) -> Spans:
    """The spans; where the last few return to the same values again and again, those are one that alternates."""
    newest = spans[-1].first
    tail = [span for span in spans[-_TAIL:] if _days(span.last, newest) <= _DAYS]
    known: set[str] = set()
    returns = 0
    for span in tail:
        returns += not known.isdisjoint(span.values)
        known |= set(span.values)
    if returns < _RETURNS:
        return spans
    # What was seen alone before it began to alternate stays as it is.
    began = len(spans) - len(tail) + 1
    return (*spans[:began], _joined(spans[began:]))


def _joined(spans: Spans) -> Span:
    values: dict[str, str] = {}
    for span in spans:
        values |= {value: max(at, values.get(value, "")) for value, at in span.values.items()}
    kept = dict(sorted(values.items(), key=lambda item: item[1])[-MOST_VALUES:])
    more = len(kept) < len(values) or any(span.more for span in spans)
    last = spans[-1]
    return Span(kept, spans[0].first, last.last, last.streak, last.since, more)


def _days(first: str, last: str) -> float:
    """Days between two instants; 0 where one of them is none."""
    try:
        return (datetime.fromisoformat(last) - datetime.fromisoformat(first)) / timedelta(days=1)
    except ValueError:
        return 0.0


# -- as JSON, for a store ------------------------------------------------------------------------------------------


def to_json(service: Service) -> dict[str, object]:
    """The spans and certificates."""
    spans = {key: [_span_to_json(span) for span in one] for key, one in service.spans.items()}
    return {"spans": spans, "certificates": [asdict(leaf) for leaf in service.certificates.values()]}


def _span_to_json(span: Span) -> dict[str, object]:
    return {
        "values": dict(span.values), "first": span.first, "last": span.last, "streak": span.streak, "since": span.since,
        **({"more": True} if span.more else {}),
    }  # fmt: skip


def from_json(profile: str, leg: str, host: str, node: str, data: Mapping[str, object]) -> Service:
    """The inverse. Raises KeyError or TypeError for what this never wrote."""
    read: Mapping[str, Any] = data
    spans = {key: tuple(Span(**one) for one in spans) for key, spans in read["spans"].items()}
    leaves = [Leaf(**{**one, "names": tuple(one["names"])}) for one in read["certificates"]]
    return Service(profile, leg, host, node, spans, {leaf.sha1: leaf for leaf in leaves})
