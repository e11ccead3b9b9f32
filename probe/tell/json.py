"""`json`: one object for any number of targets, pure ASCII, stable keys (contract section 5)."""

import json
from collections.abc import Sequence

from probe.report import Report, to_json
from probe.tell import Context


def tell(reports: Sequence[Report], context: Context) -> str:
    """The object, indented, with a final newline. `ensure_ascii` also keeps terminals safe from server text."""
    return json.dumps(to_json(reports, started=context.started, seconds=context.seconds), indent=2, ensure_ascii=True) + "\n"
