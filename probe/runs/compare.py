"""Two saved runs → what a change changed: facts by their meaning, never by their text. Pure.

Times, queue ids, session ids and dates never show. Latency is judged only where both sides have samples (`--repeat`), by the
Hodges–Lehmann shift of the median with its Mann–Whitney confidence interval, so that one slow reply proves nothing.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import sqrt
from statistics import median
from typing import Any

from probe.facts import Certified, Connected, Ehlo, Found, Greeted, LoggedOn, Resolved, Secured, Verified, from_json, rebuilt
from probe.record import Target
from probe.report import Severity
from probe.report.comparison import Change, Comparison, Same
from probe.runs.expected import Sides, Values, eased, remarks
from probe.runs.pairs import Json, Place, paired, remark
from probe.runs.unseen import unseen

# 99.9 %: some thirty latencies are looked at in one comparison, and an unchanged server shall compare clean.
Z = 3.29
LEAST_SAMPLES = 5
# A shift that is certain and yet no matter: less than this many seconds, or than this part of what it was.
LEAST_SHIFT_SECONDS, LEAST_SHIFT_PART = 0.05, 0.2

# The same news as the thumbprint's, which may be announced by it.
_SILENT = "certificate.sha256"


class NotComparable(ValueError):
    """The two runs have no target in common, or one is no saved run; the text says which."""


def compare(before: Mapping[str, object], after: Mapping[str, object], expected: Sequence[tuple[str, str]] = ()) -> Comparison:
    """Everything that differs between two run objects (contract section 5).

    `expected`: (key, value) of changes that are wanted (expected.py). Raises NotComparable.
    """
    old, new = _by_place(_reports("before", before)), _by_place(_reports("after", after))
    pairs = paired(old, new)
    both = [(was, now) for was, now in pairs if was and now]
    if not both:
        raise NotComparable(f"no target in common: before has {_listed(old)}, after has {_listed(new)}")
    sides = [_sides(was, now, old, new) for was, now in pairs]
    return Comparison(
        tuple(change for change in eased(sides, expected) if change.wanted or not change.key.endswith(_SILENT)),
        str(before.get("started")),
        str(after.get("started")),
        notes=(*(said for pair in both if (said := remark(*pair))), *remarks(sides, expected)),
        unchanged=tuple(same for one in sides for same in _alike(one)),
        subject=_subject(new[both[0][1]][0]),
    )


def _reports(name: str, run: Mapping[str, object]) -> Sequence[Json]:
    """The reports of a run object. Raises NotComparable."""
    reports = run.get("reports") if isinstance(run, Mapping) and run.get("schema") == "submission-probe/run/1" else None
    if not isinstance(reports, list):
        raise NotComparable(f"{name}: not a run saved by `probe run -o json`")
    return reports


def _by_place(reports: Sequence[Json]) -> dict[Place, list[Json]]:
    """Reports of one target: several where a run was repeated. Nodes are targets of their own."""
    found: dict[Place, list[Json]] = {}
    for report in reports:
        target = report["target"]
        one_of_several = report.get("kind") == "node" or _connected(report).nodes
        node = str(target["address"]) if one_of_several else None
        found.setdefault(Place(report["profile"], target["host"], target["port"], node), []).append(report)
    return found


def _subject(report: Json) -> Target:
    target = report["target"]
    return Target(target["host"], target["port"], str(target.get("security", "")), target.get("address"))


def _listed(names: Iterable[Place]) -> str:
    return ", ".join(map(str, names)) or "none"


def _sides(was: Place | None, now: Place | None, old: Mapping[Place, list[Json]], new: Mapping[Place, list[Json]]) -> Sides:
    """A target's facts before and after, and what differs."""
    name = str(now or was)
    if was is None or now is None:
        gone = now is None
        change = Change(name, "target", "probed" if gone else None, None if gone else "probed", "warning")
        return Sides(name, {}, {}, (change,))
    before, after = _values(old[was]), _values(new[now])
    differing = _of_target(name, before, after, unseen(_seen_by(old[was]), new[now]))
    return Sides(name, before, after, (*differing, *_latencies(name, old[was], new[now])))


def _alike(one: Sides) -> Iterator[Same]:
    for key, value in one.before.items():
        if one.after.get(key) == value and not key.endswith(_SILENT):
            yield Same(one.target, key, value)


def _of_target(target: str, before: Values, after: Values, not_seen: Values) -> Iterator[Change]:
    for key in [*before, *(key for key in after if key not in before)]:
        was, now = before.get(key), after.get(key)
        if was != now and not _is_new_to(key, before):
            because = not_seen.get(key) if now in (None, "skipped") else None
            yield Change(target, key, was, now, _severity(key, was, now), because=because)


def _is_new_to(key: str, before: Values) -> bool:
    """Whether an earlier version's run could not show this: nobody had looked at what came back."""
    reader, _, rest = key.partition(".")
    return rest.startswith(_CAME_BACK) and f"{reader}.came_back" not in before


_CAME_BACK = ("came_back", "dkim.", "spf", "dmarc", "spam.", "way")
_DIGITS = re.compile(r"\d+")


def _severity(key: str, was: str | None, now: str | None) -> Severity:
    """What broke is critical, what got well is good news, anything else that nobody announced is a warning."""
    if key.endswith(".status"):
        return "critical" if now == "failed" else "info" if was == "failed" else "warning"
    if ".dkim." in key and not key.startswith("finding.") and (was == "pass" or now == "pass"):
        return "info" if now == "pass" else "critical"
    if key.startswith("finding."):
        return "info" if now is None else "critical" if now.startswith("critical") else "warning"
    return "warning"


# -- what is looked at ---------------------------------------------------------------------------------------


def _values(reports: Sequence[Json]) -> dict[str, str]:
    """Each fact that means something, by a key that an administrator can name. Of repeated runs, what all of them agree on;
    what flickers from run to run is reported as such."""
    each = [dict(_of_report(report)) for report in reports]
    keys = dict.fromkeys(key for values in each for key in values)
    merged: dict[str, str] = {}
    for key in keys:
        seen = list(dict.fromkeys(values[key] for values in each if key in values))
        if key.startswith("finding.") or len(seen) == 1:
            merged[key] = sorted(seen)[0]
        else:
            merged[key] = " or ".join(sorted(seen))
    return merged


def _of_report(report: Json) -> Iterator[tuple[str, str]]:
    for stage in report["stages"]:
        yield from _of_stage(stage)
    for finding in report["findings"]:
        if finding["severity"] != "info":
            yield _finding_key(finding), f"{finding['severity']}: {_stable(finding)}"


def _of_stage(stage: Json) -> Iterator[tuple[str, str]]:
    facts = from_json(stage["name"], stage["facts"])
    # A warning is its finding's business.
    yield f"{stage['name']}.status", "ok" if stage["status"] == "warning" else stage["status"]
    leg = stage["name"].partition(".")[0]
    for key, value in _READ.get(type(facts), _nothing)(stage["name"], facts):
        if value not in (None, "", "None"):
            # The submission is the main subject: its facts bear no prefix (`certificate.thumbprint`, `ehlo_tls.DSN`).
            yield key if leg == "smtp" else f"{leg}.{key}", value


def _seen_by(reports: Sequence[Json]) -> dict[str, set[str]]:
    """The stages that show each fact, or finding."""
    found: dict[str, set[str]] = {}
    for report in reports:
        shown = [(key, stage["name"]) for stage in report["stages"] for key, _ in _of_stage(stage)]
        for key, stage in [*shown, *((_finding_key(finding), finding["stage"]) for finding in report["findings"])]:
            found.setdefault(key, set()).add(stage)
    return found


def _finding_key(finding: Json) -> str:
    return f"finding.{finding['stage']}.{finding['id']}"


def _stable(finding: Json) -> str:
    """A finding's id is its meaning; its sentence may hold times."""
    return str(finding["id"])


Pairs = Iterator[tuple[str, str | None]]


def _nothing(_: str, __: Any) -> Pairs:
    return iter(())


def _resolve(_: str, facts: Resolved) -> Pairs:
    yield "addresses", " ".join(sorted(facts.addresses))
    for name, answer in facts.resolvers.items():
        yield f"addresses.{name}", " ".join(sorted(answer.get("addresses") or ())) or str(answer.get("error"))


def _named(_: str, facts: Greeted) -> Pairs:
    yield "greeting.name", facts.name


def _ehlo(stage: str, facts: Ehlo) -> Pairs:
    for keyword, parameters in facts.keywords.items():
        yield f"{stage.partition('.')[2]}.{keyword}", " ".join(["offered", *parameters])


def _tls(_: str, facts: Secured) -> Pairs:
    yield "tls.version", str(facts.version)
    yield "tls.cipher", str(facts.cipher)
    yield from _capabilities("capabilities", facts.capabilities)


def _capabilities(key: str, names: Sequence[str]) -> Pairs:
    for name in names:
        yield f"{key}.{name}", "offered"


def _certificate(_: str, facts: Certified) -> Pairs:
    if not facts.chain:
        return
    leaf = facts.chain[0]
    yield "certificate.thumbprint", facts.thumbprint
    yield "certificate.sha256", facts.sha256
    yield "certificate.issuer", leaf.get("issuer")
    yield "certificate.subject", leaf.get("subject")
    yield "certificate.names", " ".join(sorted(facts.subject_names))
    yield "certificate.key", f"{leaf.get('key')} {leaf.get('key_bits')}"
    yield "certificate.not_after", facts.not_after
    yield "certificate.chain", "; ".join(str(item.get("subject")) for item in facts.chain)
    yield "certificate.trusted", str(facts.trusted)


def _logon(_: str, facts: LoggedOn) -> Pairs:
    yield "mechanism", facts.mechanism
    yield "mechanisms", " ".join(sorted(facts.offered))
    yield from _capabilities("capabilities", facts.capabilities)
    yield from _capabilities("capabilities_after", facts.capabilities_after)


def _find(_: str, facts: Found) -> Pairs:
    yield "folder", facts.folder


def _verify(_: str, facts: Verified) -> Pairs:
    """What came back. Selectors, keys and scores are no news; one signature of a domain that holds is what counts."""
    if facts.evidence is None:
        return
    yield "came_back", "looked at"
    domains = dict.fromkeys(one["domain"] for one in facts.signatures if one["domain"])
    for domain in domains:
        results = [one for one in facts.signatures if one["domain"] == domain]
        best = min(results, key=lambda one: ("pass", "unknown", "fail").index(one["result"]))
        yield f"dkim.{domain}", best["result"] if best["why"] is None else f"{best['result']}: {best['why']}"
    for method in ("spf", "dmarc"):
        if said := facts.said_of(method):
            yield f"{method}", said["result"]
    # Nodes of one name differ in their numbers.
    yield "way", " → ".join(_DIGITS.sub("#", str(hop.get("by", ""))) or "?" for hop in facts.hops) or None
    for hop in facts.hops:
        if hop.get("transport") == "none":
            yield f"way.{_DIGITS.sub('#', str(hop.get('by', '')))}", "no TLS"
    for one in facts.spam:
        yield f"spam.{one['by']}", {True: "spam", False: "no spam", None: None}[one["spam"]]


_READ: Mapping[type, Callable[[str, Any], Pairs]] = {
    Resolved: _resolve,
    Greeted: _named,
    Ehlo: _ehlo,
    Secured: _tls,
    Certified: _certificate,
    LoggedOn: _logon,
    Found: _find,
    Verified: _verify,
}


# -- latency -------------------------------------------------------------------------------------------------


def _latencies(target: str, old: Sequence[Json], new: Sequence[Json]) -> Iterator[Change]:
    before, after = _samples(old), _samples(new)
    for name in before:
        shift = median_shift(before[name], after.get(name, ()))
        if shift is None:
            continue
        low, high = shift
        least = max(LEAST_SHIFT_SECONDS, LEAST_SHIFT_PART * median(before[name]))
        if low > least or high < -least:
            was, now = median(before[name]), median(after[name])
            text = f"median {now:.3f} s (shift {low:+.3f} to {high:+.3f} s)"
            yield Change(target, f"latency.{name}", f"median {was:.3f} s", text, "warning" if low > 0 else "info")


def _samples(reports: Sequence[Json]) -> dict[str, list[float]]:
    """Seconds of `delivery` and of each stage that went well."""
    found: dict[str, list[float]] = {}
    for report in reports:
        if report.get("delivery_seconds") is not None:
            found.setdefault("delivery", []).append(float(report["delivery_seconds"]))
        for stage in report["stages"]:
            # Stages that wait for the delivery, or for another leg, would repeat the same news.
            if stage["status"] in ("ok", "warning") and not stage["name"].endswith((".find", ".delete", ".login", ".verify")):
                found.setdefault(stage["name"], []).append(float(stage["seconds"]))
    return found


def median_shift(before: Sequence[float], after: Sequence[float]) -> tuple[float, float] | None:
    """By how much `after` lies above `before`, as a confidence interval in seconds; None for too few samples.

    Lehmann, "Nonparametrics" (1975), section 2.5: the ordered pairwise differences, cut by the rank-sum's normal approximation.
    """
    n, m = len(before), len(after)
    if min(n, m) < LEAST_SAMPLES:
        return None
    differences = sorted(second - first for first in before for second in after)
    cut = max(0, int(n * m / 2 - Z * sqrt(n * m * (n + m + 1) / 12)))
    return differences[cut], differences[-1 - cut]


def _connected(report: Json) -> Connected:
    facts: Json = next((item["facts"] for item in report["stages"] if item["name"] == "smtp.connect"), {})
    return rebuilt(Connected, facts)
