"""The live stage list on stderr, only when that is a terminal."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.observe.journal import Watch
    from probe.record import StageRecord


@contextmanager
def progress(profiles: Sequence[str], *, shown: bool) -> Iterator[list["Watch | None"]]:
    """One watch a profile: a line that names the stage under way, gone when the block ends."""
    if not shown or not sys.stderr.isatty():
        yield [None] * len(profiles)
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.fields[profile]}", markup=False), TextColumn("{task.fields[now]}", markup=False))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        yield [_watch(bar, profile) for profile in profiles]


def _watch(bar: Any, profile: str) -> "Watch":
    task = bar.add_task("", total=None, profile=profile, now="waiting")
    under_way: dict[str, None] = {}
    # By name and beginning: a second look's stage is the first one's, a repetition's is not.
    done: set[tuple[str, float]] = set()

    def watch(stage: str, ended: "StageRecord | None") -> None:
        if ended is None:
            under_way[stage] = None
        else:
            under_way.pop(stage, None)
            done.add((stage, ended.at))
        bar.update(task, now=f"{len(done)} done  {', '.join(under_way)}")

    return watch
