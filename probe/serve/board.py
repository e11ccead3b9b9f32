"""What came of the runs, as long as the program runs: the last reports of each profile, and how it went before."""

import json
import time
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import field, replace

from probe.output import prometheus
from probe.plain import dataclass
from probe.report import Report, Verdict, worst_verdict
from probe.report.as_json import to_json
from probe.report.collection import runs
from probe.report.fleet import Sighting, sightings_of
from probe.serve.metrics import Metrics, together
from probe.serve.targets import Target

# Of each profile; packed, a run is about 5 KB.
MOST_RUNS = 20


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was carried out. `started` is RFC 3339 UTC, seconds are floats; `packed` the run object (contract section 5)."""

    id: str
    profile: str
    started: str
    verdict: Verdict
    seconds: float
    delivery_seconds: float | None
    failed_stage: str | None
    packed: bytes

    def text(self) -> str:
        """The run object as JSON."""
        return zlib.decompress(self.packed).decode()


@dataclass(slots=True)
class State:
    """One profile's: its last reports, its runs (oldest first), when it was last well and when it runs next (Unix time).

    `due`: when its next run should have ended at the latest (monotonic clock; None without a schedule). `fault`: why its file
    cannot be served as it is now. `samples`: the metrics of `latest`, as prometheus.samples writes them; `sightings`: its
    certificates.
    """

    latest: tuple[Report, ...] = ()
    runs: deque[Run] = field(default_factory=lambda: deque(maxlen=MOST_RUNS))
    last_success: float | None = None
    next_run: float | None = None
    due: float | None = None
    fault: str | None = None
    samples: list[str] = field(default_factory=list)
    sightings: tuple[Sighting, ...] = ()

    @property
    def is_stale(self) -> bool:
        """Whether its runs have stopped."""
        return self.due is not None and time.monotonic() > self.due

    @property
    def could_begin(self) -> bool | None:
        """Whether the last run had the secrets and files that the profile names; None before there was one."""
        return all(report.stages for report in self.latest) if self.latest else None

    @property
    def is_well(self) -> bool:
        """Whether the last run was ok or had warnings only."""
        return all(report.verdict in ("ok", "warning") for report in self.latest)


class Board:
    """Every profile's State by name, and the metrics that add up over time."""

    def __init__(self, *, full: bool = False) -> None:
        self.states: dict[str, State] = {}
        self._full = full
        self.metrics = Metrics(full=full)

    def keep_only(self, names: Sequence[str]) -> None:
        """The profiles that are served from now on; what is gone is forgotten, its series end."""
        for name in [name for name in self.states if name not in names]:
            del self.states[name]
            self.metrics.forget(name)
        for name in names:
            self.states.setdefault(name, State())
            self.metrics.begin(name)

    def note(self, target: Target, reports: Sequence[Report]) -> None:
        """A run is over, and what came of earlier messages is among its reports; or that alone, where nobody asked for a run. One
        of a profile that was taken off the list meanwhile is not kept."""
        state = self.states.get(target.name)
        if state is None or not reports:
            return
        verdict = worst_verdict(report.verdict for report in reports)
        state.runs.append(_run(target.name, reports, verdict))
        self.metrics.add(target.name, reports)
        if runs(reports):
            if verdict in ("ok", "warning"):
                state.last_success = time.time()
            state.latest = tuple(reports)
        else:
            state.latest = (*runs(state.latest), *reports)
        state.samples = prometheus.samples(state.latest, full=self._full)
        # Whose runs saw them is not shown.
        state.sightings = tuple(replace(one, profiles=()) for one in sightings_of(state.latest))

    def last_runs(self) -> list[str]:
        """The metrics of every profile's last run: text format 0.0.4."""
        return together(prometheus.headers(full=self._full), [state.samples for state in self.states.values() if state.samples])

    def expect(self, name: str, seconds: float, grace: float) -> None:
        """The next run begins in so many seconds, and should have ended `grace` seconds later at the latest."""
        if name in self.states:
            self.states[name].next_run = time.time() + seconds
            self.states[name].due = time.monotonic() + seconds + grace

    @property
    def is_stuck(self) -> bool:
        """Whether every profile that has a schedule has runs no more."""
        scheduled = [state for state in self.states.values() if state.due is not None]
        return bool(scheduled) and all(state.is_stale for state in scheduled)

    def note_collected(self, target: Target, late: int, lost: int) -> None:
        """Messages of earlier runs that were found only now, and those that are given up."""
        if target.name in self.states:
            self.metrics.add_collected(target.name, late, lost)

    def find(self, id: str) -> Run | None:
        """The run of that id, where it is still kept."""
        return next((run for state in self.states.values() for run in state.runs if run.id == id), None)


def _run(name: str, reports: Sequence[Report], verdict: Verdict) -> Run:
    delivered = [report.delivery_seconds for report in runs(reports) or reports if report.delivery_seconds is not None]
    seconds = max(report.seconds for report in reports)
    whole = to_json(reports, started=reports[0].started, seconds=seconds)
    failed = next((report.failed_stage for report in reports if report.failed_stage), None)
    packed = zlib.compress(json.dumps(whole).encode())
    return Run(reports[0].id, name, reports[0].started, verdict, seconds, max(delivered, default=None), failed, packed)
