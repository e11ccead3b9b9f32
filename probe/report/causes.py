"""One cause, however many places it shows at: said once by outputs for people. JSON, JUnit, TAP and metrics keep findings apart."""

import re
from collections.abc import Iterable, Sequence

from probe.facts import KINDS
from probe.plain import dataclass
from probe.report import SEVERITY_RANK, Finding


@dataclass(frozen=True, slots=True)
class Advice:
    """A likely cause or a step; `where` are the legs (or stages) that it is about, none where it is about all places."""

    text: str
    where: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """One finding, or what is the same one at several places: `places` in the order of the report, the first in front."""

    places: Sequence[Finding]

    @property
    def finding(self) -> Finding:
        """The first place's: what it says stands in the heading."""
        return self.places[0]

    @property
    def stages(self) -> list[str]:
        return [place.stage for place in self.places]

    @property
    def others(self) -> list[Finding]:
        """Places that say it in other words than the first."""
        return [place for place in self.places if place.summary != self.finding.summary]

    @property
    def evidence(self) -> list[Advice]:
        """What was seen, where no heading says it already."""
        shown = [place.evidence if place.evidence not in place.summary else "" for place in self.places]
        return _at_their_places(zip(self.stages, ([text] for text in shown), strict=True))

    @property
    def likely(self) -> list[Advice]:
        said = _at_their_places(zip(self._names, _told_apart([place.cause for place in self.places]), strict=True))
        return sorted(said, key=lambda one: bool(one.where))

    @property
    def steps(self) -> list[Advice]:
        return _at_their_places(zip(self._names, (place.remedy for place in self.places), strict=True))

    @property
    def _names(self) -> list[str]:
        legs = [stage.partition(".")[0] for stage in self.stages]
        return legs if len(set(legs)) == len(legs) else self.stages


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; else in the order of the checks."""
    return sorted(findings, key=lambda finding: -SEVERITY_RANK[finding.severity])


def causes(findings: Iterable[Finding]) -> list[Cause]:
    """The worst first. One cause is what differs in nothing but the place and what is advised there (a server of another product
    has other commands), and what the same step of several legs shows with the same likely cause, each in its own server's words."""
    groups: list[list[Finding]] = []
    for finding in by_severity(findings):
        open_groups = [group for group in groups if _may_join(group, finding)]
        same = next((group for group in open_groups if _says_the_same(group[0], finding)), None)
        same = same or next((group for group in open_groups if _has_the_same_cause(group[0], finding)), None)
        if same is None:
            groups.append([finding])
        else:
            same.append(finding)
    return [Cause(tuple(group)) for group in groups]


def _may_join(group: Sequence[Finding], finding: Finding) -> bool:
    alike = (finding.id, finding.severity) == (group[0].id, group[0].severity)
    return alike and finding.stage not in [one.stage for one in group]


def _says_the_same(one: Finding, other: Finding) -> bool:
    return (one.summary, one.evidence) == (other.summary, other.evidence)


def _has_the_same_cause(one: Finding, other: Finding) -> bool:
    alike = one.id in _ONE_THING or (bool(one.cause) and one.cause == other.cause)
    return alike and _step(one.stage) == _step(other.stage)


# Means the same whatever the words: a refused password is one to correct, though each product has a check of its own.
_ONE_THING = ("auth.refused",)


def _step(stage: str) -> object:
    """What a stage is of any leg: `smtp.auth` and `imap.login` are both a logon."""
    word = stage.split(".")[1] if "." in stage else stage
    return KINDS.get(word, word)


def _told_apart(texts: Sequence[str]) -> list[list[str]]:
    """Each text in three: the sentences with which all begin, its own, and those with which all end."""
    rows = [re.split(r"(?<=\.) (?=[A-Z])", text) for text in texts]
    first = _alike(rows)
    last = _alike([row[first:][::-1] for row in rows])
    return [[" ".join(part) for part in (row[:first], row[first : len(row) - last], row[len(row) - last :])] for row in rows]


def _alike(rows: Sequence[Sequence[str]]) -> int:
    """With how many equal sentences all rows begin."""
    same = [len(set(sentences)) == 1 for sentences in zip(*rows, strict=False)]
    return same.index(False) if False in same else len(same)


def _at_their_places(said: Iterable[tuple[str, Sequence[str]]]) -> list[Advice]:
    """Each text once, with the names of those that say it unless all do."""
    rows = list(said)
    found: dict[str, list[str]] = {}
    for name, texts in rows:
        for text in filter(None, dict.fromkeys(texts)):
            found.setdefault(text, []).append(name)
    return [Advice(text, () if len(names) == len(rows) else tuple(names)) for text, names in found.items()]
