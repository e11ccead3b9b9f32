"""`markdown`: a report for a ticket (GitLab, GitHub, Jira's and Redmine's importers): CommonMark with GFM's tables.

What a server said stands in code spans, where nothing is markup; in sentences every mark that begins markup is escaped, which
CommonMark (section 2.4) allows. So no table breaks, and no HTML, link, image or mention comes from a server.
"""

import re
from collections.abc import Iterator, Sequence

from probe.output import Context
from probe.output._compared import Line, Part, blocks, hint, instant, summary
from probe.output._safe import safe
from probe.output._words import also_known_as, at, outcome, unexplained
from probe.output.text import detail
from probe.report import Report, Stage
from probe.report.causes import Cause, causes
from probe.report.comparison import Comparison
from probe.report.steps import pieces

# In the middle of a line, where all of it stands; a colon begins a link's address, `www.` too (GFM section 6.9).
_MARKUP = re.compile(r"([\\`*_{}\[\]<>&!|~#$^]|:(?=\S)|(?<=www)\.)", re.IGNORECASE)
# A mention begins where no letter or digit stands before the sign; a zero-width space after it ends it.
_MENTION = re.compile(r"(?<![A-Za-z0-9])@(?=\w)")
_LONGEST = 2000


def write(reports: Sequence[Report], context: Context) -> str:
    """Each report: a heading with the verdict, the findings, a table of the stages, and the transcript on request."""
    told = [_lines(report, context) for report in reports]
    if context.comparison is not None:
        told.append(_compared(context.comparison))
    return "\n".join("".join(f"{line}\n" for line in lines) for lines in told)


def _compared(comparison: Comparison) -> Iterator[str]:
    """A heading with the verdict, and a table of what differs for each target; what a side has alone is bold."""
    title = comparison.verdict.upper() if comparison.changes else "UNCHANGED"
    yield f"## {title}: compared with the run of {prose(instant(comparison.before))}"
    yield ""
    yield f"{summary(comparison)}."
    for note in comparison.notes:
        yield ""
        yield f"Note: {prose(note)}"
    for block in blocks(comparison, whole_words=True):
        yield ""
        yield f"### {prose(block.target)}"
        if block.lines:
            yield ""
            yield "| | what | before | after |"
            yield "|---|---|---|---|"
            yield from map(_line, block.lines)
        for said in block.not_seen:
            yield ""
            yield prose(said)
    if said := hint(comparison):
        yield ""
        yield f"{prose(said.partition('--')[0])}`{said[said.index('--') :]}`"


def _line(line: Line) -> str:
    row = line.row
    word = row.word if row.word in ("expected", "better") else f"**{row.word}**"
    keys = ", ".join(code(key, table=True) for key in row.keys)
    wanted = f" ({code(line.wanted, table=True)})" if line.wanted else ""
    return f"| {word} | {keys} | {_side(line.before)} | {_side(line.after)}{wanted} |"


def _side(pieces: Sequence[Part]) -> str:
    """A value in code spans; nothing is marked where all of it differs."""
    if len({part.differs for part in pieces}) < 2:
        return code("".join(part.text for part in pieces), table=True)
    spans = ((code(part.text, table=True), part.differs) for part in pieces if part.text.strip())
    return " ".join(f"**{span}**" if differs else span for span, differs in spans)


def _lines(report: Report, context: Context) -> Iterator[str]:
    target = report.target
    yield f"## {report.verdict.upper()}: {prose(report.profile)}"
    yield ""
    where = [code(f"{target.host}:{target.port}") + prose(also_known_as(target.host)), f"({prose(target.security)})"]
    if target.address:
        where.append(f"at {code(target.address)}")
    if target.node:
        where.append(f"node {code(target.node)}")
    yield f"{' '.join(where)}, {prose(report.started)}: {prose(outcome(report))}."
    if why := unexplained(report):
        yield ""
        yield f"{prose(why)}."
    for cause in causes(report.findings):
        yield ""
        yield from _cause(cause)
    yield ""
    yield "| stage | status | seconds | detail |"
    yield "|---|---|---:|---|"
    yield from map(_row, report.stages)
    if context.transcript and report.transcript:
        yield ""
        yield from _transcript(report)


def _cause(cause: Cause) -> Iterator[str]:
    finding, stages = cause.finding, cause.stages
    yield f"### {finding.severity}: {prose(finding.summary)}"
    yield ""
    yield f"- stage{'s' if len(stages) > 1 else ''} {', '.join(map(code, stages))}, finding {code(finding.id)}"
    yield from (f"- at {code(other.stage)}: {prose(other.summary)}" for other in cause.others)
    yield from (f"- seen: {prose(at(seen))}{code(seen.text)}" for seen in cause.evidence)
    yield from (f"- likely: {prose(at(likely) + likely.text)}" for likely in cause.likely)
    yield from (f"- do: {prose(at(step))}{_step(step.text)}" for step in cause.steps)


def _step(text: str) -> str:
    """Commands in code spans, so that they can be copied as they stand; labels and words outside."""
    return "".join(code(piece.text) if piece.code else prose(piece.text) for piece in pieces(text))


def _row(stage: Stage) -> str:
    status = f"**{stage.status}**" if stage.status in ("failed", "warning") else stage.status
    seconds = "" if stage.status == "skipped" else f"{stage.record.seconds:.3f}"
    text = detail(stage)
    return f"| {code(stage.name, table=True)} | {status} | {seconds} | {code(text, table=True) if text else ''} |"


def _transcript(report: Report) -> Iterator[str]:
    """An indented block: unlike a fence, no line inside can end it."""
    yield "Transcript:"
    yield ""
    for line in report.transcript:
        yield f"    {line.at:8.3f} {safe(line.connection):<4} {line.direction} {safe(line.text)}"


def prose(text: str) -> str:
    """Text that stays text in a sentence."""
    return _MARKUP.sub(r"\\\1", _MENTION.sub("@\u200b", safe(text)))


def code(text: str, *, table: bool = False) -> str:
    """A code span (CommonMark section 6.1), with more backticks around it than stand in it.

    In a table `|` would end the cell even here. GFM's `\\|` shows as it is in other readers, so a look-alike takes its place.
    """
    shown = safe(text)
    if len(shown) > _LONGEST:
        shown = f"{shown[: _LONGEST - 1]}…"
    if table:
        shown = shown.replace("|", "¦")
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    padded = f" {shown} " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else shown
    return f"{fence}{padded}{fence}"
