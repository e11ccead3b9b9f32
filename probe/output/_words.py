"""What several outputs say in the same words."""

import re
from collections.abc import Iterator, Sequence

from probe.facts import Certified
from probe.output._safe import safe
from probe.report import Finding, Report
from probe.report.causes import Advice, Cause, by_severity
from probe.report.collection import tally
from probe.report.comparison import COMPARISON


def outcome(report: Report) -> str:
    """What became of the run, in a few words; no server text in it."""
    if report.id == COMPARISON and report.stages:
        return report.stages[0].record.reason or ""
    if found := tally(report):
        outstanding = found.sent - found.collected - found.lost
        late = f" ({found.late} late)" if found.late else ""
        lost = f", {found.lost} lost" if found.lost else ""
        return f"of {found.sent} sent earlier {found.collected} arrived{late}, {max(0, outstanding)} outstanding{lost}"
    if report.failed_stage:
        return f"{report.failed_stage} failed after {seconds(report.seconds)}"
    if report.delivery_seconds is not None:
        return f"delivered in {seconds(report.delivery_seconds)}, whole run {seconds(report.seconds)}"
    return f"whole run {seconds(report.seconds)}"


def where(report: Report) -> str:
    """Where the run went: host and port, and for one of several nodes its address."""
    at = f" at {report.target.address}" if report.kind == "node" else ""
    return safe(f"{report.target.host}:{report.target.port}{also_known_as(report.target.host)}{at}")


def in_a_row(report: Report) -> str:
    """How many failures in a row there were, and from how many on they are an alarm; empty where nobody counted, or all is well."""
    if not report.failures_in_a_row or report.verdict == "ok":
        return ""
    many = f"{report.failures_in_a_row} failure{'s' if report.failures_in_a_row > 1 else ''} in a row"
    if report.alarms == report.verdict:
        return many
    return f"{many}, {report.verdict} is an alarm at {report.notify_after}"


def seconds(value: float) -> str:
    """Hundredths, and thousandths where hundredths would say little."""
    return f"{value:.2f} s" if value >= 0.1 else f"{value:.3f} s"


def also_known_as(host: str) -> str:
    """An international host name as people write it, in brackets behind its A-label (RFC 5891); nothing for any other."""
    if "xn--" not in host.lower():
        return ""
    import idna  # names that are not ASCII are few

    try:
        return f" ({safe(idna.decode(host))})"
    except idna.IDNAError:
        return ""


def of_stage(report: Report, stage: str) -> list[Finding]:
    """The findings that name a stage, the worst first."""
    return by_severity(finding for finding in report.findings if finding.stage == stage)


def without_stage(report: Report) -> list[Finding]:
    """Findings that name no stage of the report: no output that goes by stages may lose them."""
    names = {stage.name for stage in report.stages}
    return by_severity(finding for finding in report.findings if finding.stage not in names)


def named(cause: Cause) -> str:
    """Stages and id in one line. A comparison's ids hold what it found: a server's own words (capabilities)."""
    return safe(f"{', '.join(cause.stages)} {cause.finding.id}")


def told(finding: Finding) -> Iterator[str]:
    """A finding as plain lines: what was seen, the likely cause, what to do."""
    return told_once(Cause((finding,)))


def told_once(cause: Cause) -> Iterator[str]:
    """The same of several places, each line with the places that it is about where it is not about all."""
    yield safe(f"{cause.finding.id}: {cause.finding.summary}")
    for word, said in told_apart(cause):
        yield f"{word}: {said}"


def told_apart(cause: Cause) -> Iterator[tuple[str, str]]:
    """What stands below the heading: `also`, `seen`, `likely` or `do`, and a line of it."""
    yield from (("also", safe(f"{other.stage}: {other.summary}")) for other in cause.others)
    for word, lines in (("seen", cause.evidence), ("likely", cause.likely), ("do", cause.steps)):
        yield from ((word, safe(at(advice) + advice.text)) for advice in lines)


def at(advice: Advice) -> str:
    """The places that it is about, as a label; nothing where it is about all of them."""
    return f"{', '.join(advice.where)}: " if advice.where else ""


def unexplained(report: Report) -> str:
    """Why a run without a failed stage is unknown; empty for any other."""
    if report.error:
        return safe(report.error)
    if report.interrupted:
        cut = [finding.stage for finding in report.findings if finding.id == "run.cancelled"]
        return "the run was interrupted" + (f" during {', '.join(map(safe, cut))}" if cut else "")
    if report.verdict in ("unknown", "critical") and report.failed_stage is None:
        open_stages = [stage.name for stage in report.stages if stage.record.reason == "not reached"]
        return f"the verdict is {report.verdict}" + (f": {', '.join(open_stages)} not reached" if open_stages else "")
    return ""


def plain_label(name: str) -> str:
    """A profile's name for formats whose labels are words: letters, digits, dot, hyphen and underscore, all ASCII."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:60] or "_"


def distinct(reports: Sequence[Report]) -> list[str]:
    """A plain label for each report; the same profile a second time gets a number, since labels must differ."""
    names: list[str] = []
    for report in reports:
        name, number = plain_label(report.profile), 2
        while name in names:
            name, number = f"{plain_label(report.profile)}-{number}", number + 1
        names.append(name)
    return names


def least_certificate_days(report: Report) -> float | None:
    """Of all certificates that the run saw, the days of the one that ends first; None where it saw none."""
    days = [left for stage in report.stages if (left := stage.record.seen(Certified).days_left) is not None]
    return min(days, default=None)
