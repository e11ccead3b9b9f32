"""How many runs in a row were not well: what `--notify-after` goes by. One small file for each thing that is probed."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from probe.plain import dataclass
from probe.report import Verdict
from probe.state.files import foreign, own_folder, write_private


@dataclass(frozen=True, slots=True)
class Streak:
    """Runs in a row until now: those that were not ok, and those among them at the end that were worse than a warning."""

    not_ok: int = 0
    failed: int = 0

    def followed_by(self, verdict: Verdict) -> "Streak":
        """With one run more."""
        return Streak(self.not_ok + 1 if verdict != "ok" else 0, self.failed + 1 if verdict in ("critical", "unknown") else 0)

    def alarm(self, verdict: Verdict, notify_after: int) -> Verdict:
        """What to alarm with after a run of this verdict: the worst of which there were so many in a row. A warning that stands for
        long is reported, and lets no single failure through."""
        if verdict in ("critical", "unknown") and self.failed >= notify_after:
            return verdict
        return "warning" if verdict != "ok" and self.not_ok >= notify_after else "ok"


def count(state: Path, probed: str, verdict: Verdict) -> Streak:
    """Count one run more. Raises OSError."""
    folder = state / "streaks"
    own_folder(state)
    own_folder(folder)
    path = folder / f"{hashlib.sha256(probed.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"
    streak = _read(path).followed_by(verdict)
    if streak == Streak():
        path.unlink(missing_ok=True)
    else:
        write_private(path, json.dumps(asdict(streak)) + "\n")
    return streak


def _read(path: Path) -> Streak:
    """None before, where the file cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        data = json.loads(path.read_text(encoding="utf-8")[:4096]) if not foreign(path) else None
        if isinstance(data, Mapping):
            return Streak(int(data["not_ok"]), int(data["failed"])) if {"not_ok", "failed"} <= set(data) else Streak()
    return Streak()
