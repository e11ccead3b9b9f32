"""`json`: one object for any number of targets, pure ASCII, stable keys (contract section 5)."""

import json
from collections.abc import Sequence

from probe.output import Context
from probe.report import Report
from probe.report.as_json import to_json
from probe.report.comparison import comparison_to_json


def write(reports: Sequence[Report], context: Context) -> str:
    """The object, indented, with a final newline. `ensure_ascii` also keeps terminals safe from server text."""
    if not reports and context.comparison is not None:
        return json.dumps(comparison_to_json(context.comparison), indent=2, ensure_ascii=True) + "\n"
    made = to_json(
        reports,
        started=context.started,
        seconds=context.seconds,
        version=context.version,
        comparison=context.comparison,
        attempts=context.attempts,
    )
    return json.dumps(made, indent=2, ensure_ascii=True) + "\n"
