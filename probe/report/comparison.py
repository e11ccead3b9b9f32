"""Two runs compared: what the outputs show of it, and its JSON."""

from dataclasses import asdict, dataclass

from probe.report import Severity, Verdict, worst_severity


@dataclass(frozen=True, slots=True)
class Change:
    """One fact that differs between two runs; None where a side has no such fact. `expected`: it was announced."""

    target: str
    key: str
    before: str | None
    after: str | None
    severity: Severity
    expected: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs compared; the instants at which each began (RFC 3339 UTC)."""

    changes: tuple[Change, ...]
    before: str
    after: str

    @property
    def verdict(self) -> Verdict:
        """`ok` when nothing differs but what was expected or got better."""
        worst = worst_severity(change.severity for change in self.changes)
        return {"critical": "critical", "warning": "warning"}.get(str(worst), "ok")  # type: ignore[return-value]


def comparison_to_json(comparison: Comparison) -> dict[str, object]:
    return {
        "schema": "submission-probe/comparison/1",
        "before": comparison.before,
        "after": comparison.after,
        "verdict": comparison.verdict,
        "changes": [asdict(change) for change in comparison.changes],
    }
