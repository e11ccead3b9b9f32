"""In which line each key of a TOML file stands. tomllib does not say, and an error without a line is half an error.

The text was accepted by tomllib before, so this scanner may trust it to be well formed.
"""

import re
import tomllib

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*(\.?)""")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]*")


def key_lines(toml: str) -> dict[Path, int]:
    """Line (from 1) of every table, key and list item in well-formed TOML, by its path."""
    scanner = _Scanner(toml.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, toml: str) -> None:
        self.toml, self.at = toml, 0
        self.lines: dict[Path, int] = {}
        self._line, self._counted = 1, 0
        self._arrays: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while not self._blank():
            if self._next("[["):
                table = self._key(())
                table = table[:-1] if isinstance(table[-1], int) else table
                self._arrays[table] = number = self._arrays.get(table, -1) + 1
                table = (*table, number)
                self._note(table)
                self.at += 2
            elif self._next("["):
                table = self._key(())
                self.at += 1
            else:
                self._pair(table)

    def _pair(self, table: Path) -> None:
        path = self._key(table)
        self.at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._blank()
        if self._next("["):
            number = 0
            while not self._closed("]"):
                self._blank()
                self._note((*path, number))
                self._value((*path, number))
                number += 1
        elif self._next("{"):
            while not self._closed("}"):
                self._pair(path)
        else:
            found = _STRING.match(self.toml, self.at) or _SCALAR.match(self.toml, self.at)
            self.at = found.end() if found else len(self.toml)

    def _closed(self, bracket: str) -> bool:
        """Past blanks and commas: True at the bracket, or at the end of the text, whatever was expected there."""
        while not self._blank() and self._next(","):
            pass
        return self.at >= len(self.toml) or self._next(bracket)

    def _key(self, table: Path) -> Path:
        self._blank()
        path, more = table, True
        while more and (found := _KEY.match(self.toml, self.at)):
            path = (*path, _plain(found[1]))
            if path in self._arrays:
                path = (*path, self._arrays[path])
            self._note(path)
            self.at, more = found.end(), bool(found[2])
        return path

    def _note(self, path: Path) -> None:
        self._line += self.toml.count("\n", self._counted, self.at)
        self._counted = max(self.at, self._counted)
        self.lines.setdefault(path, self._line)

    def _blank(self) -> bool:
        """Skip blanks, line ends and comments; True at the end of the text."""
        found = _BLANK.match(self.toml, self.at)
        self.at = found.end() if found else self.at
        return self.at >= len(self.toml)

    def _next(self, token: str) -> bool:
        found = self.toml.startswith(token, self.at)
        self.at += len(token) if found else 0
        return found


def _plain(key: str) -> str:
    """A key without its quotes and escapes."""
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[0] in "\"'" else key
