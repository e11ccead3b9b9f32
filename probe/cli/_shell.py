"""A command as this system's shell takes it: cmd.exe and PowerShell know no single-quoted path and no chmod."""

import shlex
import subprocess
import sys

WINDOWS = sys.platform == "win32"


def word(text: str, windows: bool | None = None) -> str:
    """One word of a command line. Double quotes do for cmd.exe and for PowerShell; a Windows path holds none itself."""
    if WINDOWS if windows is None else windows:
        plain = all(sign.isalnum() or sign in r"\/:._-+=@,~" for sign in text)
        return text if text and plain else subprocess.list2cmdline([text]) if " " in text else f'"{text}"'
    return shlex.quote(text)


def owner_only(file: str, windows: bool | None = None) -> str:
    """The command after which only its owner can read the file (icacls: no inherited rights, and one of one's own)."""
    if WINDOWS if windows is None else windows:
        return f"icacls {word(file, True)} /inheritance:r /grant:r USER:R"
    return f"chmod 600 {word(file, False)}"
