"""The settings in force and where each came from, and the JSON Schema of a profile."""

import ast
import inspect
import itertools
import json
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from probe.profile.layers import KeyPath, Merged, Overlay, dotted, file_layers
from probe.profile.load import KINDS, Settings, profile_model, read
from probe.profile.margin import Margin
from probe.profile.model import Profile, Reader
from probe.profile.problem import ProfileError
from probe.profile.secret import SecretSource
from probe.profile.table import Table
from probe.profile.values import SECONDS_MARK, spell

Row = tuple[str, str, str]


def effective(
    name_or_path: str | os.PathLike[str],
    overlays: Sequence[Overlay] = (),
    *,
    plugins: Settings,
    environ: Mapping[str, str] | None = None,
) -> list[Row]:
    """Every setting as (dotted key, value as TOML, origin: FILE:LINE, option, variable or "default").

    What a reader or the message takes from elsewhere in the profile is shown as the run has it, its origin followed by that
    key. Of a secret only the source is shown. A key that still has to be set, as in a shipped profile, has the value
    "missing" and is no error here. Raises ProfileError for anything else that is wrong.
    """
    layers, _ = file_layers(os.fspath(name_or_path), os.environ if environ is None else environ)
    reading = read(layers, overlays, plugins, environ)
    if reading.profile is None or not all(fault.missing for fault in reading.faults):
        raise ProfileError(reading.problems())
    missing = {fault.path for fault in reading.faults}
    own = {path: (value, origin) for path, value, origin in _rows(reading.profile, (), reading.merged)}
    own |= {path: ("missing", own[path][1]) for path in missing & own.keys()}
    elsewhere = _elsewhere(reading.profile)
    return [(dotted(path), *(_taken(elsewhere[path], own) if path in elsewhere else row)) for path, row in own.items()]


def _taken(source: KeyPath, own: Mapping[KeyPath, tuple[str, str]]) -> tuple[str, str]:
    if source not in own:
        return f"as {dotted(source)}", "default"  # a whole table
    value, origin = own[source]
    return value, origin if origin == "default" else f"{origin} ({dotted(source)})"


def _elsewhere(profile: Profile) -> dict[KeyPath, KeyPath]:
    """The keys and tables that are not set, by what the run takes in their place."""
    found: dict[KeyPath, KeyPath] = {
        ("message", key): ("account", "username") for key in ("sender", "recipient") if getattr(profile.message, key) is None
    }
    for name, reader in profile.readers.items():
        if not isinstance(reader, Reader):
            continue
        path = ("readback", name)
        if reader.host is None:
            found[*path, "host"] = ("submission", "host")
        for key, whole in (("tls", profile.tls_for(reader)), ("account", profile.account_for(reader))):
            found |= {(*path, *part): (key, *part[1:]) for part in _inherited(key, getattr(reader, key), whole, profile)}
    return found


def _inherited(key: str, own: Table | None, whole: Table, profile: Profile) -> Iterator[KeyPath]:
    if own is None:
        yield (key,)
        return
    for name in type(whole).model_fields:
        if name not in own.model_fields_set and getattr(whole, name) == getattr(getattr(profile, key), name):
            yield key, name


def _rows(table: BaseModel, path: KeyPath, merged: Merged) -> Iterator[tuple[KeyPath, str, str]]:
    for name, field in type(table).model_fields.items():
        here, value = (*path, name), getattr(table, name)
        if not path and name == "name":
            continue
        if isinstance(value, BaseModel) and not isinstance(value, SecretSource):
            yield from _rows(value, here, merged)
        elif isinstance(value, dict) and value:
            yield from (((*here, key), _display(item), _origin((*here, key), merged)) for key, item in value.items())
        else:
            off = value is None and len(here) == 2 and here[0] in KINDS
            yield here, "off" if off else _display(value, field), _origin(here, merged)


def _origin(path: KeyPath, merged: Merged) -> str:
    return merged.origins[path].label(path) if path in merged.origins else "default"


def _display(value: Any, field: FieldInfo | None = None) -> str:
    if value is None:
        return "not set"
    if isinstance(value, SecretSource):
        return str(value)
    if isinstance(value, Margin):
        return json.dumps(str(value))
    if field is not None and SECONDS_MARK in field.metadata:
        return json.dumps(spell(value))
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_display(item) for item in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False, default=str)


def json_schema(plugins: Settings) -> dict[str, object]:
    """JSON Schema 2020-12 of a profile, with a table for each plug-in; for editors, by `#:schema FILE`."""
    schema: dict[str, Any] = _only_alone(_without_null(profile_model(plugins).model_json_schema()))
    for name, described in schema.get("$defs", {}).items():
        for key, text in _docstrings(name).items():
            described.get("properties", {}).get(key, {}).setdefault("description", text)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _only_alone(schema: dict[str, Any]) -> dict[str, Any]:
    """What a profile must have is asked of one without a parent; a child may inherit it."""
    needed = schema.pop("required", [])
    tables = {key: schema["$defs"][key.capitalize()].pop("required", []) for key in needed}
    inside = {key: {"required": keys} for key, keys in tables.items() if keys}
    return {**schema, "if": {"not": {"required": ["extends"]}}, "then": {"required": needed, "properties": inside}}


def _docstrings(definition: str) -> dict[str, str]:
    """What stands under each field of the table that a schema definition was made from, bases included."""
    found: dict[str, str] = {}
    for table in _tables(Table):
        if definition in (table.__name__, f"{table.__module__}.{table.__qualname__}".replace(".", "__")):
            for base in reversed([base for base in table.__mro__ if issubclass(base, Table)]):
                found |= _field_docstrings(base)
    return found


def _tables(table: type[Table]) -> Iterator[type[Table]]:
    for derived in table.__subclasses__():
        yield derived
        yield from _tables(derived)


def _field_docstrings(table: type[Table]) -> dict[str, str]:
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(table))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return {}  # made at run time, or installed without its source
    body = getattr(definition, "body", [])
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }  # fmt: skip


def _without_null(schema: Any) -> Any:
    """TOML has no null: an optional key is one that is left out. A table's default is that of its keys."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    idle = "default" in schema and (schema["default"] is None or isinstance(schema["default"], dict))
    kept = {key: _without_null(value) for key, value in schema.items() if not (idle and key == "default")}
    kinds = kept.get("anyOf")
    if isinstance(kinds, list) and {"type": "null"} in kinds:
        rest = [kind for kind in kinds if kind != {"type": "null"}]
        kept = {key: value for key, value in kept.items() if key != "anyOf"}
        kept = {**rest[0], **kept} if len(rest) == 1 else {**kept, "anyOf": rest}
    return kept
