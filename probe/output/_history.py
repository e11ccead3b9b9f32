"""Past runs as a page and as a picture (SVG): one self-contained file each, no script, no network."""

from collections.abc import Iterator, Sequence
from html import escape

from probe.facts import instant
from probe.output._safe import safe
from probe.report import FAILED
from probe.report.statistics import PastRun, percentiles

_COLORS = {"ok": "#2e7d32", "warning": "#b26a00", "critical": "#c62828", "unknown": "#8e24aa"}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 240, 64, 64, 46, 34
# Read on white and on black: a picture stands on whatever page it is put on.
_GRAY = "#808080"
_MOST = 20
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ width: 100%; height: auto }}
</style></head><body><h1>{title}</h1><p>{count} runs, {failed} failed. A run
without a delivery stands on the upper edge.</p>{plot}</body></html>
"""


def page(rows: Sequence[PastRun], profile: str | None) -> str:
    """A whole HTML page; rows oldest first."""
    title = f"Delivery times: {safe(profile or 'all profiles')}"
    failed = sum(row["verdict"] in FAILED for row in rows)
    return _PAGE.format(title=escape(title), count=len(rows), failed=failed, plot=plot(rows))


def plot(rows: Sequence[PastRun]) -> str:
    """SVG: a panel for each profile, a sign for each run at its time; a run without a delivery stands on the upper edge.

    A sign's form says the verdict as its colour does.
    """
    names = list(dict.fromkeys(row["profile"] for row in rows))[:_MOST]
    panels = [_panel([row for row in rows if row["profile"] == name], index * _HEIGHT) for index, name in enumerate(names)]
    height = _HEIGHT * max(1, len(names))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'aria-label="delivery times" font-family="system-ui, sans-serif" font-size="12">{"".join(panels)}</svg>'
    )


def picture(rows: Sequence[PastRun]) -> str:
    """The same as a file of its own."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{plot(rows)}\n'


def _panel(rows: Sequence[PastRun], top: float) -> str:
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    most, step = _scale(max(seconds, default=1.0))
    base, tall = top + _HEIGHT - _BOTTOM, _HEIGHT - _TOP - _BOTTOM
    parts = [_text(_LEFT, top + 18, _heading(rows, seconds), size=14)]
    if not top:
        parts.append(_text(_WIDTH - _RIGHT, top + 18, "● ok  ▲ warning  ✕ critical  □ unknown", "end"))
    lines = [step * index for index in range(round(most / step) + 1)]
    for value in lines:
        parts.append(_line(base - value / most * tall))
        parts.append(_text(_LEFT - 8, base - value / most * tall + 4, f"{value:g} s", "end"))
    parts += _lines_of(seconds, base, tall / most)
    times = _places([row["started"] for row in rows])
    for row, place in zip(rows, times, strict=True):
        height = tall if row["seconds"] is None else row["seconds"] / most * tall
        parts.append(_sign(row, _LEFT + place * (_WIDTH - _LEFT - _RIGHT), base - height))
    parts.append(_text(_LEFT, base + 20, _moment(rows[0])))
    parts.append(_text(_WIDTH - _RIGHT, base + 20, _moment(rows[-1]), "end"))
    return "".join(parts)


def _heading(rows: Sequence[PastRun], seconds: Sequence[float]) -> str:
    failed = sum(row["verdict"] in FAILED for row in rows)
    spread = ", ".join(f"{name} {value:.3f} s" for name, value in percentiles(seconds).items()) if seconds else "no delivery"
    return f"{safe(rows[0]['profile'])}: {len(rows)} runs, {failed} failed; {spread}"


def _lines_of(seconds: Sequence[float], base: float, scale: float) -> Iterator[str]:
    """Where the median and the 95th percentile lie; not both where they would be written over one another."""
    if len(seconds) < 2:
        return
    last = 1e9
    for name, value in reversed(percentiles(seconds).items()):
        at = base - value * scale
        if name != "p99" and abs(at - last) > 12:
            yield _line(at, dashed=True)
            yield _text(_WIDTH - _RIGHT + 6, at + 4, name)
            last = at


def _scale(most: float) -> tuple[float, float]:
    """The axis' end and its step (1, 2 or 5 times a power of ten), three to five steps long."""
    step = 10.0**-6
    while True:
        for factor in (1, 2, 5):
            if most <= 4 * step * factor:
                return max(1, -(-most // (step * factor))) * step * factor, step * factor
        step *= 10


def _places(started: Sequence[str]) -> list[float]:
    """Where each run stands between the first and the last, from 0 to 1: by its time."""
    times = [instant(one) for one in started]
    known = [one for one in times if one is not None]
    if len(known) < len(times) or max(known) == min(known):
        return [index / max(1, len(times) - 1) for index in range(len(times))]
    return [(one - min(known)) / (max(known) - min(known)) for one in known]


def _moment(row: PastRun) -> str:
    return safe(row["started"])[:16].replace("T", " ") + " UTC"


def _sign(row: PastRun, x: float, y: float) -> str:
    """A dot, a triangle, a cross, a square."""
    size, color = 4.5, _COLORS.get(row["verdict"], _GRAY)
    forms = {
        "warning": f'<path d="M{x:.1f} {y - size:.1f}l{size:.1f} {2 * size:.1f}h{-2 * size:.1f}z" fill="{color}">',
        "critical": f'<path d="M{x - size:.1f} {y - size:.1f}l{2 * size} {2 * size}m0 {-2 * size}l{-2 * size} {2 * size}" '
        f'stroke="{color}" stroke-width="2.5">',
        "unknown": f'<path d="M{x - size:.1f} {y - size:.1f}h{2 * size}v{2 * size}h{-2 * size}z" fill="none" stroke="{color}" '
        'stroke-width="2">',
    }
    form = forms.get(row["verdict"], f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}">')
    seconds = "no delivery" if row["seconds"] is None else f"{row['seconds']:.3f} s"
    said = safe(f"{row['started'][:19]}Z {row['profile']}: {row['verdict']}, {seconds}")
    return f"{form}<title>{escape(said)}</title></{form[1 : form.index(' ')]}>"


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{_GRAY}">{escape(text)}</text>'


def _line(y: float, *, dashed: bool = False) -> str:
    more = ' stroke-dasharray="4 4"' if dashed else ' stroke-opacity="0.3"'
    return f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="{_GRAY}"{more}/>'
