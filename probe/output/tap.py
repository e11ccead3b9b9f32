"""`tap`: Test Anything Protocol 13 (https://testanything.org/tap-version-13-specification.html), which readers of 14 take too.

Perl's `prove` refuses a stream that calls itself 14, and nothing of 14 is needed.

A test point a stage; what was found stands in the YAML block below it, each value in double quotes. A warning is
`ok` with such a block. `#` would begin a directive, and 13 has no escape for it, so names hold none.
"""

import json
from collections.abc import Iterator, Sequence

from probe.output import Context
from probe.output._safe import safe
from probe.output._words import of_stage, plain_label, unexplained, without_stage
from probe.report import Finding, Report, Stage

Point = tuple[bool, str, str, list[Finding]]


def write(reports: Sequence[Report], context: Context) -> str:
    """Version, plan, points."""
    points = [point for report in reports for point in _points(report)]
    lines = ["TAP version 13", f"1..{len(points)}"]
    for number, (good, name, directive, findings) in enumerate(points, 1):
        lines.append(f"{'ok' if good else 'not ok'} {number} - {name}{directive}")
        lines += _block(findings)
    return "".join(f"{line}\n" for line in lines)


def _points(report: Report) -> Iterator[Point]:
    profile = plain_label(report.profile)
    for stage in report.stages:
        yield _point(report, stage, profile)
    for finding in without_stage(report):
        yield finding.severity != "critical", f"{profile} {_word(finding.id)}", "", [finding]
    if why := unexplained(report):
        yield False, f"{profile} run", "", [Finding("run", "critical", "", why)]


def _word(text: str) -> str:
    """Text that begins no directive, nor another line."""
    return safe(text).replace("#", "")


def _point(report: Report, stage: Stage, profile: str) -> Point:
    directive = ""
    if stage.status == "skipped":
        directive = f" # SKIP {_word(stage.record.reason or '')}".rstrip()
    findings = of_stage(report, stage.name)
    if stage.status == "failed" and not findings:
        findings = [Finding("failed", "critical", stage.name, stage.record.reason or "failed")]
    return stage.status != "failed", f"{profile} {_word(stage.name)}", directive, findings


def _block(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        return
    yield "  ---"
    yield f"  message: {_quoted(findings[0].summary)}"
    yield f"  severity: {'fail' if findings[0].severity == 'critical' else 'comment'}"
    yield "  findings:"
    for finding in findings:
        yield f"    - id: {_quoted(finding.id)}"
        yield f"      severity: {_quoted(finding.severity)}"
        for key, text in (("summary", finding.summary), ("seen", finding.evidence), ("likely", finding.cause)):
            if text:
                yield f"      {key}: {_quoted(text)}"
        if finding.remedy:
            yield f"      do: [{', '.join(map(_quoted, finding.remedy))}]"
    yield "  ..."


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar. YAML knows no surrogate pairs, so printable characters stand as they are."""
    return json.dumps(safe(text), ensure_ascii=False)
