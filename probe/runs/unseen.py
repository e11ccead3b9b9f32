"""What a run did not come to see, since a stage before it failed: no news of the server. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence

from probe.record import NOTHING_SENT
from probe.runs.pairs import Json

_BECAUSE = re.compile(r"because (\S+) failed")


def unseen(seen_by: Mapping[str, Iterable[str]], after: Sequence[Json]) -> dict[str, str]:
    """Facts that cannot be in the later reports: key → the stage whose failure kept them from being looked at.

    `seen_by`: which stages showed each fact. A fact that a stage which did run shows no longer is gone, and none of these.
    """
    each = [_skipped(report) for report in after]
    why = {stage: failed for stage, failed in each[0].items() if all(stage in other for other in each)} if each else {}
    found = {}
    for key, stages in seen_by.items():
        causes = [why.get(stage) for stage in stages]
        if causes and all(causes):
            found[key] = str(causes[0])
    return found


def _skipped(report: Json) -> dict[str, str]:
    """The stages that a failure let be skipped: name → the stage that failed."""
    failed = [stage["name"] for stage in report["stages"] if stage["status"] == "failed"]
    sending = next((name for name in failed if name.startswith("smtp.")), None)
    found = {}
    for stage in report["stages"]:
        reason = str(stage.get("reason") or "")
        named = _BECAUSE.match(reason)
        cause = named[1] if named else sending if reason.startswith(NOTHING_SENT) else None
        if stage["status"] == "skipped" and cause in failed:
            found[stage["name"]] = str(cause)
    return found
