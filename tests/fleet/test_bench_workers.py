"""The measurement of many workers, with few profiles: it runs through, and its counting finds what is late, lost or doubled."""

import asyncio
import sys
from dataclasses import replace

from benchmarks.workers import Noted, Sizes, judged, rows
from probe.serve.moments import first_after
from tests.serve.serving import ROOT

SIZES = Sizes(profiles=3, interval=60, window=120, stalled=10)
NAMES = ["a", "b", "c"]
BEGIN = 1_800_000_000.0


def story(*, late: float = 1.0) -> list[Noted]:
    """Each profile runs at each of its moments, this much later."""
    notes = []
    for name in NAMES:
        first = first_after(name, SIZES.interval, BEGIN)
        for moment in (first, first + 60):
            notes += [Noted(moment + late, "begin", name, 1), Noted(moment + late + 0.05, "end", name, 1)]
    return notes


def counted(notes: list[Noted]) -> dict[str, float]:
    return judged(notes, NAMES, SIZES, (BEGIN, BEGIN + 119.9), killed=7)


def test_what_is_late_lost_and_doubled_is_counted() -> None:
    good = counted(story(late=2.5))
    assert (good["wanted"], round(good["p99"], 3), good["lost"], good["doubled"]) == (6, 2.5, 0, 0)
    notes = story()
    twice = [replace(one, at=one.at + 3) for one in notes[:2]]
    assert counted(notes[2:])["lost"] == 1 and counted([*notes, *twice])["doubled"] == 1
    again = Noted(notes[0].at + 20, "begin", notes[0].profile, 2), Noted(notes[0].at + 20.05, "end", notes[0].profile, 2)
    assert counted([*notes, *again])["doubled"] == 1
    # The killed worker had begun it: another one's run of that moment is no second.
    cut = Noted(notes[0].at, "begin", notes[0].profile, 7)
    taken_up = counted([cut, *notes[2:], *again])
    assert (taken_up["lost"], taken_up["doubled"], taken_up["cut"], round(taken_up["last"])) == (0, 0, 1, 21)


async def test_it_runs_through_with_few_profiles() -> None:
    options = ["--profiles", "9", "--interval", "6", "--window", "18", "--stalled", "4"]
    done = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.workers",
        *options,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await done.communicate()
    text = said.decode()
    # Not whether each goal is met: that is a matter of the machine.
    assert done.returncode in (0, 1) and not wrong, (text, wrong.decode())
    for figure, *_ in rows({"p99": 0, "lost": 0, "doubled": 0}):
        assert f"{figure} " in text, text
    assert "runs lost, one worker killed                          0.00" in text, text
