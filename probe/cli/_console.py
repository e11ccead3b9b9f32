"""Whether a stream shows colours. cmd.exe and Windows PowerShell on Server 2016 to 2022 show the escapes unless the mode is set."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import TextIO

# https://learn.microsoft.com/windows/console/setconsolemode: ENABLE_VIRTUAL_TERMINAL_PROCESSING
_ESCAPES = 0x0004


def colours(stream: TextIO | None) -> bool:
    """True for a terminal that shows colours, where nobody said NO_COLOR (no-color.org)."""
    return stream is not None and stream.isatty() and "NO_COLOR" not in os.environ and _shows_escapes(stream)


def columns(stream: TextIO | None) -> int | None:
    """How wide a terminal is (COLUMNS first, as everywhere); None for a pipe or a file."""
    return shutil.get_terminal_size().columns if stream is not None and stream.isatty() else None


def enabled(mode: int | None, set_mode: Callable[[int], bool]) -> bool:
    """Whether escapes are shown in a console of this mode (None: it is no console), or are from now on."""
    return mode is not None and (bool(mode & _ESCAPES) or set_mode(mode | _ESCAPES))


if sys.platform == "win32":

    def _shows_escapes(stream: TextIO) -> bool:
        import ctypes
        import msvcrt
        from ctypes import wintypes

        kernel32 = ctypes.WinDLL("kernel32")
        try:
            handle = wintypes.HANDLE(msvcrt.get_osfhandle(stream.fileno()))
        except (OSError, ValueError):
            return False
        mode = wintypes.DWORD()
        is_console = kernel32.GetConsoleMode(handle, ctypes.byref(mode))
        return enabled(mode.value if is_console else None, lambda wanted: bool(kernel32.SetConsoleMode(handle, wanted)))

else:

    def _shows_escapes(stream: TextIO) -> bool:
        return os.environ.get("TERM") != "dumb"
