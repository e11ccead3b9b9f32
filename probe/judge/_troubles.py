"""For checks that put words to what stopped a stage."""

from collections.abc import Iterator, Mapping

from probe.record import Record
from probe.report import Finding, Kind, Severity


def from_troubles(record: Record, kinds: Mapping[str, Kind], severity: Severity = "critical") -> Iterator[Finding]:
    """A finding for each stage whose trouble is one of these ids; its own sentence is the summary."""
    for stage in record.stages:
        trouble = stage.trouble
        if trouble is not None and trouble.id in kinds:
            kind = kinds[trouble.id]
            yield Finding(trouble.id, severity, stage.name, trouble.text, trouble.evidence, kind.cause, kind.remedy)
