"""Past runs for a terminal: a table, percentiles stage by stage, and a plot of bars."""

from collections.abc import Iterator, Mapping, Sequence

from probe.output._safe import safe
from probe.report import FAILED
from probe.report.statistics import PastRun, percentiles

_BARS = "▁▂▃▄▅▆▇█"
_ROWS = 8
_MOST_BARS = 60


def table(runs: Sequence[PastRun], failed: Sequence[str | None], width: int | None = None) -> list[str]:
    """One line a run, each column as wide as its widest cell; `failed`: the stage that failed, if any.

    `width`: where lines are to fit, the date's year and seconds go, then the end of long names. None: nothing is cut.
    """
    rows = [_cells(run, stage) for run, stage in zip(runs, failed, strict=True)]
    head = ("started", "profile", "verdict", "delivery", "failed stage")
    if width is not None and _wide(head, rows) > width:
        rows = [(row[0][5:16], *row[1:]) for row in rows]
        over = _wide(head, rows) - width
        longest = max(len("profile"), max(map(cells, (row[1] for row in rows)), default=0) - max(0, over))
        rows = [(row[0], _cut(row[1], longest), *row[2:]) for row in rows]
    return columns(head, rows)


def _cells(run: PastRun, failed: str | None) -> tuple[str, ...]:
    seconds = "-" if run["seconds"] is None else f"{run['seconds']:.3f} s"
    return f"{run['started'][:19]}Z", safe(run["profile"]), run["verdict"], seconds, failed or ""


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0, 1, 2, 4)) -> list[str]:
    """Lines whose columns stand under their headings; numbers to the right, the columns `left` to the left."""
    widths = _widths(head, rows)
    return [
        "  ".join(_set(cell, width, at in left) for at, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in (head, *rows)
    ]


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cells, column)) for column in zip(head, *rows, strict=True)]


def _wide(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return sum(_widths(head, rows)) + 2 * (len(head) - 1)


def _set(cell: str, width: int, left: bool) -> str:
    room = " " * (width - cells(cell))
    return cell + room if left else room + cell


def cells(text: str) -> int:
    """How many columns of a terminal the text takes: East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # names that are not ASCII are few

    return cell_len(text)


def _cut(text: str, most: int) -> str:
    if cells(text) <= most:
        return text
    while cells(text) > most - 1:
        text = text[:-1]
    return f"{text}…"


def summary(profile: str, runs: Sequence[PastRun], width: int | None = None) -> list[str]:
    """How many runs, how many failed, with a sparkline as long as fits; below, how long deliveries took."""
    seconds = [run["seconds"] for run in runs if run["seconds"] is not None]
    text = f"{safe(profile)}: {len(runs)} runs, {sum(run['verdict'] in FAILED for run in runs)} failed"
    if len(seconds) < 2:
        return [text]
    room = _MOST_BARS if width is None else min(_MOST_BARS, width - cells(text) - 2)
    bars = f"  {sparkline(seconds[-room:])}" if room > 3 else ""
    spread = "  ".join(f"{name} {value:.3f}" for name, value in (*percentiles(seconds).items(), ("max", max(seconds))))
    return [text + bars, f"  delivery in s  {spread}"]


def spreads(samples: Mapping[str, Sequence[float]]) -> list[str]:
    """Percentiles in seconds, a line for each stage."""
    head = ("seconds", "runs", "p50", "p95", "p99", "max")
    rows = []
    for name, values in samples.items():
        numbers = [*percentiles(values).values(), max(values)]
        rows.append((safe(name), str(len(values)), *(f"{number:.4f}" for number in numbers)))
    return [f"  {line}" for line in columns(head, rows, left=(0,))]


def sparkline(values: Sequence[float]) -> str:
    """The values as bars, lowest to highest."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int((value - low) / span * len(_BARS)))] for value in values)


def plot(profile: str, runs: Sequence[PastRun], width: int) -> Iterator[str]:
    """Delivery times as bars from zero, oldest at the left; where a bar stands for several runs, the slowest of them.

    Below the bars an x where a run failed.
    """
    seconds = [run["seconds"] for run in runs if run["seconds"] is not None]
    yield f"{safe(profile)}: delivery in seconds, {len(runs)} runs"
    if not seconds:
        yield "  nothing was delivered"
        return
    most = max(seconds) or 1.0
    edge = max(len(f"{most:.3f}"), 5)
    groups = list(_groups(runs, max(10, width - edge - 3)))
    heights = [_height(group, most) for group in groups]
    for row in reversed(range(_ROWS)):
        mark = f"{most * (row + 1) / _ROWS:.3f}" if row in (_ROWS - 1, _ROWS // 2 - 1) else ""
        yield f"{mark:>{edge}} │{''.join(_bar(height, row) for height in heights)}".rstrip()
    yield f"{'0':>{edge}} └{'─' * len(groups)}"
    if any(run["verdict"] in FAILED for run in runs):
        yield (
            " " * (edge + 2) + "".join("x" if any(run["verdict"] in FAILED for run in group) else " " for group in groups).rstrip()
        )
    first, last = (run["started"][:16].replace("T", " ") for run in (runs[0], runs[-1]))
    room = len(groups) - len(first) - len(last)
    yield " " * (edge + 2) + (f"{first}{' ' * room}{last}" if room > 0 else f"{first} to {last}")


def _groups(runs: Sequence[PastRun], most: int) -> Iterator[Sequence[PastRun]]:
    """The runs in order, in at most so many groups of nearly the same size."""
    count = min(most, len(runs))
    for index in range(count):
        yield runs[index * len(runs) // count : (index + 1) * len(runs) // count]


def _height(group: Sequence[PastRun], most: float) -> int:
    """In eighths of a row; 0 where nothing was delivered."""
    seconds = [run["seconds"] for run in group if run["seconds"] is not None]
    return max(1, round(max(seconds) / most * _ROWS * len(_BARS))) if seconds else 0


def _bar(height: int, row: int) -> str:
    over = height - row * len(_BARS)
    return " " if over <= 0 else _BARS[min(over, len(_BARS)) - 1]
