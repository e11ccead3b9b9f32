"""Files as the command line names them: read whichever way they were saved, and found where the shell does not expand patterns."""

import sys
from collections.abc import Iterable
from pathlib import Path

import typer

from probe.profile import textfile

_PATTERN = frozenset("*?[")


def text_of(file: Path | None) -> str:
    """The text of a file, or of stdin for None and `-`. Raises OSError, probe.profile.textfile.NotText."""
    if file is not None and str(file) != "-":
        return textfile.read(file)
    if sys.stdin is None:
        return ""
    buffer = getattr(sys.stdin, "buffer", None)
    return textfile.decoded(buffer.read()) if buffer is not None else sys.stdin.read()


def called(file: Path | None) -> str:
    """How an error names it."""
    return "stdin" if file is None or str(file) == "-" else str(file)


def expanded(words: Iterable[str]) -> list[str]:
    """Each word, and in place of a pattern (`*`, `?`, `[…]`) the files that fit it, sorted; `~` is the home directory.

    cmd.exe and PowerShell leave patterns to the program. A word that names a file is that file, whatever signs are in it.
    Raises a usage error for a pattern that fits no file.
    """
    found: list[str] = []
    for word in words:
        path = _at_home(word)
        if not _PATTERN & set(word) or path.exists():
            found.append(str(path) if path != Path(word) else word)
            continue
        fitting = sorted(str(one) for one in _glob(path))
        if not fitting:
            raise typer.BadParameter(f"no file fits {word}")
        found += fitting
    return found


def paths(words: Iterable[Path]) -> list[Path]:
    """`expanded`, for arguments that are files."""
    return [Path(word) for word in expanded(map(str, words))]


def one_path(word: Path) -> Path:
    """`expanded`, for an argument that is one file. Raises a usage error when a pattern fits several."""
    found = paths([word])
    if len(found) > 1:
        raise typer.BadParameter(f"{word} fits {len(found)} files, and one is wanted: {', '.join(map(str, found[:5]))}")
    return found[0]


def _at_home(word: str) -> Path:
    try:
        return Path(word).expanduser()
    except RuntimeError:  # no such user
        return Path(word)


def _glob(path: Path) -> Iterable[Path]:
    import glob

    return (Path(one) for one in glob.glob(str(path)))  # noqa: PTH207  Path.glob takes no absolute pattern
