"""Files that hold a secret: read only when nobody else can read or change them.

Looked at through the open descriptor, so that nothing can be exchanged between the look and the read.
"""

import os
import stat
from pathlib import Path

from probe.profile.bounded import MOST_BYTES
from probe.profile.dacl import other_reader


def read(path: Path, *, private: bool = True) -> tuple[str, bytes]:
    """(what is wrong or "", at most 64 KiB of it); never raises OSError. Links are followed: Kubernetes' secrets are links."""
    try:
        # A pipe that nobody writes to would block the opening.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        # Windows does not open a folder at all.
        return ("is not a regular file" if path.is_dir() else f"cannot be read: {error.strerror}"), b""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "is not a regular file", b""
        if private and (why := others(status)):
            return f"{why}; run: chmod 600 {path} (or say readable_by_others = true)", b""
        if private and (who := other_reader(path)):
            cure = f'icacls "{path}" /inheritance:r /grant:r "%USERNAME%:F"'
            return f"can be read by {who}; run: {cure} (or say readable_by_others = true)", b""
        return "", _all(descriptor)
    except OSError as error:
        return f"cannot be read: {error.strerror}", b""
    finally:
        os.close(descriptor)


def others(status: os.stat_result, me: int | None = None, groups: set[int] | None = None) -> str:
    """How other users get at a file of this status; empty when they do not. POSIX only: Windows has no such modes.

    root's file that our group reads (0440) is what Kubernetes mounts with `fsGroup`: nobody else is in that group. A group's
    right to read our own file is ours to take away.
    """
    if os.name != "posix":
        return ""
    me = os.geteuid() if me is None else me
    groups = {os.getegid(), *os.getgroups()} if groups is None else groups
    if status.st_uid not in (me, 0):
        return f"belongs to another user (uid {status.st_uid})"
    granted = stat.S_IMODE(status.st_mode) & 0o077
    if granted == 0o040 and status.st_uid == 0 and status.st_gid in groups:
        return ""
    return "can be read by other users" if granted else ""


def problem(path: Path) -> str:
    """How other users get at a file, in words for an error; empty when they do not, or when it cannot be looked at."""
    try:
        return others(path.stat())
    except OSError:
        return ""


def _all(descriptor: int) -> bytes:
    pieces, left = [], MOST_BYTES
    while left and (piece := os.read(descriptor, left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
