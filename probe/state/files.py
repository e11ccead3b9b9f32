"""Files that are whole or not there."""

import os
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path

# Together a second: what a reader or a virus scanner keeps a file open for.
_PAUSES = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.4)
# ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION ("System Error Codes", Microsoft).
_IN_USE = (5, 32, 33)


def patiently(act: Callable[[], object], *, sleep: Callable[[float], object] = time.sleep) -> None:
    """Replace or remove a file, again for about a second where Windows refuses because somebody has it open.

    Raises OSError: at once on other systems, where that is no reason.
    """
    for pause in _PAUSES:
        try:
            act()
            return
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _IN_USE:
                raise
        sleep(pause)
    act()


def own_folder(path: Path) -> None:
    """Make the folder, for us alone, where there is none. Raises OSError: also when it is another user's, who may put there what
    they like, or one that others, or a group that we are not in, can write to. (Not on Windows, where the place decides. Volumes
    of containers are root's, and open to a group of ours, Kubernetes' `fsGroup`: what lies in them is looked at file by file.)"""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name != "posix":
        return
    status = path.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise PermissionError(1, f"the folder {path} belongs to another user")
    # As /tmp is: with the sticky bit only a file's owner may rename or remove it (inode(7)).
    if status.st_mode & stat.S_ISVTX:
        return
    if status.st_mode & stat.S_IWOTH:
        raise PermissionError(1, f"everybody can write to the folder {path}; run: chmod o-w {path}")
    if status.st_mode & stat.S_IWGRP and status.st_gid not in {os.getegid(), *os.getgroups()}:
        raise PermissionError(1, f"a group that is not ours can write to the folder {path}; run: chmod g-w {path}")


def foreign(path: Path) -> str:
    """Why a file of the state is not to be trusted (a link that is not ours, another user's, writable by others); empty when it is,
    or is not there."""
    if os.name != "posix":
        return ""
    try:
        owners, status = {path.lstat().st_uid}, path.stat()
    except FileNotFoundError:
        return "is a link that leads nowhere" if path.is_symlink() else ""
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    if owners | {status.st_uid} != {os.geteuid()}:
        return "belongs to another user"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    return "can be written by other users" if status.st_mode & 0o022 else ""


def write_private(path: Path, text: str) -> None:
    """Write a file of the state: whole, 0600, and never through what stands there (a link, a pipe). Raises OSError."""
    _write_beside(path, text, 0o600, whatever_umask=False, encoding="utf-8")


def write_atomically(path: Path, text: str, mode: int = 0o644, *, whatever_umask: bool = False, encoding: str = "utf-8") -> None:
    """Write beside the target, then rename over it: a reader never sees half a report, a full disk leaves the old one.

    A target that is no regular file (a pipe, /dev/stdout) is written to as it is: renaming would replace the device.
    With `whatever_umask` the file has exactly `mode`, for readers that run as somebody else.
    Raises OSError; no temporary file is left behind.
    """
    if path.exists() and not path.is_file():
        with path.open("w", encoding=encoding, errors="backslashreplace", newline="\n") as stream:
            stream.write(text)
        return
    _write_beside(path, text, mode, whatever_umask=whatever_umask, encoding=encoding)


def _write_beside(path: Path, text: str, mode: int, *, whatever_umask: bool, encoding: str) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        # Arguments and file names that are not UTF-8 come as lone surrogates (PEP 383): escaped, they are no error.
        with os.fdopen(descriptor, "w", encoding=encoding, errors="backslashreplace", newline="\n") as stream:
            stream.write(text)
            if whatever_umask:
                fresh.chmod(mode)
            stream.flush()
            # Before the rename: after a power cut some file systems (ext4, XFS) have the new name on an empty file.
            os.fsync(stream.fileno())
        patiently(lambda: fresh.replace(path))
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
