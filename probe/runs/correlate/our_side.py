"""Our side: a saved run → each leg that reached a server, with everything a server may have logged of it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from probe.runs.correlate.values import Ours, Run


def read_run(report: Mapping[str, object]) -> Run:
    """One report of a saved run. Raises KeyError, TypeError, ValueError or AttributeError for what is none."""
    return Run(datetime.fromisoformat(str(report["started"])).astimezone(UTC), tuple(_ours(report)))


def _ours(report: Mapping[str, Any]) -> Iterator[Ours]:
    """Each leg that reached a server."""
    stages = {str(stage["name"]): stage for stage in report["stages"]}
    submitted = stages.get("smtp.submit", {}).get("facts", {})
    for name, stage in stages.items():
        leg, _, step = name.partition(".")
        facts = stage["facts"]
        if step != "connect" or not facts.get("local"):
            continue
        logon = stages.get(f"{leg}.auth", stages.get(f"{leg}.login", {})).get("facts", {})
        lines = tuple(
            (float(line["at"]), str(line["direction"]), str(line["text"]))
            for line in report["transcript"]
            if line["connection"] == leg
        )
        yield Ours(
            leg=leg,
            local=str(facts["local"]),
            remote=str(facts.get("remote") or ""),
            begin=float(stage["at"]),
            ehlo=_ehlo(lines) if leg == "smtp" else "",
            user=str(logon.get("username") or ""),
            marker=str(submitted.get("marker") or ""),
            queue_id=str(submitted.get("queue_id") or "") if leg == "smtp" else "",
            lines=lines,
            stages={n.partition(".")[2]: (float(s["at"]), float(s["at"]) + float(s["seconds"])) for n, s in stages.items()
                    if n.startswith(f"{leg}.") and s["status"] != "skipped"},
        )  # fmt: skip


def _ehlo(lines: Sequence[tuple[float, str, str]]) -> str:
    return next((text[5:].strip() for _, direction, text in lines if direction == ">" and text.upper().startswith("EHLO ")), "")
