"""`prometheus`: a file for node_exporter's textfile collector (text format 0.0.4).

https://prometheus.io/docs/instrumenting/exposition_formats/ and https://github.com/prometheus/node_exporter#textfile-collector: no
timestamps, LF, a final newline, HELP and TYPE once a metric and always the same, or the collector refuses every file in the folder.
Labels are the profile, the stage, the finding's id and its severity: their number is bounded whatever a server says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from probe.facts import Certified, Found, LoggedOn, Verified, instant
from probe.output import Context
from probe.output._came_back import came_back
from probe.output._safe import safe
from probe.plain import dataclass
from probe.report import Report, Verdict, worst_verdict
from probe.report.collection import Tally, tally

# node_exporter runs as a user of its own.
READ_BY_ALL = True

_VERDICTS = ("ok", "warning", "critical", "unknown")
Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge. When one profile was run more than once (several nodes), `keep` says which of two values is shown: the worse.

    `usual`: a rule or a panel of deploy/ uses it.
    """

    name: str
    help: str
    samples: Callable[[Report], Iterator[Sample]]
    keep: Callable[[float, float], float] = max
    usual: bool = True


def write(reports: Sequence[Report], context: Context) -> str:
    """Every metric with its HELP and TYPE, also when this run has no sample of it."""
    return text(reports, full=True)


def text(reports: Sequence[Report], *, full: bool) -> str:
    """The same; unless `full`, only what our own rules and panels use, without findings that are no more than worth knowing."""
    return "".join(header + lines for header, lines in zip(headers(full=full), samples(reports, full=full), strict=True))


def headers(*, full: bool) -> list[str]:
    """HELP and TYPE of each metric."""
    return [
        f"# HELP submission_probe_{metric.name} {metric.help}\n# TYPE submission_probe_{metric.name} gauge\n"
        for metric in (_METRICS if full else _USUAL)
    ]


def samples(reports: Sequence[Report], *, full: bool) -> list[str]:
    """The lines that belong below each of `headers`, in that order. Those of one profile do not depend on another's: whoever serves
    many keeps them."""
    return ["".join(f"{line}\n" for line in _lines(metric, reports)) for metric in (_METRICS if full else _USUAL)]


def _lines(metric: Metric, reports: Sequence[Report]) -> Iterator[str]:
    series: dict[str, float] = {}
    for report in _as_one(reports) if metric.samples is _verdict else reports:
        for labels, value in metric.samples(report):
            written = ",".join(f'{name}="{_escaped(text)}"' for name, text in {"profile": report.profile, **labels}.items())
            series[written] = metric.keep(series[written], value) if written in series else value
    for written, value in series.items():
        yield f"submission_probe_{metric.name}{{{written}}} {_value(value)}"


def _as_one(reports: Sequence[Report]) -> list[Report]:
    """A profile has one verdict, the worst of its reports': of several nodes, of a collection and the run after it."""
    worst: dict[str, Verdict] = {}
    for report in reports:
        worst[report.profile] = worst_verdict((report.verdict, worst.get(report.profile, report.verdict)))
    return [replace(report, verdict=worst[report.profile]) for report in reports]


def _escaped(text: str) -> str:
    """A label's value: control characters are made visible, then backslash and double quote are escaped."""
    return safe(text).replace("\\", "\\\\").replace('"', '\\"')


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))


def _one(number: Callable[[Report], float | None]) -> Callable[[Report], Iterator[Sample]]:
    def samples(report: Report) -> Iterator[Sample]:
        value = number(report)
        if value is not None:
            yield {}, float(value)

    return samples


def _verdict(report: Report) -> Iterator[Sample]:
    for verdict in _VERDICTS:
        yield {"verdict": verdict}, float(report.verdict == verdict)


def _stage_seconds(report: Report) -> Iterator[Sample]:
    for stage in report.stages:
        if stage.status != "skipped":
            yield {"stage": stage.name}, stage.record.seconds


def _stage_success(report: Report) -> Iterator[Sample]:
    for stage in report.stages:
        if stage.status != "skipped":
            yield {"stage": stage.name}, float(stage.status != "failed")


def _findings(report: Report) -> Iterator[Sample]:
    for finding in report.findings:
        yield {"stage": finding.stage, "finding": finding.id, "severity": finding.severity}, 1.0


def _wrong(report: Report) -> Iterator[Sample]:
    yield from ((labels, value) for labels, value in _findings(report) if labels["severity"] != "info")


def _not_after(report: Report) -> Iterator[Sample]:
    for stage in report.stages:
        ends = instant(stage.record.seen(Certified).not_after)
        if ends is not None:
            yield {"stage": stage.name}, ends


def _came_back(report: Report, number: Callable[[Verified], float | None]) -> float | None:
    """A number of the delivered message; None where nobody looked at it."""
    seen = came_back(report)
    return None if seen is None else number(seen)


def _dkim_passes(seen: Verified) -> float | None:
    """Nothing where a resolver's silence is all that is known."""
    results = {one["result"] for one in seen.signatures}
    return None if results == {"unknown"} else float("pass" in results)


def _says_pass(seen: Verified, method: str) -> float | None:
    said = seen.said_of(method)
    return None if said is None else float(said["result"] == "pass")


def _tallied(number: Callable[[Tally], float]) -> Callable[[Report], Iterator[Sample]]:
    return _one(lambda report: number(found) if (found := tally(report)) else None)


def _alarm(report: Report) -> float | None:
    return float(report.alarms in ("critical", "unknown")) if report.notify_after else None


def _messages(report: Report) -> float | None:
    return next((seen for stage in report.stages if (seen := stage.record.seen(LoggedOn).messages) is not None), None)


def _of_finds(report: Report, count: Callable[[Found], int | None]) -> float | None:
    """The sum over the mailboxes that were looked into; None without any."""
    counts = [number for stage in report.stages if (number := count(stage.record.seen(Found))) is not None]
    return sum(counts) if counts else None


_METRICS = (
    Metric("success", "Whether the run was ok or had warnings only.", _one(lambda r: r.verdict in ("ok", "warning")), min),
    Metric("verdict", "1 for the verdict of the last run, 0 for the others.", _verdict),
    Metric(
        "failures_in_a_row",
        "Runs in a row that were not well, where they are counted (--notify-after).",
        _one(lambda r: r.failures_in_a_row if r.notify_after else None),
    ),
    Metric("alarm", "Whether so many failures in a row are an alarm (--notify-after).", _one(_alarm)),
    Metric("duration_seconds", "Seconds the whole run took.", _one(lambda r: r.seconds)),
    Metric(
        "delivery_seconds",
        "Seconds from the final reply to the message until a reader first saw it.",
        _one(lambda r: r.delivery_seconds),
    ),
    Metric("stage_duration_seconds", "Seconds a stage took; absent when it was skipped.", _stage_seconds, usual=False),
    Metric("stage_success", "Whether a stage ended well; absent when it was skipped.", _stage_success, min, usual=False),
    Metric("finding", "1 for each thing found wrong or worth knowing.", _findings),
    Metric("certificate_not_after_timestamp_seconds", "When the certificate shown in a stage ends, Unix time.", _not_after, min),
    Metric("mailbox_messages", "Messages in the probe's mailbox before the run's own (IMAP4).", _one(_messages), usual=False),
    Metric(
        "mailbox_messages_ours",
        "Earlier messages of this installation among the last ones there.",
        _one(lambda r: _of_finds(r, lambda found: found.ours)),
        usual=False,
    ),
    Metric(
        "leftovers_deleted",
        "Messages of earlier runs that the run deleted.",
        _one(lambda r: _of_finds(r, lambda found: None if found.ours is None else sum(one["deleted"] for one in found.leftovers))),
        usual=False,
    ),
    Metric(
        "dkim_pass",
        "Whether the delivered message bears a DKIM signature that holds; absent where it was not looked at.",
        _one(lambda r: _came_back(r, _dkim_passes)),
        min,
        usual=False,
    ),
    Metric(
        "dmarc_pass",
        "Whether the receiving side says that DMARC passes; absent where it says nothing.",
        _one(lambda r: _came_back(r, lambda seen: _says_pass(seen, "dmarc"))),
        min,
        usual=False,
    ),
    Metric(
        "spf_pass",
        "Whether the receiving side says that SPF passes; absent where it says nothing.",
        _one(lambda r: _came_back(r, lambda seen: _says_pass(seen, "spf"))),
        min,
        usual=False,
    ),
    Metric(
        "spam_score",
        "The highest score that a spam filter wrote, in its own unit; absent where none did.",
        _one(lambda r: _came_back(r, lambda seen: max((s for one in seen.spam if (s := one["score"]) is not None), default=None))),
        usual=False,
    ),
    Metric(
        "hops",
        "Received fields of the delivered message, 50 at most; absent where it was not looked at.",
        _one(lambda r: _came_back(r, lambda seen: float(len(seen.hops)))),
        usual=False,
    ),
    Metric(
        "hops_without_tls",
        "Of these hops, those over a network without TLS.",
        _one(lambda r: _came_back(r, lambda seen: float(sum(hop.get("transport") == "none" for hop in seen.hops)))),
        usual=False,
    ),
    Metric("collection_sent", "Messages sent earlier that the collection looked for.", _tallied(lambda t: t.sent)),
    Metric("collection_collected", "Messages sent earlier that the collection found.", _tallied(lambda t: t.collected)),
    Metric("collection_late", "Messages found by the collection that arrived late.", _tallied(lambda t: t.late)),
    Metric("collection_lost", "Messages that the collection gave up as lost.", _tallied(lambda t: t.lost)),
    Metric(
        "collection_oldest_outstanding_seconds",
        "Seconds since the oldest message was sent that has not arrived; 0 without any.",
        _tallied(lambda t: t.oldest_outstanding),
    ),
    Metric("last_run_timestamp_seconds", "When the last run began, Unix time.", _one(lambda r: instant(r.started)), min),
)
_USUAL = tuple(replace(metric, samples=_wrong) if metric.samples is _findings else metric for metric in _METRICS if metric.usual)
