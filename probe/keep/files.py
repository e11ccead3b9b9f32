"""Files that are whole or not there."""

import os
import secrets
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
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding=encoding, errors="backslashreplace", newline="\n") as stream:
            stream.write(text)
            if whatever_umask:
                fresh.chmod(mode)
            stream.flush()
            os.fsync(stream.fileno())
        patiently(lambda: fresh.replace(path))
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
