"""stdout, whatever it can hold: what machines read goes out as UTF-8 octets with LF, what people read in the stream's own encoding.

On Windows a pipe has the ANSI code page, and whoever reads it (PowerShell 5.1: OEM; editors: ANSI; agents: UTF-8) assumes another:
there what people read is ASCII, unless PYTHONUTF8 or PYTHONIOENCODING says what is wanted. A console shows everything.
"""

import codecs
import os
import sys
from typing import TextIO

_ERRORS = "probe.stand_in"
# What our own texts use beyond ASCII; the sparkline's bars become digits.
_STAND_INS = {"…": "...", "→": "->", "–": "-", "—": "-", "·": "-", "’": "'", "“": '"', "”": '"', "≤": "<=", "≥": ">=", "×": "x"}
_STAND_INS |= {"│": "|", "└": "+", "─": "-"}
_STAND_INS |= dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True))


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unsayable = error.object[error.start : error.end]
    return "".join(_STAND_INS.get(one) or one.encode("ascii", "backslashreplace").decode() for one in unsayable), error.end


codecs.register_error(_ERRORS, _stand_in)


def prepare() -> None:
    """Have stdout and stderr take every text: a character that they cannot say becomes one that stands for it, or an escape."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_ERRORS, encoding="ascii" if stands_for_ansi(stream, sys.platform) else None)


def stands_for_ansi(stream: TextIO, platform: str) -> bool:
    """Whether the stream is a pipe or file whose encoding nobody chose."""
    return platform == "win32" and not (stream.isatty() or sys.flags.utf8_mode or os.environ.get("PYTHONIOENCODING"))


def say(text: str) -> None:
    """A text for people, with a final line end."""
    write(f"{text}\n")


def data(text: str) -> None:
    """A text for machines: UTF-8, LF, as it is in a file."""
    write(text, machine=True)


def write(text: str, *, machine: bool = False) -> None:
    """Write; a closed or full stdout takes nothing from the exit status."""
    if sys.stdout is None:
        return
    try:
        buffer = getattr(sys.stdout, "buffer", None) if machine else None
        if buffer is not None:
            sys.stdout.flush()
            buffer.write(text.encode("utf-8", "backslashreplace"))
            buffer.flush()
        else:
            encoding = sys.stdout.encoding or "utf-8"
            sys.stdout.write(text.encode(encoding, _ERRORS).decode(encoding))
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        if not isinstance(error, BrokenPipeError):
            print(f"probe: cannot write to stdout: {error}; the verdict stands", file=sys.stderr)
        # Python would complain once more at exit, and exit with 120.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
