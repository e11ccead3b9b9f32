"""What adds up over time, as Prometheus metrics; the last run itself is shown by output/prometheus.py.

Labels are the profile, the verdict and the stage: their number is bounded whatever a server says.
https://prometheus.io/docs/practices/histograms/ and https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest

from probe.plain import dataclass
from probe.report import Report
from probe.serve.totals import Family, Totals, escaped, families, number
from probe.version import __version__


@dataclass(frozen=True, slots=True)
class Standing:
    """How a profile stands now; what is None has no series. Instants are Unix time, `oldest` is seconds."""

    leftovers: int
    oldest: float
    last_success: float | None
    stale: bool | None
    valid: bool
    secrets: bool | None


_STANDING = {
    "leftovers": Family("leftovers", "gauge", "Messages of runs that are over, not known to be gone."),
    "oldest": Family("oldest_outstanding_seconds", "gauge", "Seconds since the oldest of these was sent; 0 without any."),
    "last_success": Family("last_success_timestamp_seconds", "gauge", "When a run was last ok or had warnings only."),
    "stale": Family(
        "stale", "gauge", "Whether the runs have stopped: none ended when the schedule says; absent without one."
    ),
    "valid": Family("profile_valid", "gauge", "Whether the profile's file could be served as it is now."),
    "secrets": Family(
        "secrets_available", "gauge", "Whether the secrets and files that the profile names could be had when last wanted."
    ),
}  # fmt: skip


class Metrics:
    """Each profile's totals, and what there is once. Names begin with `submission_probe_`; those of the process itself with
    `process_`. `full`: as of Totals."""

    def __init__(self, *, full: bool = False) -> None:
        self._full = full
        self._totals: dict[str, Totals] = {}
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def gauge(name: str, help: str, labels: Sequence[str] = ()) -> Any:
            return Gauge(f"submission_probe_{name}", help, labels, registry=registry)

        self._queue_up: Any = partial(gauge, "queue_up", "Whether the queue that runs are taken from can be reached.")
        self.reloaded = gauge("reload_success", "Whether the last reading of the profiles went well.")
        self.reloaded_at = gauge("reload_timestamp_seconds", "When the profiles were last read well, Unix time.")
        gauge("build_info", "The version of submission-probe.", ["version"]).labels(__version__).set(1)

    def begin(self, profile: str) -> None:
        """Series that begin at 0, so that the first increase is seen."""
        if profile not in self._totals:
            self._totals[profile] = Totals(profile, full=self._full)

    def forget(self, profile: str) -> None:
        """The profile is not served any more: a series that stands still for ever would look like health."""
        self._totals.pop(profile, None)

    def show_queue(self, *, up: bool) -> None:
        """Of a worker: whether its queue can be reached."""
        if isinstance(self._queue_up, partial):
            self._queue_up = self._queue_up()
        self._queue_up.set(up)

    def add(self, profile: str, reports: Sequence[Report]) -> None:
        """A run's reports: as Totals.add. Its lines are rendered at once: a scrape would have to render those of all."""
        self._totals[profile].add(reports)
        self._totals[profile].lines()

    def add_collected(self, profile: str, late: int, lost: int) -> None:
        self._totals[profile].add_collected(late, lost)

    def parts(self, standing: Mapping[str, Standing]) -> list[str]:
        """Text format 0.0.4: all lines of one name together, below its header. `standing` by profile."""
        totals = together([one.header() for one in families(full=self._full)], [one.lines() for one in self._totals.values()])
        return [*totals, *_stand(standing), generate_latest(self._registry).decode()]


def together(headers: Sequence[str], profiles: Sequence[Sequence[str]]) -> list[str]:
    """Each header, and below it the lines that each profile has there."""
    return [text for index, header in enumerate(headers) for text in (header, *(lines[index] for lines in profiles))]


def _stand(standing: Mapping[str, Standing]) -> Iterator[str]:
    labels = {name: f'{{profile="{escaped(name)}"}}' for name in standing}
    for key, family in _STANDING.items():
        yield family.header()
        for name, one in standing.items():
            value = getattr(one, key)
            if value is not None:
                yield f"submission_probe_{family.name}{labels[name]} {number(value)}\n"
