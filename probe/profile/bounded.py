"""Work that may hang, bounded in time and memory: in a daemon thread, a program in a process group, a stream with a cap.

Whatever is given up leaves nobody waiting: the caller goes on at its deadline, a program's whole group is killed, sockets are shut.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

MOST_BYTES = 65536
# What commands are never given, whoever names it as a source; with SUBMISSION_PROBE_*, which may say where secrets are.
# libpq's password reaches `worker` and `history` by it.
_ALWAYS_HIDDEN = {"PROBE_PASSWORD", "PGPASSWORD"}
_PREFIX = "SUBMISSION_PROBE_"

T = TypeVar("T")
_hidden: set[str] = set()
_running: set[subprocess.Popen[bytes]] = set()


class TooMuch(Exception):
    """More octets came than a secret can have."""


def within(seconds: float, work: Callable[[], T], give_up: Callable[[], None] = lambda: None) -> T:
    """What `work` returns or raises, if it does so in time. Else `give_up` is called, which is to end it; raises TimeoutError."""
    result: list[T] = []
    errors: list[BaseException] = []

    def carry_out() -> None:
        try:
            result.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=carry_out, name="secret", daemon=True)
    thread.start()
    late = True
    try:
        thread.join(max(0.0, seconds))
        late = thread.is_alive()
    finally:
        if late:
            give_up()
    if late:
        raise TimeoutError
    if errors:
        raise errors[0]
    return result[0]


class Readable(Protocol):
    """What can be read: a pipe, an answer's body."""

    def read(self, size: int, /) -> bytes: ...


def capped(stream: "Readable | IO[bytes]") -> bytes:
    """All there is to read, if it is not too much. Raises TooMuch."""
    octets = stream.read(MOST_BYTES + 1)
    if len(octets) > MOST_BYTES:
        raise TooMuch
    return octets


def hide_from_commands(name: str) -> None:
    """No command that prints a secret is given this environment variable: it holds another one."""
    _hidden.add(name)


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command."""
    # Windows keeps names in upper case, however they are written.
    hidden = {name.upper() if os.name == "nt" else name for name in _hidden | _ALWAYS_HIDDEN}
    given = os.environ if environ is None else environ
    return {name: value for name, value in given.items() if name not in hidden and not name.startswith(_PREFIX)}


def printed(command: Sequence[str], base: Path | None, seconds: float) -> tuple[int, bytes]:
    """(exit status, what the program printed). Its complaints go nowhere.

    Raises OSError when it cannot be run, TimeoutError, TooMuch; the whole process group is then killed.
    """
    apart: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        apart = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    process = subprocess.Popen(  # noqa: S603  the profile's owner chose the program; there is no shell
        command, cwd=base, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), **apart
    )
    _running.add(process)
    ended = False
    try:
        status, octets = within(seconds, lambda: _read(process), lambda: _kill(process))
        ended = True
    finally:
        if not ended:
            _kill(process)
        _running.discard(process)
    return status, octets


def _read(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    assert process.stdout is not None
    with process.stdout as stream:
        octets = capped(stream)
    return process.wait(), octets


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and all it started. It has not been waited for, so its number is still its own, and its group's."""
    if process.returncode is None:
        if os.name == "nt":
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                kill = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
                subprocess.run(kill, capture_output=True, timeout=5, check=False)  # noqa: S603
        else:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)


@atexit.register
def end_commands() -> None:
    """Whoever is interrupted while a command runs leaves none behind."""
    for process in tuple(_running):
        _kill(process)
