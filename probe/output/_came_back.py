"""What came back on the delivered message, in a few words each: the line in text, the panel of the page.

Each part is an item of ITEMS; it says nothing where nothing was seen.
"""

from collections.abc import Callable, Iterator, Sequence

from probe.facts import Verified
from probe.facts.parts import HopSeen, SignatureSeen
from probe.output._safe import safe
from probe.plain import dataclass
from probe.report import Report, Status

# Of one name in the line.
_MOST = 60


@dataclass(frozen=True, slots=True)
class Item:
    """`name` for the page; `text` as it stands in the line, without control characters; `status` for its sign; `more`: details."""

    name: str
    text: str
    status: Status = "ok"
    more: str = ""


def came_back(report: Report) -> Verified | None:
    """What the first reader saw of the delivered message; None where nobody looked."""
    seen = (stage.record.seen(Verified) for stage in report.stages)
    return next((facts for facts in seen if facts.evidence is not None), None)


def line(report: Report) -> str:
    """Such as `came back signed by contoso.com, DMARC pass, spam score 0.1 of 5, 3 hops`; empty where nobody looked."""
    seen = came_back(report)
    said = [item.text for item in items(seen)] if seen is not None else []
    return f"came back {', '.join(said)}" if said else ""


def items(seen: Verified) -> list[Item]:
    """Every part that has something to say, in order."""
    return [item for part in ITEMS for item in part(seen)]


def _signed(seen: Verified) -> Iterator[Item]:
    holds = [one for one in seen.signatures if one["result"] == "pass"]
    if holds:
        yield Item("Signed", f"signed by {_domains(holds)}", more="; ".join(map(_signature, seen.signatures)))
    elif seen.signatures:
        known = any(one["result"] == "fail" for one in seen.signatures)
        text = f"with a signature of {_domains(seen.signatures)} that {'does not hold' if known else 'could not be verified'}"
        yield Item("Signed", text, "warning", "; ".join(map(_signature, seen.signatures)))
    else:
        yield Item("Signed", "not signed", "skipped")


def _domains(signatures: Sequence[SignatureSeen]) -> str:
    names = list(dict.fromkeys(_short(one["domain"]) or "nobody named" for one in signatures))
    return " and ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _signature(one: SignatureSeen) -> str:
    key = f"{one['algorithm']}, {one['key_bits']} bits" if one["key_bits"] else one["algorithm"]
    aligned = {"strict": "From's own domain", "relaxed": "of From's domain", "no": "not of From's domain"}.get(one["aligned"] or "")
    testing = "the key is marked as a test" if one["testing"] else ""
    part = f"covers {one['covers']} octets of the body only" if one["covers"] is not None else ""
    said = (f"selector {one['selector']}", key, aligned, testing, part, one["why"])
    return safe(f"{one['domain']} {one['result']} ({', '.join(str(word) for word in said if word)})")


def _results(seen: Verified) -> Iterator[Item]:
    """DMARC's result; where nobody wrote one, SPF's."""
    for method in ("dmarc", "spf"):
        if (said := seen.said_of(method)) is not None:
            by = f"by {said['by'] or 'the receiving side'}"
            text = f"{method.upper()} {_short(said['result'])}"
            every = [one for one in seen.authentication if one["ignored"] is None]
            more = "; ".join(safe(f"{one['method']}={one['result']} {one['about']}").strip() for one in every[:10])
            yield Item("Receiving side", text, "ok" if said["result"] == "pass" else "warning", f"{safe(by)}: {more}")
            return


def _arc(seen: Verified) -> Iterator[Item]:
    if seen.arc is not None:
        status: Status = "ok" if seen.arc["result"] == "pass" else "warning"
        why = f": {seen.arc['why']}" if seen.arc["why"] else ""
        sealed = f"sealed by {', '.join(map(_short, seen.arc['sealers']))}{why}"
        yield Item("ARC", f"ARC chain of {seen.arc['sets']} {_short(seen.arc['result'])}", status, sealed)


def _spam(seen: Verified) -> Iterator[Item]:
    """The first filter's that wrote a score; the others stand below it on the page."""
    for number, one in enumerate(sorted(seen.spam, key=lambda one: one["score"] is None)):
        of = "" if one["threshold"] is None else f" of {one['threshold']:g}"
        score = "" if one["score"] is None else f" {one['score']:g}{of}"
        said = f"spam score{score}" if score else "taken for spam" if one["spam"] else "not taken for spam"
        text = said if not number else f"{_short(one['by'])} {said}"
        tests = f": {' '.join(one['tests'][:12])}" if one["tests"] else ""
        yield Item("Spam", text, "warning" if one["spam"] else "ok", safe(one["by"] + tests))


def _hops(seen: Verified) -> Iterator[Item]:
    if not seen.hops:
        return
    how = [hop.get("transport") for hop in seen.hops]
    bare, tls = how.count("none"), how.count("tls")
    said = f", {bare} without TLS" if bare else ", all TLS" if tls else ""
    more = "; ".join(map(_hop, seen.hops))
    yield Item(
        "Way", f"{len(how)} hop{'' if len(how) == 1 else 's'}{said}", "warning" if bare else "ok" if said else "skipped", more
    )


def _hop(hop: HopSeen) -> str:
    tls = " ".join(str(word) for word in (hop.get("tls"), hop.get("cipher")) if word)
    said = (hop.get("protocol"), tls or {"none": "no TLS", "local": "local"}.get(hop.get("transport", "")), _seconds(hop))
    return safe(f"{hop.get('by') or 'a server without a name'} ({', '.join(str(word) for word in said if word)})")


def _seconds(hop: HopSeen) -> str:
    seconds = hop.get("seconds")
    return f"{seconds:g} s" if isinstance(seconds, (int, float)) else ""


def _short(text: str) -> str:
    shown = safe(text)
    return shown if len(shown) <= _MOST else f"{shown[: _MOST - 1]}…"


ITEMS: Sequence[Callable[[Verified], Iterator[Item]]] = (_signed, _results, _arc, _spam, _hops)
