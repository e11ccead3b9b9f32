"""What adds up for one profile, and its lines in Prometheus' text format 0.0.4.

Written as prometheus_client writes it (tests/serve/test_totals.py compares them): that package renders all series at each scrape,
which takes seconds with 500 profiles; here a profile's lines are rendered when they change.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import field

from prometheus_client.utils import floatToGoString

from probe.plain import dataclass
from probe.report import EXIT_CODES, Report, worst_verdict
from probe.report.collection import runs

# A local delivery takes milliseconds, one through greylisting minutes.
DELIVERY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120)
STAGE_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_NAME = "submission_probe_"


@dataclass(frozen=True, slots=True)
class Family:
    """Series of one name. `created`: when they began, a gauge of its own (OpenMetrics' `_created`)."""

    name: str
    kind: str
    help: str
    created: bool = False

    def header(self) -> str:
        shown = f"{_NAME}{self.name}{'_created' if self.created else ''}"
        return f"# HELP {shown} {self.help}\n# TYPE {shown} {'gauge' if self.created else self.kind}\n"


def families(*, full: bool) -> list[Family]:
    """Those of `Totals.lines`, in their order."""
    stages = "histogram" if full else "summary"
    found = [
        Family("runs_total", "counter", "Runs since the start, by verdict."),
        Family("delivery_latency_seconds", "histogram", "Seconds from the final reply until a reader saw the message."),
        Family("stage_latency_seconds", stages, "Seconds each stage took."),
        Family("messages_sent_total", "counter", "Messages that the server accepted."),
        Family("messages_late_total", "counter", "Messages found only after their run was over; they were deleted."),
        Family("messages_missing_total", "counter", "Messages never found, given up after limits.lost_after."),
    ]
    if not full:
        return found
    began = [Family(one.name.removesuffix("_total"), one.kind, one.help, created=True) for one in found]
    return [one for pair in zip(found, began, strict=True) for one in pair]


@dataclass(slots=True)
class Times:
    """How often something took how long. `counts` by the first bound that it did not exceed, the last one infinite."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0
    created: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def lines(self, name: str, labels: str, *, buckets: bool) -> str:
        """`labels`: without braces, sorted, none before `le`."""
        total, written = 0, []
        for bound, count in zip(_BOUNDS[self.bounds], self.counts, strict=True):
            total += count
            if buckets:
                written.append(f'{name}_bucket{{le="{bound}",{labels}}} {total}.0\n')
        return f"{''.join(written)}{name}_count{{{labels}}} {total}.0\n{name}_sum{{{labels}}} {number(self.sum)}\n"


_BOUNDS: dict[tuple[float, ...], tuple[str, ...]] = {
    bounds: (*map(floatToGoString, bounds), "+Inf") for bounds in (DELIVERY_SECONDS, STAGE_SECONDS, ())
}


class Totals:
    """Of one profile. Unless `full`, a stage's times are a sum and a count (some 23 stages a profile), and no series says when
    another began."""

    def __init__(self, profile: str, *, full: bool) -> None:
        self._label, self._full = f'profile="{escaped(profile)}"', full
        # Each begins at 0, so that the first increase is seen.
        self._runs = dict.fromkeys(EXIT_CODES, 0)
        self._delivery = Times(DELIVERY_SECONDS)
        self._stages: dict[str, Times] = {}
        self._sent = self._late = self._missing = 0
        self._created = self._delivery.created
        self._rendered: list[str] | None = None

    def add(self, reports: Sequence[Report]) -> None:
        """A run's reports: one, or one of each node. What came of earlier messages among them is no run, and its times, by servers'
        stamps and of mail that is known to be late, are none of a run's."""
        self._rendered = None
        own = runs(reports)
        if own:
            self._runs[worst_verdict(report.verdict for report in own)] += 1
        for report in own:
            if report.delivery_seconds is not None:
                self._delivery.observe(report.delivery_seconds)
            self._sent += any(stage.name == "smtp.submit" and stage.record.status == "ok" for stage in report.stages)
            # A run that proves nothing took no time that says something.
            for stage in report.stages if report.verdict != "unknown" else ():
                if stage.status in ("ok", "warning"):
                    if stage.name not in self._stages:
                        self._stages[stage.name] = Times(STAGE_SECONDS if self._full else ())
                    self._stages[stage.name].observe(stage.record.seconds)

    def add_collected(self, late: int, lost: int) -> None:
        self._rendered = None
        self._late += late
        self._missing += lost

    def lines(self) -> list[str]:
        """The lines of each of `families`, in that order, without their headers."""
        if self._rendered is None:
            self._rendered = self._render()
        return self._rendered

    def _render(self) -> list[str]:
        label, stages = self._label, [(f'{self._label},stage="{escaped(name)}"', times) for name, times in self._stages.items()]
        verdicts = [(f'{label},verdict="{verdict}"', count) for verdict, count in self._runs.items()]
        found = [
            "".join(f"{_NAME}runs_total{{{labels}}} {count}.0\n" for labels, count in verdicts),
            self._delivery.lines(f"{_NAME}delivery_latency_seconds", label, buckets=True),
            "".join(times.lines(f"{_NAME}stage_latency_seconds", labels, buckets=self._full) for labels, times in stages),
            *(
                f"{_NAME}messages_{name}_total{{{label}}} {count}.0\n"
                for name, count in (("sent", self._sent), ("late", self._late), ("missing", self._missing))
            ),
        ]
        if not self._full:
            return found
        created = number(self._created)
        began = [
            "".join(f"{_NAME}runs_created{{{labels}}} {created}\n" for labels, _ in verdicts),
            f"{_NAME}delivery_latency_seconds_created{{{label}}} {created}\n",
            "".join(f"{_NAME}stage_latency_seconds_created{{{to}}} {number(times.created)}\n" for to, times in stages),
            *(f"{_NAME}messages_{name}_created{{{label}}} {created}\n" for name in ("sent", "late", "missing")),
        ]
        return [one for pair in zip(found, began, strict=True) for one in pair]


def number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def escaped(text: str) -> str:
    """A label's value."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
