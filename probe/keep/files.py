"""Files that are whole or not there."""

import os
import secrets
from pathlib import Path


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
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
