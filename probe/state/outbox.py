"""Messages on their way: one small file each, written before the message leaves and removed when it is known to be gone.

A run that is killed leaves its file; `probe sweep` then looks for the message, and says of each whether it was found. What is given
up as lost is kept apart for a while: it may still come, and is then known as what it is.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from probe.message import MARKER_PATTERN
from probe.plain import dataclass
from probe.state.files import foreign, own_folder, patiently, write_private

MOST_ENTRIES = 10_000
# How long a message that was given up stays known.
KEEP_LOST = timedelta(days=90)
# PROCESS_QUERY_LIMITED_INFORMATION, ERROR_INVALID_PARAMETER (no such process), STILL_ACTIVE (processthreadsapi.h, Microsoft).
_QUERY_LIMITED, _INVALID_PARAMETER, _STILL_ACTIVE = 0x1000, 87, 259


@dataclass(frozen=True, slots=True)
class Entry:
    """One message that was about to be sent. `sent` is RFC 3339 UTC; what an older version did not write is empty.

    `probed`: what the run probes, by which its profile knows it again (two profiles may have one name). `until`, RFC 3339 UTC:
    until then the run that sends it may be under way, and nobody else touches the message; empty where it is left for others at
    once. `process`: which process that run is in, by which its machine knows whether it has ended. `run`: that run's id. `left`:
    not empty where it was sent and left for a collection. `seen`: when its run, which had read it, was about to delete it.
    `link`: the address that its text links to.
    """

    marker: str
    profile: str
    sent: str
    recipient: str
    host: str
    sender: str = ""
    probed: str = ""
    until: str = ""
    process: str = ""
    run: str = ""
    left: str = ""
    seen: str = ""
    link: str = ""

    @property
    def is_for_collection(self) -> bool:
        """Whether a collection waits for it, whenever it comes; older versions do not say."""
        return bool(self.left) or not self.run

    def is_of(self, probed: str, profile: str, host: str) -> bool:
        """Whether a run of this profile sent it. Entries of older versions say no more than the profile's name and the host."""
        return self.probed == probed if self.probed else (self.profile, self.host) == (profile, host)

    def age(self, now: datetime) -> float:
        """Seconds since it was sent; 0 for an instant that cannot be read, or is to come."""
        try:
            return max(0.0, round((now - datetime.fromisoformat(self.sent)).total_seconds(), 3))
        except (ValueError, TypeError):
            return 0.0

    def is_under_way(self, now: datetime) -> bool:
        """Whether the run that sends it may still look for it."""
        return self.until > stamp(now) and not has_ended(self.process)


def stamp(instant: datetime) -> str:
    """RFC 3339 UTC in whole seconds, as entries have it: sorts as text."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def this_process() -> str:
    """Machine, namespace of its process numbers (pid_namespaces(7)) and number."""
    if sys.platform == "win32":
        return f"{os.environ.get('COMPUTERNAME', '')} - {os.getpid()}"
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = "-"
    return f"{os.uname().nodename} {space} {os.getpid()}"


def has_ended(process: str) -> bool:
    """Whether the process is known to be there no more (killed, perhaps): only one of this machine can be."""
    where, _, number = process.rpartition(" ")
    if not re.fullmatch("[0-9]{1,10}", number) or where != this_process().rpartition(" ")[0]:
        return False
    return _is_no_more(int(number))


def _is_no_more(number: int) -> bool:
    if sys.platform == "win32":
        # Not os.kill: there a signal 0 is Ctrl-C.
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(_QUERY_LIMITED, False, number)
        if not handle:
            return ctypes.get_last_error() == _INVALID_PARAMETER
        code = ctypes.c_ulong()
        asked = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
        kernel.CloseHandle(ctypes.c_void_p(handle))
        return bool(asked) and code.value != _STILL_ACTIVE
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def folder(state: Path) -> Path:
    return state / "outbox"


def lost_folder(state: Path) -> Path:
    return folder(state) / "lost"


def put(state: Path, entry: Entry) -> None:
    """Write the entry, whole and only readable by us. Raises OSError."""
    own_folder(state)
    own_folder(folder(state))
    write_private(folder(state) / f"{entry.marker}.json", to_text(entry) + "\n")


def end(state: Path, marker: str) -> None:
    """The run is over, and its message not known to be gone: whoever collects may have it. Never raises: the entry says until when
    it would be waited for."""
    entry = entry_of(state, marker)
    if entry is not None and entry.until:
        try:
            put(state, replace(entry, until=""))
        except OSError:
            return


def mark_seen(state: Path, marker: str, now: datetime) -> None:
    """Its run has read the message, and is about to delete it: should that be its end, the message is not missing. Never raises."""
    entry = entry_of(state, marker)
    if entry is not None and not entry.seen:
        with contextlib.suppress(OSError):
            put(state, replace(entry, seen=stamp(now)))


def give_up(state: Path, entry: Entry) -> None:
    """Keep the entry among those that are lost, and forget those that are much older. Raises OSError."""
    place = lost_folder(state)
    own_folder(place)
    write_private(place / f"{entry.marker}.json", to_text(entry) + "\n")
    patiently(lambda: (folder(state) / f"{entry.marker}.json").unlink(missing_ok=True))
    for old in lost(state):
        if old.sent < forgotten_before(entry):
            remove(state, old.marker)


def forgotten_before(entry: Entry) -> str:
    """What was sent before this is forgotten when the entry is given up: by their own dates, whatever a clock that jumps says."""
    try:
        return stamp(datetime.fromisoformat(entry.sent) - KEEP_LOST)
    except (ValueError, OverflowError):
        return ""


def remove(state: Path, marker: str) -> None:
    """Forget a message that is gone. Never raises: an entry too many is found to be gone by the next sweep."""
    if re.fullmatch(MARKER_PATTERN, marker):
        for place in (folder(state), lost_folder(state)):
            try:
                patiently((place / f"{marker}.json").unlink)
            except OSError:
                continue


def entry_of(state: Path, marker: str) -> Entry | None:
    """The entry of this marker, while its message is not known to be gone."""
    return _read(folder(state) / f"{marker}.json") if re.fullmatch(MARKER_PATTERN, marker) else None


def entries(state: Path) -> list[Entry]:
    """Every entry that can be read, oldest first; files that are damaged or not ours are left alone."""
    return _entries(folder(state))


def lost(state: Path) -> list[Entry]:
    """Those that were given up, oldest first."""
    return _entries(lost_folder(state))


def older(entries: Iterable[Entry], now: datetime, age: timedelta) -> list[Entry]:
    """Those that were sent so long before, or longer."""
    latest = stamp(now - age)
    return [entry for entry in entries if entry.sent <= latest]


def to_text(entry: Entry) -> str:
    return json.dumps(asdict(entry))


def from_text(text: str) -> Entry | None:
    """The entry that `to_text` wrote, by whichever version; None for any other text."""
    try:
        data = json.loads(text)
        known = {item.name for item in fields(Entry)}
        entry = Entry(**{key: value for key, value in data.items() if key in known}) if isinstance(data, Mapping) else None
    except (ValueError, TypeError):
        return None
    return entry if entry and all(isinstance(value, str) for value in asdict(entry).values()) else None


def _entries(place: Path) -> list[Entry]:
    found = []
    for path in sorted(place.glob("submission-probe-*.json"))[:MOST_ENTRIES]:
        entry = _read(path)
        if entry is not None:
            found.append(entry)
    return sorted(found, key=lambda entry: entry.sent)


def _read(path: Path) -> Entry | None:
    try:
        if path.is_symlink() or foreign(path):
            return None
        entry = from_text(path.read_text(encoding="utf-8")[:4096])
    except (OSError, ValueError):
        return None
    return entry if entry and entry.marker == path.stem else None
