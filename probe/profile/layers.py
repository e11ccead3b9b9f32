"""The sources of settings, nearest last, merged into one tree that remembers where each key came from.

Parent files, the file, the environment, the command line: later wins, table by table; lists and scalars are replaced.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from enum import Enum
from pathlib import Path
from typing import Any

import probe.profile.textfile as textfile
from probe.plain import dataclass
from probe.profile.find import find
from probe.profile.kinds import shown
from probe.profile.lines import key_lines
from probe.profile.problem import SECRETS, KeyPath, Problem, ProfileError
from probe.profile.values import BACKSLASHES, at_home

PREFIX = "SUBMISSION_PROBE_"
# What a file says about itself does not pass to its children.
_OWN = ("name", "extends")


class _Remove(Enum):
    REMOVE = "remove"


REMOVE = _Remove.REMOVE
"""An overlay's value that takes the key or table away, as `--readback none` does."""


@dataclass(frozen=True)
class Overlay:
    """One setting from outside the file: where it was given (`--port`), the key's path, and the value or REMOVE."""

    origin: str
    path: tuple[str, ...]
    value: object


@dataclass(frozen=True)
class Layer:
    """One source: its data, and either the file with its lines or the option or variable it came from."""

    data: Mapping[str, object]
    file: str | None = None
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    origin: str | None = None

    def line(self, path: KeyPath) -> int | None:
        """The line of the key, or of the innermost table around it that stands in the file."""
        return next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A problem with this layer's key."""
        return Problem(self.file, self.line(path), self.origin or dotted(path), text)

    def label(self, path: KeyPath) -> str:
        """Where the key came from, in a few characters."""
        line = self.line(path)
        return self.origin or (f"{self.file}:{line}" if self.file and line else self.file or "given")


@dataclass
class Merged:
    """The tree of all layers; `origins` has the layer of every key and table, `main` is the profile's own."""

    main: Layer
    tree: dict[str, object] = field(default_factory=dict)
    origins: dict[KeyPath, Layer] = field(default_factory=dict)
    # The options that took a table or key away.
    removed: set[str | None] = field(default_factory=set)

    def add(self, layer: Layer) -> None:
        """Lay a nearer layer over what is there."""
        self._merge(self.tree, layer.data, (), layer)

    def layer(self, path: KeyPath) -> Layer:
        """The layer that a key, or else the innermost table around it, came from."""
        found = (self.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.origins)
        return next(found, self.main)

    def _merge(self, tree: dict[str, Any], data: Mapping[str, Any], path: KeyPath, layer: Layer) -> None:
        # Password and token are one choice: naming one takes the place of either.
        replaced = SECRETS if path[-1:] == ("account",) and any(key in data for key in SECRETS) else ()
        for key in (*(key for key in replaced if key not in data), *data):
            here, value = (*path, key), data.get(key, REMOVE)
            table = isinstance(value, Mapping) and key not in SECRETS and isinstance(tree.get(key), dict)
            if not table:
                self._forget(tree, key, here)
            if value is REMOVE:
                self.removed.add(layer.origin)
                continue
            self.origins[here] = layer
            if isinstance(value, Mapping):
                self._merge(tree.setdefault(key, {}), value, here, layer)
            else:
                tree[key] = value

    def _forget(self, tree: dict[str, Any], key: str, here: KeyPath) -> None:
        tree.pop(key, None)
        for path in [path for path in self.origins if path[: len(here)] == here]:
            del self.origins[path]


def dotted(path: KeyPath) -> str:
    """`readback.imap.folders[1]` for a key's path; control characters in quoted keys are escaped."""
    text = ""
    for part in path:
        plain = isinstance(part, int) or (isinstance(part, str) and re.fullmatch(r"[\w-]+", part))
        word = part if plain else ascii(part)
        text += f"[{word}]" if isinstance(part, int) else f".{word}" if text else str(word)
    return text


def file_layers(name: str, environ: Mapping[str, str]) -> tuple[list[Layer], Path]:
    """The profile's file and its parents, farthest first, and the file's path. Raises ProfileError."""
    top = path = find(name, environ)
    layers: list[Layer] = []
    seen: dict[Path, str] = {}
    while True:
        seen[path.resolve()] = str(path)
        layer = read_file(path, own=not layers, at=layers[-1].problem(("extends",), "") if layers else None)
        layers.append(layer)
        parent = layer.data.get("extends")
        if parent is None:
            break
        at = layer.problem(("extends",), "")
        if not isinstance(parent, str) or not parent:
            raise ProfileError(layer.problem(("extends",), "expected a profile's name or path in quotes"))
        path = find(parent, environ, folder=path.parent, child=path, at=at)
        if path.resolve() in seen:
            chain = " → ".join([*seen.values(), str(path)])
            raise ProfileError(layer.problem(("extends",), f"goes in a circle: {chain}"))
    kept = [layers[0], *(as_parent(layer) for layer in layers[1:])]
    return kept[::-1], top


def as_parent(layer: Layer) -> Layer:
    """The layer without what a file says about itself alone."""
    data = {key: value for key, value in layer.data.items() if key not in _OWN}
    return Layer(data, layer.file, layer.lines)


def read_file(path: Path, *, own: bool = True, at: Problem | None = None) -> Layer:
    """Read one TOML file. Raises ProfileError: at the child's `extends` (`at`) when a parent cannot be opened."""
    try:
        toml = textfile.read(path)
        data, wrong = tomllib.loads(toml), None
    except OSError as error:
        place = at or Problem(str(path), None, "", "")
        which = "" if own else f"the parent {path} "
        wrong = Problem(place.file, place.line, place.key, f"{which}cannot be read: {error.strerror}")
    except textfile.NotText as error:
        wrong = Problem(str(path), None, "", str(error))
    except RecursionError:
        wrong = Problem(str(path), None, "", "is nested too deeply")
    except ValueError as error:
        wrong = _syntax_problem(str(path), toml, str(error))
    # Raised out here, so that no traceback shows the text of the file, where a password may stand.
    if wrong:
        raise ProfileError(wrong)
    return Layer(_anchored(data, path.parent.absolute()), str(path), key_lines(toml))


def _syntax_problem(file: str, toml: str, said: str) -> Problem:
    # tomllib: "Invalid value (at line 3, column 5)" or "… (at end of document)".
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
    if not found:
        return Problem(file, None, "", f"is not TOML: {said}")
    line = int(found[1]) if found[1] else toml.rstrip("\n").count("\n") + 1
    end = "" if found[1] else " at the end of the file"
    # The line itself is not shown: a password may stand there.
    hint = f"; {BACKSLASHES}" if re.search(r'"[^"]*([A-Za-z]:\\|\\\\)', toml.splitlines()[line - 1]) else ""
    return Problem(file, line, "", f"is not TOML: {said[: found.start()]}{end}{hint}", int(found[2]) if found[2] else None)


def outside_layers(overlays: Sequence[Overlay], environ: Mapping[str, str], tables: Sequence[str]) -> Iterator[Layer]:
    """The environment's settings, then the command line's: one layer each, so that each error names its origin."""
    for variable in sorted(environ):
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if variable.startswith(PREFIX) and len(path) > 1 and path[0] in tables:
            yield _single(variable, path, _toml_value(environ[variable]))
    for overlay in overlays:
        if not overlay.path:
            raise ProfileError(Problem(None, None, overlay.origin, "names no key; expected section.key=value"))
        yield _single(overlay.origin, overlay.path, overlay.value)


def _single(origin: str, path: tuple[str, ...], value: object) -> Layer:
    data: Any = value
    for part in reversed(path):
        data = {part: data}
    return Layer(_anchored(data, Path.cwd()), origin=origin)


def _toml_value(text: str) -> Any:
    """The text as a TOML value (587, true, ["a"], { env = "X" }), else as it stands."""
    try:
        value = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    plain = isinstance(value["value"], (str, int, float, list, dict))
    return value["value"] if plain and len(value) == 1 else text


def mapping_layer(data: Mapping[str, object], base: Path | None) -> Layer:
    """The layer of a mapping given by a library's caller."""
    return Layer(_anchored(data, (base or Path.cwd()).absolute()))


_FILES = ("ca_file", "client_certificate", "client_key")
_SECRET_TABLES = (*SECRETS, "client_secret")


# No key lies deeper than five tables; what is nested without end (a.a.a.a…) is not followed.
_DEEPEST = 30


def _anchored(data: Mapping[str, Any], folder: Path, table: str = "", depth: int = 0) -> dict[str, Any]:
    """A copy whose file names are absolute, each relative to the source it stands in and not to a child's folder."""
    copy: dict[str, Any] = {}
    if depth > _DEEPEST:
        return copy
    for key, value in data.items():
        names_file = key in _FILES or (table in _SECRET_TABLES and key == "file")
        if isinstance(value, Mapping):
            copy[key] = _anchored(value, folder, key, depth + 1)
        elif names_file and isinstance(value, (str, os.PathLike)) and shown(value) and str(value).isprintable():
            copy[key] = _absolute(value, folder)
        else:
            copy[key] = value
    return copy


def _absolute(value: "str | os.PathLike[str]", folder: Path) -> object:
    """As it stands where it names nothing, or nobody's home: the table's own check says so."""
    try:
        return str(Path(folder, at_home(str(value)))) if str(value).strip() else value
    except ValueError:
        return value
