"""`probe`, with taps: the real command, that ends itself by kill -9 at one point of its work, and says which stages were under way.

    python -m tests.scenarios.tapped POINT ARGUMENT…

POINT is a name, as this prints them to stderr when it is `list`: `begin imap.find`, `smtp > 7` (the connection's seventh line,
before it is sent), `smtp sent 7` (after), `imap < 3` (read), `trace written`. Nothing of the work is changed by a tap.
"""

import json
import os
import signal
import sys
from collections import Counter
from typing import Any

from probe.cli import entry
from probe.observe.connection import Connection
from probe.observe.journal import Journal
from probe.record import StageRecord
from probe.state import outbox

under_way: dict[str, None] = {}
passed: Counter[str] = Counter()
wanted = sys.argv[1]


def point(name: str) -> None:
    """Name it, or end here."""
    if wanted == "list":
        print(json.dumps({"point": name, "stages": list(under_way)}), file=sys.stderr, flush=True)
    elif name == wanted:
        os.write(2, json.dumps({"killed": name, "stages": list(under_way)}).encode() + b"\n")
        os.kill(os.getpid(), signal.SIGKILL)


def counted(name: str) -> str:
    passed[name] += 1
    return f"{name} {passed[name]}"


def watch(stage: str, ended: StageRecord | None) -> None:
    if ended is None:
        under_way[stage] = None
        point(f"begin {stage}")
    else:
        point(f"end {stage}")
        under_way.pop(stage, None)


def tap(kind: Any, name: str, before: Any = None, after: Any = None) -> None:
    """Have a function's calls seen; what it does stays as it is."""
    original = getattr(kind, name)

    def called(*arguments: Any, **options: Any) -> Any:
        if before:
            before(*arguments)
        result = original(*arguments, **options)
        if after:
            after(*arguments)
        return result

    setattr(kind, name, called)


def tap_writes() -> None:
    original = Connection.write

    async def write(self: Connection, *arguments: Any, **options: Any) -> Any:
        await original(self, *arguments, **options)
        point(counted(f"{self.name} sent"))

    Connection.write = write  # type: ignore[method-assign]


def watched(journal: Journal, *_: object) -> None:
    journal._watch = watch


tap(Journal, "__init__", after=watched)
tap(Journal, "line", after=lambda _, connection, direction, *__: point(counted(f"{connection} {direction}")))
tap(outbox, "put", before=lambda *_: point("trace to be written"), after=lambda *_: point("trace written"))
tap(outbox, "mark_seen", before=lambda *_: point("mark to be written"), after=lambda *_: point("mark written"))
tap(outbox, "remove", before=lambda *_: point("trace to be removed"), after=lambda *_: point("trace removed"))
tap_writes()
sys.exit(entry(sys.argv[2:]))
