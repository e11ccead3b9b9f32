"""`text`: what a person reads in a terminal or a mail: no boxes; colours, and lines broken to its width, in a terminal only.

What is piped has each thing in a line of its own, whole. In a terminal a line is broken between words, never in a command.

Server text is data: every control character is shown, never sent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from probe.certificate.identifier import assignment
from probe.facts import Certified, Connected, Ehlo, Found, Greeted, LoggedOn, Resolved, Secured, Submitted, Verified
from probe.output import Context
from probe.output._came_back import line
from probe.output._compared import instant, lines, summary
from probe.output._flow import flowed, kept_whole
from probe.output._safe import safe
from probe.output._words import in_a_row, outcome, told_apart, unexplained, where
from probe.report import Finding, Report, Stage, Verdict, worst_verdict
from probe.report.causes import Cause, causes
from probe.report.comparison import Comparison, targets
from probe.report.exchange_server import connector, exchange_server, says_exchange
from probe.report.statistics import repeated, statistics

__all__ = ["detail", "headline", "write"]

_SIGNS = {"ok": "ok", "warning": "warn", "failed": "FAIL", "skipped": "-"}
_COLORS = {"ok": "32", "warning": "33", "critical": "31", "failed": "31", "unknown": "35", "info": "36", "skipped": "2"}
# Of what a server says in one place; more than any name or reply that means something.
_MOST_CHARACTERS = 4_000
# Below the words that a line of a cause begins with.
_HANG = 10
# From this width on a stage's fact has a column of its own in a terminal; in a narrower one it stands below.
_WIDE, _COLUMN, _BELOW = 100, 37, 8


def write(reports: Sequence[Report], context: Context) -> str:
    """Each report: verdict, stages with the fact that matters most, findings with what to do, transcript on request."""
    groups = repeated(reports)
    # Of several nodes the table comes first, under the worst of their verdicts, which is the exit status.
    told = ["\n".join(_matrix(nodes, context.color)) + "\n" for nodes in _same_target(reports)]
    told += ["\n".join(_lines(report, context)) + "\n" for report in reports if report.profile not in groups]
    told += ["\n".join(_in_a_row(group, context)) + "\n" for group in groups.values()]
    if context.comparison is not None:
        told.append("\n".join(comparison_lines(context.comparison, context.color)) + "\n")
    return "\n".join(told)


def _in_a_row(reports: Sequence[Report], context: Context) -> Iterator[str]:
    """Runs in a row: a line each, the findings once, then what they add up to."""
    for report in reports:
        yield headline(report, context.color)
    shown: dict[tuple[str, str], Finding] = {}
    for finding in (finding for report in reports for finding in report.findings):
        shown.setdefault((finding.id, finding.stage), finding)
    yield from _causes(shown.values(), context)
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
    worst = worst_verdict(node.verdict for node in nodes)
    yield f"{_paint(worst.upper(), worst, color)}  {safe(nodes[0].profile)}: {len(nodes)} nodes"
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
        yield from _stage(stage, context)
    if said := line(report):
        yield ""
        yield from flowed("  ", said, hang=4, width=context.width)
    yield from _causes(report.findings, context)
    if context.transcript:
        yield ""
        for one in report.transcript:
            yield f"  {one.at:8.3f} {one.connection:<4} {one.direction} {safe(one.text)}"
        yield from _to_paste(report)


def _to_paste(report: Report) -> Iterator[str]:
    """For Exchange's administrators: how to assign what is served, exactly as its TlsCertificateName is spelt."""
    name = report.seen("smtp.certificate", Certified).certificate_name
    if name and says_exchange(report.seen):
        command = assignment(name, connector(exchange_server(report.seen, "smtp")))
        yield ""
        yield f"  to assign this certificate: {safe(command)}"


def headline(report: Report, color: bool = False) -> str:
    """One line: verdict, profile, target, and the delivery time or the first thing that failed."""
    verdict = _paint(_word(report), report.verdict, color)
    counted = f"  ({in_a_row(report)})" if in_a_row(report) else ""
    return f"{verdict}  {safe(report.profile)}  {where(report)} ({safe(report.target.security)})  {outcome(report)}{counted}"


def _is_one_of_several(report: Report) -> bool:
    return report.kind == "node"


def _word(report: Report) -> str:
    words: Mapping[Verdict, str] = {"ok": "OK", "warning": "WARNING", "critical": "CRITICAL", "unknown": "UNKNOWN"}
    return words[report.verdict] + (" (interrupted)" if report.interrupted else "")


def _stage(stage: Stage, context: Context) -> Iterator[str]:
    sign = f"{_SIGNS[stage.status]:<4}"
    seconds = f"{stage.record.seconds:7.3f} s" if stage.status != "skipped" else " " * 9
    begins, said = f"  {sign}  {stage.name:<16} {seconds}  ", _short(safe(detail(stage)))
    if context.width and context.width < _WIDE and len(begins + said) > context.width:
        lines = [begins, *flowed(" " * _BELOW, said, hang=_BELOW, width=context.width)]
    else:
        lines = list(flowed(begins, said, hang=_COLUMN, width=context.width))
    lines[0] = lines[0].replace(sign, _paint(sign, stage.status, context.color), 1)
    yield from (line.rstrip() for line in lines)


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


def _causes(findings: Iterable[Finding], context: Context) -> Iterator[str]:
    for cause in causes(findings):
        yield ""
        yield from _cause(cause, context)


def _cause(cause: Cause, context: Context) -> Iterator[str]:
    severity = cause.finding.severity
    word = f"{severity.upper()}  "
    heading = safe(f"{', '.join(cause.stages)}  {cause.finding.id}: {cause.finding.summary}")
    first, *more = flowed(word, _short(heading), hang=_HANG, width=context.width)
    yield first.replace(word, _paint(word.rstrip(), severity, context.color) + "  ", 1)
    yield from more
    before = ""
    for name, said in told_apart(cause):
        begins = f"  {'' if name == before else f'{name}:':<{_HANG - 2}}"
        text = kept_whole(said) if name == "do" else _short(said)
        yield from flowed(begins, text, hang=_HANG, width=context.width)
        before = name


def _short(text: str, most: int = _MOST_CHARACTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _paint(text: str, meaning: str, color: bool) -> str:
    return f"\x1b[{_COLORS[meaning]}m{text}\x1b[0m" if color else text
