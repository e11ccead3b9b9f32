"""Messages on their way: one small file each, written before the message leaves and removed when it is known to be gone.

A run that is killed leaves its file; `probe sweep` then looks for the message, and says of each whether it was found.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from probe.message import MARKER_PATTERN
from probe.state.files import foreign, own_folder, patiently, write_private

MOST_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One message that was about to be sent. `sent` is RFC 3339 UTC; `sender` is empty in entries of older versions."""

    marker: str
    profile: str
    sent: str
    recipient: str
    host: str
    sender: str = ""


def folder(state: Path) -> Path:
    return state / "outbox"


def put(state: Path, entry: Entry) -> None:
    """Write the entry, whole and only readable by us. Raises OSError."""
    own_folder(state)
    own_folder(folder(state))
    write_private(folder(state) / f"{entry.marker}.json", json.dumps(asdict(entry)) + "\n")


def remove(state: Path, marker: str) -> None:
    """Forget a message that is gone. Never raises: an entry too many is found to be gone by the next sweep."""
    if re.fullmatch(MARKER_PATTERN, marker):
        try:
            patiently(lambda: (folder(state) / f"{marker}.json").unlink(missing_ok=True))
        except OSError:
            return


def entries(state: Path) -> list[Entry]:
    """Every entry that can be read, oldest first; files that are damaged or not ours are left alone."""
    found = []
    for path in sorted(folder(state).glob("submission-probe-*.json"))[:MOST_ENTRIES]:
        entry = _read(path)
        if entry is not None:
            found.append(entry)
    return sorted(found, key=lambda entry: entry.sent)


def older(entries: Iterable[Entry], now: datetime, age: timedelta) -> list[Entry]:
    """Those that were sent so long before, or longer."""
    latest = (now - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [entry for entry in entries if entry.sent <= latest]


def _read(path: Path) -> Entry | None:
    try:
        if path.is_symlink() or foreign(path):
            return None
        data = json.loads(path.read_text(encoding="utf-8")[:4096])
        entry = Entry(**data) if isinstance(data, Mapping) else None
    except (OSError, ValueError, TypeError):
        return None
    if entry is None or entry.marker != path.stem or not all(isinstance(value, str) for value in asdict(entry).values()):
        return None
    return entry
