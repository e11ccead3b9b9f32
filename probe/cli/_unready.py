"""Where no run can begin, the file for node_exporter says so: one that stays as it was looks like health for ever."""

import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probe.report import Report

_RENEWED = "prometheus"


@contextmanager
def said_in(files: Sequence[tuple[str, Path]], names: Sequence[str], settings: Mapping[str, object]) -> Iterator[None]:
    """Where a mistake keeps every run from beginning, each profile of `names` is unknown in the --report files of that format.

    Other formats are of one run, and there was none. The ProfileError goes on.
    """
    try:
        yield
    except Exception as error:
        paths = [path for name, path in files if name == _RENEWED]
        if paths and type(error).__name__ == "ProfileError":  # not imported: a run that goes well does not need it
            _write(paths, [_called(name, settings) for name in names], str(error))
        raise


def _called(given: str, settings: Mapping[str, object]) -> str:
    """What its runs are labelled with: by a faulty profile's file where it can say nothing itself."""
    from probe.profile import ProfileError
    from probe.tasks.run import load_profile

    try:
        return load_profile(given, settings).name
    except ProfileError:
        return Path(given).stem


def _write(paths: Sequence[Path], names: Sequence[str], why: str) -> None:
    from probe.output import Context, output
    from probe.state.files import write_atomically

    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    reports = [_unknown(name, started, why) for name in dict.fromkeys(names)]
    text = output(_RENEWED).write(reports, Context(started=started, seconds=0.0))
    for path in paths:
        try:
            write_atomically(path, text, whatever_umask=True)
        except OSError as error:
            print(f"probe: cannot write {path}: {error.strerror or error}", file=sys.stderr)


def _unknown(name: str, started: str, why: str) -> "Report":
    from probe.record import Target
    from probe.report import Report

    return Report(secrets.token_hex(8), name, Target("", 0, ""), started, 0.0, "unknown", None, None, (), (), (), error=why)
