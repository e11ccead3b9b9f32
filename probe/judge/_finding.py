"""A finding with the words that its kind declares."""

from collections.abc import Mapping

from probe.report import Finding, Kind, Severity


def finding(kinds: Mapping[str, Kind], name: str, severity: Severity, stage: str, summary: str = "", evidence: str = "") -> Finding:
    """Cause and remedy are the kind's; its summary too, where this run has no other."""
    kind = kinds[name]
    return Finding(name, severity, stage, summary or kind.summary, evidence, kind.cause, kind.remedy)
