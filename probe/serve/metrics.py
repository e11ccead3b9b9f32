"""What adds up over time, as Prometheus metrics; the last run itself is shown by output/prometheus.py.

Labels are the profile, the verdict and the stage: their number is bounded whatever a server says.
https://prometheus.io/docs/practices/histograms/ and https://prometheus.io/docs/practices/naming/
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, Summary, generate_latest

from probe.report import EXIT_CODES, Report, worst_verdict
from probe.report.collection import runs
from probe.version import __version__

# A local delivery takes milliseconds, one through greylisting minutes.
_DELIVERY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120)
# When a series began, a series of its own (OpenMetrics' `_created`, as a gauge).
_CREATED = re.compile(r"(?:# (?:HELP|TYPE) )?submission_probe_\w+_created[ {]")
_STAGE_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The registry and its metrics. Names begin with `submission_probe_`; those of the process itself with `process_`.

    Unless `full`, a stage's times are a sum and a count (some 23 stages a profile), and no series says when another began.
    """

    def __init__(self, *, full: bool = False) -> None:
        self._full = full
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        one = ["profile"]

        def metric(kind: type, name: str, help: str, labels: Sequence[str] = one, **more: object) -> Any:
            return kind(f"submission_probe_{name}", help, labels, registry=registry, **more)

        self.runs = metric(Counter, "runs", "Runs since the start, by verdict.", ["profile", "verdict"])
        self.delivery = metric(
            Histogram, "delivery_latency_seconds", "Seconds from the final reply until a reader saw the message.",
            buckets=_DELIVERY_SECONDS,
        )  # fmt: skip
        kind, buckets = (Histogram, {"buckets": _STAGE_SECONDS}) if full else (Summary, {})
        self.stages = metric(kind, "stage_latency_seconds", "Seconds each stage took.", ["profile", "stage"], **buckets)
        self.sent = metric(Counter, "messages_sent", "Messages that the server accepted.")
        self.late = metric(Counter, "messages_late", "Messages found only after their run was over; they were deleted.")
        self.missing = metric(Counter, "messages_missing", "Messages never found, given up after limits.lost_after.")
        self.leftovers = metric(Gauge, "leftovers", "Messages of runs that are over, not known to be gone.")
        self.oldest = metric(Gauge, "oldest_outstanding_seconds", "Seconds since the oldest of these was sent; 0 without any.")
        self.last_success = metric(Gauge, "last_success_timestamp_seconds", "When a run was last ok or had warnings only.")
        self.stale = metric(Gauge, "stale", "Whether the runs have stopped: none ended when the schedule says; absent without one.")
        self.valid = metric(Gauge, "profile_valid", "Whether the profile's file could be served as it is now.")
        self.secrets = metric(
            Gauge, "secrets_available", "Whether the secrets and files that the profile names could be had when last wanted."
        )
        self._queue_up: Any = partial(metric, Gauge, "queue_up", "Whether the queue that runs are taken from can be reached.", [])
        self.reloaded = metric(Gauge, "reload_success", "Whether the last reading of the profiles went well.", [])
        self.reloaded_at = metric(Gauge, "reload_timestamp_seconds", "When the profiles were last read well, Unix time.", [])
        metric(Gauge, "build_info", "The version of submission-probe.", ["version"]).labels(__version__).set(1)

    def begin(self, profile: str) -> None:
        """Series that begin at 0, so that the first increase is seen."""
        for verdict in EXIT_CODES:
            self.runs.labels(profile, verdict)
        for metric in (self.delivery, self.sent, self.late, self.missing):
            metric.labels(profile)

    def forget(self, profile: str) -> None:
        """The profile is not served any more: a series that stands still for ever would look like health."""
        of_profiles = (
            self.runs, self.delivery, self.stages, self.sent, self.late, self.missing, self.leftovers, self.oldest,
            self.last_success, self.stale, self.valid, self.secrets,
        )  # fmt: skip
        for metric in of_profiles:
            metric.remove_by_labels({"profile": profile})

    def show(self, profile: str, *, last_success: float | None, stale: bool | None, secrets: bool | None, valid: bool) -> None:
        """How the profile stands now; what is None has no series."""
        shown = ((self.last_success, last_success), (self.stale, stale), (self.secrets, secrets), (self.valid, valid))
        for metric, value in shown:
            if value is not None:
                metric.labels(profile).set(value)

    def show_queue(self, *, up: bool) -> None:
        """Of a worker: whether its queue can be reached."""
        if isinstance(self._queue_up, partial):
            self._queue_up = self._queue_up()
        self._queue_up.set(up)

    def add(self, profile: str, reports: Sequence[Report]) -> None:
        """A run's reports: one, or one of each node. What came of earlier messages among them is no run, and its times, by servers'
        stamps and of mail that is known to be late, are none of a run's."""
        own = runs(reports)
        if own:
            self.runs.labels(profile, worst_verdict(report.verdict for report in own)).inc()
        for report in own:
            if report.delivery_seconds is not None:
                self.delivery.labels(profile).observe(report.delivery_seconds)
            if any(stage.name == "smtp.submit" and stage.record.status == "ok" for stage in report.stages):
                self.sent.labels(profile).inc()
            # A run that proves nothing took no time that says something.
            for stage in report.stages if report.verdict != "unknown" else ():
                if stage.status in ("ok", "warning"):
                    self.stages.labels(profile, stage.name).observe(stage.record.seconds)

    def add_collected(self, profile: str, late: int, lost: int) -> None:
        self.late.labels(profile).inc(late)
        self.missing.labels(profile).inc(lost)

    def text(self) -> str:
        """Text format 0.0.4."""
        told = generate_latest(self.registry).decode()
        return told if self._full else "".join(line for line in told.splitlines(keepends=True) if not _CREATED.match(line))
