"""A comparison for the outputs that know reports only: each change as a finding of a report of its own."""

from probe.output._compared import sentence, summary
from probe.record import StageRecord
from probe.report import Finding, Report, Stage, Status
from probe.report.comparison import COMPARISON, Change, Comparison

# text, json, html and markdown show a comparison in their own way; a protocol has no place for one, and Exchange's table no row.
NATIVE = ("text", "json", "html", "markdown", "exchange", "protocol-log")
_STAGE = "compare"
_STATUS: dict[str, Status] = {"ok": "ok", "warning": "warning", "critical": "failed"}


def as_report(comparison: Comparison) -> Report:
    """Named `comparison`, with one stage, `compare`; the findings' ids are `change.KEY`."""
    status = _STATUS.get(comparison.verdict, "ok")
    return Report(
        id=COMPARISON,
        profile=COMPARISON,
        target=comparison.subject,
        started=comparison.after,
        seconds=0.0,
        verdict=comparison.verdict,
        failed_stage=_STAGE if status == "failed" else None,
        delivery_seconds=None,
        stages=(Stage(StageRecord(_STAGE, "failed" if status == "failed" else "ok", reason=summary(comparison)), status),),
        findings=tuple(_finding(change) for change in comparison.changes),
        transcript=(),
    )


def _finding(change: Change) -> Finding:
    text = f"{change.target}: {change.key}: {sentence(change, 'was {}, is {}')}"
    return Finding(f"change.{change.key}", change.severity, _STAGE, f"{text} (expected)" if change.expected else text)
