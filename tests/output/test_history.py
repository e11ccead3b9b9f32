"""Past runs: columns under their headings, percentiles, bars in a terminal, a picture."""

import random
from pathlib import Path
from statistics import quantiles
from xml.etree import ElementTree

import pytest

from probe.cli import entry
from probe.output._history import page, picture
from probe.output._past_runs import cells, plot, spreads, summary, table
from probe.report.statistics import PastRun, percentiles, stage_seconds
from probe.state.history import add
from tests.output.runs import saved

SVG = "{http://www.w3.org/2000/svg}"


def run(minute: int, seconds: float | None, verdict: str = "ok", profile: str = "p") -> PastRun:
    return PastRun(started=f"2026-11-27T08:{minute:02d}:00.000000Z", profile=profile, verdict=verdict, seconds=seconds)


RUNS = [
    run(0, 0.25),
    run(1, 12345.678, "warning", "exchange-2016"),
    run(2, None, "critical", "münchen-日本"),
    run(3, 3.0, "unknown", "a-very-long-profile-name-of-a-site"),
]
STAGES = [None, None, "smtp.certificate", "imap.find"]


@pytest.mark.parametrize("width", [None, 60, 80, 140])
def test_every_column_stands_under_its_heading(width: int | None) -> None:
    head, *lines = table(RUNS, STAGES, width)
    assert len(lines) == len(RUNS)
    verdict = cells(head[: head.index("verdict")])
    ends = cells(head[: head.index("delivery") + len("delivery")])
    for line, one, stage in zip(lines, RUNS, STAGES, strict=True):
        before = line[: line.rindex(f"  {one['verdict']}") + 2]
        assert cells(before) == verdict
        number = "-" if one["seconds"] is None else f"{one['seconds']:.3f} s"
        assert cells(line[: line.index(f" {number}", len(before)) + len(number) + 1]) == ends
        if stage:
            assert cells(line[: line.index(stage)]) == cells(head[: head.index("failed stage")])
        assert width is None or width < 80 or cells(line) <= width
    assert width is not None or "a-very-long-profile-name-of-a-site" in lines[-1]


def test_percentiles_are_those_of_the_standard_library() -> None:
    values = [random.Random(7).lognormvariate(0, 1) for _ in range(501)]
    cuts = quantiles(values, n=100, method="inclusive")
    assert percentiles(values) == {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98]}
    assert percentiles([2.5]) == {"p50": 2.5, "p95": 2.5, "p99": 2.5}


def test_each_stage_has_its_percentiles() -> None:
    """Of stages that went well; one that failed took as long as its time limit says, not as long as the server does."""
    reports = [
        {"seconds": 1.0 * n, "delivery_seconds": None if n == 3 else n / 10,
         "stages": [{"name": "smtp.auth", "status": "failed" if n == 3 else "ok", "seconds": n / 100}]}
        for n in (1, 2, 3)
    ]  # fmt: skip
    assert stage_seconds(reports) == {"delivery": [0.1, 0.2], "total": [1.0, 2.0, 3.0], "smtp.auth": [0.01, 0.02]}
    head, *lines = spreads(stage_seconds(reports))
    assert head.split() == ["seconds", "runs", "p50", "p95", "p99", "max"]
    assert [line.split() for line in lines][2] == ["smtp.auth", "2", "0.0150", "0.0195", "0.0199", "0.0200"]
    assert {len(line) for line in [head, *lines]} == {len(head)}


@pytest.mark.parametrize("width", [20, 60, 80, 140])
def test_bars_fit_and_grow_with_the_seconds(width: int) -> None:
    runs = [run(n % 60, None if n == 5 else n / 10, "critical" if n == 5 else "ok") for n in range(300)]
    lines = list(plot("p", runs, width))
    bars = [line.partition("│")[2] for line in lines if "│" in line]
    assert len(bars) == 8 and all(len(line) <= max(width, 45) for line in lines)
    heights = [sum(column != " " for column in (row[at : at + 1] or " " for row in bars)) for at in range(len(bars[-1]))]
    assert heights == sorted(heights) and heights[-1] == 8
    assert lines[1].startswith("29.900 │") and sum(line.strip() == "x" for line in lines) == 1
    assert list(plot("p", [run(0, None, "critical")], width))[1:] == ["  nothing was delivered"]


def test_the_summary_fits_where_a_width_is_given() -> None:
    runs = [run(n, 0.1 * n) for n in range(60)]
    for width in (60, 80, 140):
        assert max(map(cells, summary("exchange-2016", runs, width))) <= width
    assert summary("p", runs)[1] == "  delivery in s  p50 2.950  p95 5.605  p99 5.841  max 5.900"


def test_the_picture_is_svg_with_a_sign_for_each_run_whatever_a_profile_is_called() -> None:
    hostile = '"><script>alert(1)</script>\x1b[31m\u202e'
    runs = [*RUNS, run(4, 1.0, "ok", hostile), run(5, 0.0, "ok", hostile)]
    root = ElementTree.fromstring(picture(runs))
    assert root.tag == f"{SVG}svg" and not list(root.iter(f"{SVG}script"))
    assert len(list(root.iter(f"{SVG}title"))) == len(runs) == len(list(root.iter(f"{SVG}circle"))) + 3
    said = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert any("2 runs, 0 failed; p50 0.500 s, p95 0.950 s, p99 0.990 s" in text for text in said)
    assert not any(mark in picture(runs) + page(runs, hostile) for mark in ("\x1b", "\u202e", "<script"))


def test_a_picture_of_no_runs_is_empty() -> None:
    assert list(ElementTree.fromstring(picture([]))) == []


def test_the_command_shows_table_stages_plot_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, file = tmp_path / "history.sqlite", tmp_path / "plot.svg"
    add(store, [*saved("ok").reports, *saved("failed-smtp-auth").reports], keep_days=100_000)

    def said(*options: str) -> str:
        assert entry(["history", "--history", str(store), *options]) == 0
        return capsys.readouterr().out

    assert said().splitlines()[0].split() == ["started", "profile", "verdict", "delivery", "failed", "stage"]
    assert "demo: 2 runs, 1 failed" in said()
    assert "smtp.starttls" in said("--stages") and "p99" in said("--stages")
    assert "demo: delivery in seconds, 2 runs" in said("--plot")
    assert said("--svg", str(file)) == "" and ElementTree.parse(file).getroot().tag == f"{SVG}svg"


def test_the_plot_can_be_read_where_only_ascii_can_be_said() -> None:
    """As on Windows, in a pipe."""
    import probe.cli._out  # registers the handler of what cannot be said

    assert probe.cli._out
    said = "\n".join(plot("p", [run(n, 0.1 * n) for n in range(9)], 60)).encode("ascii", "probe.stand_in").decode()
    assert "\\" not in said and "|" in said and "+----" in said and "8" in said
