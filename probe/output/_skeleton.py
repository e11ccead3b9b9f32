"""Copy this file to add an output: say here who reads it and which rules it follows."""

from collections.abc import Sequence

from probe.output import Context
from probe.report import Report


def write(reports: Sequence[Report], context: Context) -> str:
    """The whole output as text, with a final newline. Server text is data: escape it for this format."""
    return "".join(f"{report.profile}: {report.verdict}\n" for report in reports)
