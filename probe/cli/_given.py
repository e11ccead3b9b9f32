"""Files as the command line names them: read whichever way they were saved, and found where the shell does not expand patterns."""

import codecs
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import typer

from probe.profile import textfile

_GZIP = b"\x1f\x8b"
_MOST_OCTETS = 64 * 1024 * 1024
_DAMAGED = "is a damaged .gz file"
_PATTERN = frozenset("*?[")


def text_of(file: Path | None) -> str:
    """The text of a file, or of stdin for None and `-`. Raises OSError, probe.profile.textfile.NotText."""
    if file is not None and str(file) != "-":
        return textfile.read(file)
    if sys.stdin is None:
        return ""
    buffer = getattr(sys.stdin, "buffer", None)
    return textfile.decoded(buffer.read()) if buffer is not None else sys.stdin.read()


def run_text(file: Path | None) -> str:
    """The text of a saved run, from a file or stdin: in any encoding that PowerShell writes, gzipped or not.

    Raises OSError, NotText; a usage error for what is larger than any saved run.
    """
    octets = _octets(file)
    if octets.startswith(_GZIP):
        octets = _unpacked(octets)
    if len(octets) > _MOST_OCTETS:
        raise typer.BadParameter(f"{called(file)} is larger than any saved run")
    try:
        return textfile.decoded(_mark(octets) + octets)
    except textfile.NotText:
        raise textfile.NotText("is not text: give the file that `probe run -o json` or `--report json=FILE` wrote") from None


def _unpacked(octets: bytes) -> bytes:
    """One octet more than a saved run may have, at most. Raises NotText."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        found = unpacking.decompress(octets, _MOST_OCTETS + 1)
    except zlib.error:
        raise textfile.NotText(_DAMAGED) from None
    if not unpacking.eof and len(found) <= _MOST_OCTETS:
        raise textfile.NotText(_DAMAGED)
    return found


def _mark(octets: bytes) -> bytes:
    """The byte order mark that UTF-16 without one lacks: JSON begins with an ASCII character (RFC 4627 section 3)."""
    first, second = octets[:1], octets[1:2]
    if first == b"\0" and second > b"\0":
        return codecs.BOM_UTF16_BE
    return codecs.BOM_UTF16_LE if second == b"\0" and first > b"\0" else b""


def _octets(file: Path | None) -> bytes:
    if file is not None and str(file) != "-":
        with file.open("rb") as opened:
            return opened.read(_MOST_OCTETS + 1)
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is not None:
        return bytes(buffer.read(_MOST_OCTETS + 1))
    return sys.stdin.read().encode() if sys.stdin is not None else b""


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
