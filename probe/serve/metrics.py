"""What adds up over time, as Prometheus metrics; the last run itself is shown by output/prometheus.py.

Labels are the profile, the verdict and the stage: their number is bounded whatever a server says.
https://prometheus.io/docs/practices/histograms/ and https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from probe.report import EXIT_CODES, Report, Verdict
from probe.version import __version__

# A local delivery takes milliseconds, one through greylisting minutes.
_DELIVERY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120)
_STAGE_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The registry and its metrics. Names begin with `submission_probe_`; those of the process itself with `process_`."""

    def __init__(self) -> None:
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
        self.stages = metric(
            Histogram, "stage_latency_seconds", "Seconds each stage took.", ["profile", "stage"], buckets=_STAGE_SECONDS
        )
        self.sent = metric(Counter, "messages_sent", "Messages that the server accepted.")
        self.late = metric(Counter, "messages_late", "Messages found only after their run was over; they were deleted.")
        self.missing = metric(Counter, "messages_missing", "Messages never found, given up after limits.lost_after.")
        self.leftovers = metric(Gauge, "leftovers", "Messages of runs that are over, not known to be gone.")
        self.oldest = metric(Gauge, "oldest_outstanding_seconds", "Seconds since the oldest of these was sent; 0 without any.")
        self.last_success = metric(Gauge, "last_success_timestamp_seconds", "When a run was last ok or had warnings only.")
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
        counted = (self.runs, self.delivery, self.stages, self.sent, self.late, self.missing)
        for metric in (*counted, self.leftovers, self.oldest, self.last_success):
            metric.remove_by_labels({"profile": profile})

    def add(self, profile: str, reports: Sequence[Report], verdict: Verdict) -> None:
        self.runs.labels(profile, verdict).inc()
        for report in reports:
            if report.delivery_seconds is not None:
                self.delivery.labels(profile).observe(report.delivery_seconds)
            for stage in report.stages:
                if stage.name == "smtp.submit" and stage.record.status == "ok":
                    self.sent.labels(profile).inc()
                if stage.status in ("ok", "warning"):
                    self.stages.labels(profile, stage.name).observe(stage.record.seconds)

    def add_collected(self, profile: str, late: int, lost: int) -> None:
        self.late.labels(profile).inc(late)
        self.missing.labels(profile).inc(lost)

    def text(self) -> str:
        """Text format 0.0.4."""
        return generate_latest(self.registry).decode()
