"""`jsonl`: one line a target, for log collectors and for appending (`>>`). Pure ASCII; `probe report` reads it too.

Each line is a report of the run object with the keys that say what it is; no key is nested deeper than in `json`.
"""

import json
from collections.abc import Sequence

from probe.output import Context
from probe.report import Report
from probe.report.as_json import report_to_json


def write(reports: Sequence[Report], context: Context) -> str:
    """A line for each report, each with a final newline."""
    lines = [
        {"schema": "submission-probe/report/1", "version": context.version, "exit_code": report.exit_code, **report_to_json(report)}
        for report in reports
    ]
    return "".join(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n" for line in lines)
