"""`text`: what a person reads in a terminal or a mail. No wrapping, no boxes; colour only in a terminal.

Server text is data: every control character is shown, never sent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from probe.certificate.identifier import assignment
from probe.facts import Certified, Connected, Ehlo, Found, Greeted, LoggedOn, Resolved, Secured, Submitted, Verified
from probe.output import Context
from probe.output._compared import instant, lines, summary
from probe.output._words import also_known_as, in_a_row, outcome, safe, unexplained
from probe.report import Finding, Report, Stage, Verdict
from probe.report.comparison import Comparison, targets
from probe.report.statistics import repeated, statistics

__all__ = ["detail", "headline", "safe", "write"]

_SIGNS = {"ok": "ok", "warning": "warn", "failed": "FAIL", "skipped": "-"}
_COLORS = {"ok": "32", "warning": "33", "critical": "31", "failed": "31", "unknown": "35", "info": "36", "skipped": "2"}
_FACT_CHARACTERS = 100


def write(reports: Sequence[Report], context: Context) -> str:
    """Each report: verdict, stages with the fact that matters most, findings with what to do, transcript on request."""
    groups = repeated(reports)
    told = ["\n".join(_lines(report, context)) + "\n" for report in reports if report.profile not in groups]
    told += ["\n".join(_in_a_row(group, context)) + "\n" for group in groups.values()]
    told += ["\n".join(_matrix(nodes, context.color)) + "\n" for nodes in _same_target(reports)]
    if context.comparison is not None:
        told.append("\n".join(comparison_lines(context.comparison, context.color)) + "\n")
    return "\n".join(told)


def _in_a_row(reports: Sequence[Report], context: Context) -> Iterator[str]:
    """Runs in a row: a line each, the findings once, then what they add up to."""
    for report in reports:
        yield headline(report, context.color)
    shown: set[tuple[str, str]] = set()
    for finding in (finding for report in reports for finding in report.findings):
        if (finding.id, finding.stage) not in shown:
            shown.add((finding.id, finding.stage))
            yield ""
            yield from _finding(finding, context.color)
    counted = statistics(reports)
    yield ""
    yield f"{safe(reports[0].profile)}: {counted['count']} runs, {counted['failed']} failed, {counted['lost']} messages lost"
    yield f"  {'seconds':<16} {'min':>9} {'median':>9} {'p95':>9} {'max':>9}"
    for name, spread in counted["seconds"].items():
        yield f"  {name:<16} " + " ".join(f"{spread[key]:9.3f}" for key in ("min", "median", "p95", "max"))


def comparison_lines(comparison: Comparison, color: bool = False) -> Iterator[str]:
    """What differs from the earlier run, worst first."""
    began = f"compared with the run of {instant(comparison.before)}"
    title = comparison.verdict.upper() if comparison.changes else "UNCHANGED"
    named = [f"{safe(name)}  " for name in targets(comparison)] if len(targets(comparison)) == 1 else []
    yield f"{_paint(title, comparison.verdict, color)}  {''.join(named)}{summary(comparison)}; {began}"
    for word, severity, said in lines(comparison):
        yield f"  {_paint(f'{word:<8}', severity, color)}  {said}" if word else f"  {said}"


def _same_target(reports: Sequence[Report]) -> Iterator[list[Report]]:
    """Reports of several nodes behind one name."""
    for name in dict.fromkeys(report.profile for report in reports):
        nodes = [report for report in reports if report.profile == name and _is_one_of_several(report)]
        if len(nodes) > 1:
            yield nodes


def _matrix(nodes: Sequence[Report], color: bool) -> Iterator[str]:
    """Node by stage: one column a node."""
    names = [[safe(report.target.address or "?"), _short(safe(report.target.node or ""), 30)] for report in nodes]
    widths = [max(map(len, name)) for name in names]
    yield f"{safe(nodes[0].profile)}: {len(nodes)} nodes"
    for row in range(2):
        yield f"  {'':<20}" + "  ".join(f"{name[row]:<{width}}" for name, width in zip(names, widths, strict=True)).rstrip()
    for index, stage in enumerate(nodes[0].stages):
        cells = [node.stages[index].status if index < len(node.stages) else "-" for node in nodes]
        shown = [_paint(f"{_SIGNS.get(cell, cell):<{width}}", cell, color) for cell, width in zip(cells, widths, strict=True)]
        yield f"  {stage.name:<20}" + "  ".join(shown).rstrip()


def _lines(report: Report, context: Context) -> Iterator[str]:
    yield headline(report, context.color)
    if report.error or report.interrupted:
        yield f"  {unexplained(report)}"
    yield ""
    for stage in report.stages:
        yield _stage(stage, context.color)
    for finding in report.findings:
        yield ""
        yield from _finding(finding, context.color)
    if context.transcript:
        yield ""
        for line in report.transcript:
            yield f"  {line.at:8.3f} {line.connection:<4} {line.direction} {safe(line.text)}"
        yield from _to_paste(report)


def _to_paste(report: Report) -> Iterator[str]:
    """For Exchange's administrators: how to assign what is served, exactly as its TlsCertificateName is spelt."""
    for stage in report.stages:
        name = stage.record.seen(Certified).certificate_name
        if stage.name == "smtp.certificate" and name:
            yield ""
            yield f"  to assign this certificate: {safe(assignment(name))}"


def headline(report: Report, color: bool = False) -> str:
    """One line: verdict, profile, target, and the delivery time or the first thing that failed."""
    verdict = _paint(_word(report), report.verdict, color)
    at = f" at {report.target.address}" if _is_one_of_several(report) else ""
    target = f"{report.target.host}:{report.target.port}{also_known_as(report.target.host)}{at} ({report.target.security})"
    counted = f"  ({in_a_row(report)})" if in_a_row(report) else ""
    return f"{verdict}  {safe(report.profile)}  {safe(target)}  {outcome(report)}{counted}"


def _is_one_of_several(report: Report) -> bool:
    return report.kind == "node"


def _word(report: Report) -> str:
    words: Mapping[Verdict, str] = {"ok": "OK", "warning": "WARNING", "critical": "CRITICAL", "unknown": "UNKNOWN"}
    return words[report.verdict] + (" (interrupted)" if report.interrupted else "")


def _stage(stage: Stage, color: bool) -> str:
    sign = _paint(f"{_SIGNS[stage.status]:<4}", stage.status, color)
    seconds = f"{stage.record.seconds:7.3f} s" if stage.status != "skipped" else " " * 9
    return f"  {sign}  {stage.name:<16} {seconds}  {_short(safe(detail(stage)))}".rstrip()


def detail(stage: Stage) -> str:
    """Why it did not go well, else the fact that matters most; as the server said it, so escape it."""
    if stage.record.reason:
        return stage.record.reason
    pick = _DETAILS.get(type(stage.record.facts))
    return pick(stage.record.facts) if pick else ""


def _certificate(facts: Certified) -> str:
    return f"{', '.join(facts.subject_names)}; until {facts.not_after}; SHA-1 {facts.thumbprint}"


def _verify(facts: Verified) -> str:
    return f"proven by {facts.proven_by}, text {facts.text}, {len(facts.hops)} hop(s)"


def _find(facts: Found) -> str:
    ours = f"; {facts.ours} earlier message(s) of ours lay there" if facts.ours else ""
    return f"in {facts.folder} {facts.seconds or 0:.3f} s after the final reply{ours}"


_DETAILS: Mapping[type, Callable[[Any], str]] = {
    Resolved: lambda facts: " ".join(facts.addresses),
    Connected: lambda facts: facts.remote or "",
    Greeted: lambda facts: " / ".join(facts.lines),
    Ehlo: lambda facts: " ".join(facts.keywords),
    Secured: lambda facts: f"{facts.version} {facts.cipher}",
    Certified: _certificate,
    LoggedOn: lambda facts: f"{facts.mechanism}",
    Submitted: lambda facts: " / ".join(facts.reply),
    Found: _find,
    Verified: _verify,
}


def _finding(finding: Finding, color: bool) -> Iterator[str]:
    said = safe(f"{finding.stage}  {finding.id}: {finding.summary}")
    yield f"{_paint(finding.severity.upper(), finding.severity, color)}  {said}"
    if finding.evidence and finding.evidence not in finding.summary:
        yield f"  seen:   {_short(safe(finding.evidence), 300)}"
    if finding.cause:
        yield f"  likely: {finding.cause}"
    for index, step in enumerate(finding.remedy):
        yield f"  {'do:    ' if index == 0 else '       '} {step}"


def _short(text: str, most: int = _FACT_CHARACTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _paint(text: str, meaning: str, color: bool) -> str:
    return f"\x1b[{_COLORS[meaning]}m{text}\x1b[0m" if color else text
