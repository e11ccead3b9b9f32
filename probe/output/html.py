"""`html`: one page to attach to a ticket. Self-contained: no script, no network, prints, light and dark.

Every expression of the template is escaped (jinja2's autoescape) after control characters were made visible. The content-security
policy allows nothing but the page's own style sheet, by its hash, so that even a hole in the escaping could load or run nothing.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.output import Context
from probe.output._changes import as_report
from probe.output._history import plot
from probe.output._page import UNITS, matrix, view
from probe.output._words import also_known_as, safe
from probe.report import Report, exit_code, worst_verdict
from probe.report.as_json import to_json
from probe.report.comparison import Change, Comparison
from probe.report.statistics import PastRun
from probe.report.steps import pieces

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_WORDS = {"ok": "OK", "warning": "WARNING", "critical": "CRITICAL", "unknown": "UNKNOWN"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A block above the reports: a comparison, a history plot. `body` is escaped markup without script or `style` attribute
    (the policy would refuse them); tables and SVG take the page's own classes."""

    title: str
    body: "Markup"


def write(reports: Sequence[Report], context: Context) -> str:
    """The whole page."""
    panels = []
    if context.comparison is not None:
        panels.append(_compared(context.comparison))
        reports = reports or [as_report(context.comparison)]
    if context.history:
        panels.append(_past(context.history))
    return page(reports, context, panels)


def _past(history: Sequence[PastRun]) -> Panel:
    """Delivery times of past runs."""
    from markupsafe import Markup

    text = Markup("<p>The last {} runs of the local store; a run without delivery stands on the upper edge.</p>")
    # The plot escapes what it shows; it is drawn with attributes, which the page's policy allows.
    return Panel("Past runs", text.format(len(history)) + Markup(plot(history)))  # noqa: S704


def _compared(comparison: Comparison) -> Panel:
    """What differs from an earlier run, as a table."""
    from markupsafe import Markup

    if not comparison.changes:
        return Panel("Compared with an earlier run", Markup("<p>Unchanged since {}.</p>").format(_shown(comparison.before)))
    # Control characters are made visible, as everywhere on the page.
    row = Markup("<tr><td>{}</td><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>")
    rows = Markup("").join(
        row.format("expected" if change.expected else change.severity, *map(_shown, (change.target, change.key)), *_sides(change))
        for change in comparison.changes
    )
    head = Markup("<p>Changes since {}.</p>").format(_shown(comparison.before))
    titles = Markup("<thead><tr><th>{}</th><th>{}</th><th>{}</th><th>{}</th><th>{}</th></tr></thead>")
    table = Markup('<div class="scroll"><table>{}<tbody>{}</tbody></table></div>')
    return Panel("Compared with an earlier run", head + table.format(titles.format("", "target", "what", "before", "after"), rows))


def _sides(change: Change) -> tuple[str, str]:
    return _shown(change.before), _shown(change.after)


def _shown(text: str | None) -> str:
    return safe(text) if text is not None else "–"


def page(reports: Sequence[Report], context: Context, panels: Sequence[Panel] = ()) -> str:
    """The whole page, with what other rooms have to add."""
    style = (Path(__file__).parent / "_page.css").read_text(encoding="utf-8")
    run = to_json(reports, started=context.started, seconds=context.seconds, version=context.version)
    stages, rows = matrix(reports)
    template = environment(Path(__file__).parent).get_template("_page.html")
    text = template.render(
        panels=panels,
        policy=policy(style),
        style=_verbatim(style),
        run=run,
        json=_verbatim(_embedded(run)),
        verdict=worst_verdict(report.verdict for report in reports),
        status=exit_code(reports),
        words=_WORDS,
        units=UNITS,
        views=[view(report) for report in reports],
        stages=stages,
        rows=rows,
    )
    # A lone surrogate, which JSON can carry, is no character that a file can hold.
    return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def environment(folder: Path) -> "Environment":
    """Templates of a folder: every expression escaped, after its control characters were made visible."""
    from jinja2 import Environment, FileSystemLoader

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["seconds"] = _seconds
    made.filters["also_known_as"] = also_known_as
    made.filters["pieces"] = pieces
    return made


def _finalize(value: Any) -> Any:
    """Before escaping: every control character visible, whatever the template writes out."""
    return value if hasattr(value, "__html__") else safe(str(value))


def _seconds(value: float) -> str:
    """Three digits that mean something: 68 µs, 14.2 ms, 3.20 s."""
    size = abs(value)
    if size >= 2 * 86400:
        return f"{value / 86400:.0f} days"
    if size >= 1:
        return f"{value:.2f} s"
    return f"{value * 1000:.1f} ms" if size >= 0.001 or size == 0 else f"{value * 1e6:.0f} µs"


def _verbatim(text: str) -> "Markup":
    """Text that is markup already: our own style sheet, and JSON that `_embedded` made harmless."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704


def policy(style: str) -> str:
    """The content-security policy of a page: its own style sheet by its hash, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _embedded(run: Any) -> str:
    """The run as it stands in `<script type="application/json">`: no `<`, so nothing in it ends the element or begins another."""
    text = json.dumps(run, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
