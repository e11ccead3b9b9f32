"""The recorded runs (tests/recorded) as every test of an output wants them."""

from pathlib import Path

from probe.output import Context, output
from probe.runs.saved import Saved, read

FOLDER = Path(__file__).parent.parent / "recorded"
NAMES = tuple(path.stem for path in sorted(FOLDER.glob("*.json")))
# The outputs that these tests speak of; another one brings tests of its own.
OURS = ("text", "json", "jsonl", "markdown", "github", "nagios", "prometheus", "junit", "tap", "html")
HOSTILE = tuple(name for name in NAMES if name.startswith("hostile-"))


def saved(name: str) -> Saved:
    path = FOLDER / f"{name}.json"
    return read(path.read_text(encoding="ascii"), path.name)


def told(format: str, name: str, *, transcript: bool = False) -> str:
    run = saved(name)
    return output(format).write(run.reports, Context(run.started, run.seconds, transcript=transcript, version=run.version))
