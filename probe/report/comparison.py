"""Two runs compared: what the outputs show of it, and its JSON."""

from collections.abc import Sequence
from dataclasses import asdict

from probe.plain import dataclass
from probe.record import Target
from probe.report import Severity, Verdict, worst_severity

# The key of an expectation that means: the certificate changes at every port.
CERTIFICATE = "certificate"
# The id and the profile of a report that stands for a comparison, in outputs that know reports only.
COMPARISON = "comparison"
_NOTHING = Target(COMPARISON, 0, "none")


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that differs between two runs; None where a side has no such fact. `expected`: it was announced.

    `wanted` is the value that was announced (`*`: any other than before) where it did not come; the two sides are then alike
    where nothing has changed at all, and both None where neither run has such a fact.

    `because` names the stage whose failure kept the later run from seeing this fact; it may be what it was.
    """

    target: str
    key: str
    before: str | None
    after: str | None
    severity: Severity
    expected: bool = False
    wanted: str | None = None
    because: str | None = None

    @property
    def happened(self) -> bool:
        """False for an announced change that is not there."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Same:
    """One fact that both runs agree on."""

    target: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs compared; the instants at which each began (RFC 3339 UTC).

    `notes` are remarks on what was compared with what, `unchanged` the facts that are alike, `subject` the (first) target.
    """

    changes: tuple[Change, ...]
    before: str
    after: str
    notes: tuple[str, ...] = ()
    unchanged: tuple[Same, ...] = ()
    subject: Target = _NOTHING

    @property
    def verdict(self) -> Verdict:
        """`ok` when nothing differs but what was expected or got better."""
        worst = worst_severity(change.severity for change in self.changes)
        return {"critical": "critical", "warning": "warning"}.get(str(worst), "ok")  # type: ignore[return-value]


def targets(comparison: Comparison) -> list[str]:
    """The names of what was compared, in order."""
    facts: Sequence[Change | Same] = (*comparison.changes, *comparison.unchanged)
    return list(dict.fromkeys(item.target for item in facts))


def comparison_to_json(comparison: Comparison) -> dict[str, object]:
    return {
        "schema": "submission-probe/comparison/1",
        "before": comparison.before,
        "after": comparison.after,
        "verdict": comparison.verdict,
        "changes": [asdict(change) for change in comparison.changes],
        "notes": list(comparison.notes),
        "unchanged": len(comparison.unchanged),
    }
