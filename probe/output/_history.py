"""A page with the delivery times of past runs, as one self-contained file: no script, no network."""

from collections.abc import Sequence
from html import escape

from probe.report.statistics import PastRun

_COLORS = {"ok": "#2e7d32", "warning": "#b26a00", "critical": "#c62828", "unknown": "#6a1b9a"}
_WIDTH, _HEIGHT, _EDGE = 900, 260, 40
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ width: 100%; height: auto }} text {{ fill: currentColor; font-size: 12px }} line {{ stroke: currentColor; opacity: .3 }}
</style></head><body><h1>{title}</h1><p>{count} runs, {failed} failed</p>{plot}</body></html>
"""


def page(rows: Sequence[PastRun], profile: str | None) -> str:
    """A whole HTML page; rows oldest first."""
    title = f"Delivery times: {profile or 'all profiles'}"
    failed = sum(row["verdict"] in ("critical", "unknown") for row in rows)
    return _PAGE.format(title=escape(title), count=len(rows), failed=failed, plot=plot(rows))


def plot(rows: Sequence[PastRun]) -> str:
    """SVG: one dot a run; a run without delivery stands on the upper edge."""
    most = max((row["seconds"] for row in rows if row["seconds"] is not None), default=1.0) or 1.0
    step = (_WIDTH - 2 * _EDGE) / max(1, len(rows) - 1)
    dots = []
    for index, row in enumerate(rows):
        seconds = row["seconds"]
        height = 1.0 if seconds is None else seconds / most
        said = f"{row['started']} {row['profile']}: {row['verdict']}" + ("" if seconds is None else f", {seconds:.3f} s")
        dots.append(
            f'<circle cx="{_EDGE + index * step:.1f}" cy="{_HEIGHT - _EDGE - height * (_HEIGHT - 2 * _EDGE):.1f}" r="4" '
            f'fill="{_COLORS.get(row["verdict"], "gray")}"><title>{escape(said)}</title></circle>'
        )
    base = _HEIGHT - _EDGE
    axis = f'<line x1="{_EDGE}" y1="{base}" x2="{_WIDTH - _EDGE}" y2="{base}" stroke="currentColor" stroke-opacity="0.3"/>'
    axis += f'<text x="{_EDGE}" y="{_EDGE - 14}" fill="currentColor">{most:.3f} s</text>'
    ends = (
        "".join(
            f'<text x="{place}" y="{_HEIGHT - 12}" text-anchor="{anchor}" fill="currentColor">'
            f"{escape(str(row['started'])[:16])}</text>"
            for row, place, anchor in ((rows[0], _EDGE, "start"), (rows[-1], _WIDTH - _EDGE, "end"))
        )
        if rows
        else ""
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="delivery times">{axis}{ends}{"".join(dots)}</svg>'
