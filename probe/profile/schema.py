"""The JSON Schema of a profile, from its tables: for editors."""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from probe.profile.kinds import Kind, Listed, Mapped
from probe.profile.load import Settings, profile_model
from probe.profile.model import Profile
from probe.profile.secret import SecretSource
from probe.profile.table import Inner, Key, Table


def json_schema(plugins: Settings) -> dict[str, object]:
    """JSON Schema 2020-12 of a profile, with a table for each plug-in; for editors, by `#:schema FILE`."""
    model = profile_model(plugins)
    names = _names(model)
    tables = {names[table]: _described(table, names) for table in sorted(names, key=names.__getitem__)}
    whole = {**_described(model, names), "title": "submission-probe profile"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": tables, **_only_alone(whole, tables)}


def _only_alone(schema: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """What a profile must have is asked of one without a parent; a child may inherit it."""
    needed = schema.pop("required", [])
    inside = {key: {"required": keys} for key in needed if (keys := tables[key.capitalize()].pop("required", []))}
    return {**schema, "if": {"not": {"required": ["extends"]}}, "then": {"required": needed, "properties": inside}}


def _names(model: type[Profile]) -> dict[type[Table], str]:
    """Every table within the profile, by the name of its definition: its own, with its module where two have the same."""
    tables = list(dict.fromkeys(_within(model)))
    short = [table.__name__ for table in tables]
    return {
        table: table.__name__ if short.count(table.__name__) == 1 else f"{table.__module__}.{table.__qualname__}".replace(".", "__")
        for table in tables
    }


def _within(table: type[Table]) -> Iterator[type[Table]]:
    for key in table.known().values():
        if isinstance(key.kind, Inner):
            yield key.kind.table
            yield from _within(key.kind.table)


def _described(table: type[Table], names: Mapping[type[Table], str]) -> dict[str, Any]:
    words = {name: text for base in reversed(table.__mro__) if issubclass(base, Table) for name, text in _docstrings(base).items()}
    keys = {name: _key(name, key, names, words.get(name)) for name, key in table.known().items()}
    required = [name for name, key in table.known().items() if key.required]
    described: dict[str, Any] = {"additionalProperties": False}
    if about := inspect.cleandoc(table.__dict__.get("__doc__") or ""):
        described["description"] = about
    if issubclass(table, SecretSource):
        described["oneOf"] = [{"required": [kind]} for kind in table.kinds]
    described |= {"properties": keys, **({"required": required} if required else {})}
    return {**described, "title": table.__name__, "type": "object"}


def _key(name: str, key: Key, names: Mapping[type[Table], str], words: str | None) -> dict[str, Any]:
    """TOML has no null: an optional key is one that is left out. A table's default is that of its keys, a port's follows."""
    described = _kind(key.kind, names)
    if isinstance(key.kind, Inner):
        return {**described, "description": words} if words else described
    follows = isinstance(key.kind, Mapped) or key.default == 0 < described.get("minimum", 0)
    if key.default is not None and not follows:
        described["default"] = key.kind.spell(key.default)
    described["title"] = name.replace("_", " ").title()
    return {"description": words, **described} if words else described


def _kind(kind: Kind, names: Mapping[type[Table], str]) -> dict[str, Any]:
    if isinstance(kind, Inner):
        return {"$ref": f"#/$defs/{names[kind.table]}"}
    if isinstance(kind, Listed):
        return {"items": _kind(kind.item, names), **kind.schema}
    if isinstance(kind, Mapped):
        return {"additionalProperties": _kind(kind.item, names), **kind.schema}
    return dict(kind.schema)


def _docstrings(table: type[Table]) -> dict[str, str]:
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
