"""`html`: one page to attach to a ticket. Self-contained: no script, no network, prints, light and dark.

Every expression of the template is escaped (jinja2's autoescape) after control characters were made visible. The content-security
policy allows nothing but the page's own style sheet, by its hash, so that even a hole in the escaping could load or run nothing.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.output import Context
from probe.output._compared import blocks, hint, instant, summary
from probe.output._history import plot
from probe.output._page import UNITS, matrix, view
from probe.output._safe import safe
from probe.output._words import also_known_as
from probe.plain import dataclass
from probe.report import EXIT_CODES, EXIT_INTERRUPTED, Report, Verdict, exit_code, worst_verdict
from probe.report.as_json import to_json
from probe.report.comparison import Comparison, comparison_to_json
from probe.report.statistics import PastRun
from probe.report.steps import pieces

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_FOLDER = Path(__file__).parent
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
        panels.append(Panel("Compared with an earlier run" if reports else "What differs", _compared(context.comparison)))
    if context.history:
        panels.append(_past(context.history))
    return page(reports, context, panels)


def _past(history: Sequence[PastRun]) -> Panel:
    """Delivery times of past runs."""
    from markupsafe import Markup

    text = Markup("<p>The last {} runs of the local store; a run without delivery stands on the upper edge.</p>")
    # The plot escapes what it shows; it is drawn with attributes, which the page's policy allows.
    return Panel("Past runs", text.format(len(history)) + Markup(f'<div class="scroll">{plot(history)}</div>'))  # noqa: S704


def _compared(comparison: Comparison) -> "Markup":
    """What differs from an earlier run: both sides beside each other, what is alike folded away."""
    return verbatim(
        environment(_FOLDER)
        .get_template("_compared.html")
        .render(
            before=instant(comparison.before),
            after=instant(comparison.after),
            summary=summary(comparison),
            notes=comparison.notes,
            blocks=blocks(comparison),
            hint=hint(comparison),
        )
    )


def page(reports: Sequence[Report], context: Context, panels: Sequence[Panel] = ()) -> str:
    """The whole page, with what other rooms have to add; without reports that of a comparison."""
    style = (_FOLDER / "_page.css").read_text(encoding="utf-8")
    compared = context.comparison
    more = [compared.verdict] if compared is not None else []
    verdict = worst_verdict([*(report.verdict for report in reports), *more])
    run = to_json(reports, started=context.started, seconds=context.seconds, version=context.version, comparison=compared)
    data = comparison_to_json(compared) if compared is not None and not reports else run
    stages, rows = matrix(reports)
    template = environment(_FOLDER).get_template("_page.html" if data is run else "_comparison.html")
    text = template.render(
        panels=panels,
        policy=policy(style),
        style=verbatim(style),
        run=run,
        json=verbatim(_embedded(data)),
        verdict=verdict,
        status=_status(reports, more),
        words=_WORDS,
        units=UNITS,
        views=[view(report) for report in reports],
        stages=stages,
        rows=rows,
    )
    # A lone surrogate, which JSON can carry, is no character that a file can hold.
    return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _status(reports: Sequence[Report], more: Sequence[Verdict]) -> int:
    """The exit status of the command: of its runs, or the comparison's where that is worse."""
    code = exit_code(reports) if reports else 0
    if not more or code == EXIT_INTERRUPTED:
        return code
    return EXIT_CODES[worst_verdict([*(report.alarms for report in reports), *more])]


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
    made.filters["breakable"] = _breakable
    made.filters["also_known_as"] = also_known_as
    made.filters["pieces"] = pieces
    return made


def _finalize(value: Any) -> Any:
    """Before escaping: every control character visible, whatever the template writes out."""
    return value if hasattr(value, "__html__") else safe(str(value))


def _breakable(text: str) -> "Markup":
    """Text that may go on in the next line where a reader would break it: behind punctuation, in a long word every 8 characters."""
    from markupsafe import Markup, escape

    tokens = re.findall(r"\w{25,}|\w+|\s+|[^\w\s]+", safe(text))
    pieces = (re.findall(".{1,8}", token) if len(token) > 24 else [token] for token in tokens)
    last = Markup("<wbr>")
    broken = (last.join(map(escape, piece)) + (last if not piece[-1][-1].isalnum() else "") for piece in pieces)
    return Markup("").join(broken)


def _seconds(value: float) -> str:
    """Three digits that mean something: 68 µs, 14.2 ms, 3.20 s."""
    size = abs(value)
    if size >= 2 * 86400:
        return f"{value / 86400:.0f} days"
    if size >= 1:
        return f"{value:.2f} s"
    return f"{value * 1000:.1f} ms" if size >= 0.001 or size == 0 else f"{value * 1e6:.0f} µs"


def verbatim(text: str) -> "Markup":
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
