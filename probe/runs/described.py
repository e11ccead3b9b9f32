"""JSON Schema of a run, made from the types of its dataclasses: probe/report, probe/record.py, probe/facts."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from probe.facts import KINDS, Facts, Published, Swept, Tried
from probe.record import ASKED, HIDDEN, LATER, StageRecord
from probe.report import Report, Stage, Status

# Thirty years, and instants that such a time can be added to: more is no run, and no calendar or float holds it.
MOST_SECONDS = 1e9
SECONDS: dict[str, Any] = {"type": "number", "minimum": -MOST_SECONDS, "maximum": MOST_SECONDS}
INSTANT: dict[str, Any] = {"type": "string", "pattern": r"^(19[7-9]\d|2\d{3})-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
NAME: dict[str, Any] = {"type": "string", "pattern": "^[A-Za-z0-9 ._:/@+-]{0,100}$"}
_MARKED: Mapping[str, dict[str, Any]] = {"seconds": SECONDS, "instant": INSTANT, "name": NAME}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


_MADE: dict[type[Facts], dict[str, Any]] = {}


def facts_schema(kind: type[Facts]) -> dict[str, object]:
    """Of one kind. Every key may be missing: another version may know fewer or more."""
    if kind not in _MADE:
        hints = get_type_hints(kind)
        keys = {item.name: {**_of(hints[item.name]), "description": item.metadata["what"]} for item in fields(kind)}
        _MADE[kind] = {"type": "object", "description": (kind.__doc__ or "").split("\n")[0], "properties": keys}
    return _MADE[kind]


def stage_schema(stage: Mapping[str, object]) -> dict[str, object]:
    """The schema of a stage, with that of its facts by its name (`$defs` of `definitions`)."""
    return {**stage, "allOf": [_when(pattern, kinds) for pattern, kinds in _PATTERNS.items()]}


def definitions() -> dict[str, object]:
    """Each kind by its name, for `$defs`."""
    return {kind.__name__: facts_schema(kind) for kinds in _PATTERNS.values() for kind in kinds}


def _patterns() -> dict[str, list[type[Facts]]]:
    """By a pattern of stage names, the kinds of facts that such a stage may have."""
    steps: dict[type[Facts], list[str]] = {}
    for step, kind in KINDS.items():
        steps.setdefault(kind, []).append(step)
    found = {rf"^(?!discover\.)[^.]+\.({'|'.join(names)})(\.|$)": [kind] for kind, names in steps.items()}
    found = {pattern: [*kinds, Swept] if "find" in pattern else kinds for pattern, kinds in found.items()}
    return {**found, r"^discover\.verify$": [Tried], r"^discover\.(?!verify$)": [Published]}


_PATTERNS = _patterns()


def _when(pattern: str, kinds: Sequence[type[Facts]]) -> dict[str, Any]:
    refs = [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]
    # A sweep's find is known by its keys, as kind_of knows it.
    facts = refs[0] if len(refs) == 1 else {"if": {"required": ["foreign"]}, "then": refs[1], "else": refs[0]}
    return {"if": {"properties": {"name": {"pattern": pattern}}}, "then": {"properties": {"facts": facts}}}


def report_schema() -> dict[str, object]:
    """Of one report. A key is required, unless runs of earlier versions do not have it (`LATER`)."""
    return _of(Report)


def listed_schema(kind: type, name: str, title: str, **more: Mapping[str, object]) -> dict[str, object]:
    """JSON Schema 2020-12 of an object that is a dataclass with `schema`, `version` and `more` beside its fields."""
    made = _object(kind)
    own = {"schema": {"const": name}, "version": {"type": "string"}, **more}
    made = {**made, "required": [*own, *made["required"]], "properties": {**own, **made["properties"]}}
    return {"$schema": DIALECT, "$id": f"urn:{name.replace('/', ':')}", "title": title, **made}


def _object(kind: Any) -> dict[str, Any]:
    """Of a dataclass: every field but those that stay out of the JSON."""
    hints = get_type_hints(kind, include_extras=True)
    shown = [item for item in fields(kind) if item.metadata != HIDDEN]
    required = [item.name for item in shown if item.metadata not in (LATER, ASKED)]
    return {"type": "object", "required": required, "properties": {item.name: _of(hints[item.name]) for item in shown}}


def _stage() -> dict[str, Any]:
    """A stage is its record with the status that the findings give it."""
    record = _object(StageRecord)
    more = {"status": _of(Status), "facts": {"type": "object"}}
    return {**record, "required": [*record["required"], "facts"], "properties": {**record["properties"], **more}}


def _of(hint: Any) -> dict[str, Any]:
    """The schema of one type: plain values, lists, mappings, dataclasses, TypedDicts, and unions of them."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _MARKED[inner[1]]
    if origin is Literal:
        return {"enum": list(inner)}
    if hint is Stage:
        return _stage()
    if is_dataclass(hint):
        return {"type": "object"} if issubclass(hint, Facts) else _object(hint)  # type: ignore[arg-type]
    if hint is Any or hint is object:
        return {}
    if origin in (Union, types.UnionType):
        return _union([_of(one) for one in inner])
    if is_typeddict(hint):
        return {"type": "object", "properties": {key: _of(value) for key, value in get_type_hints(hint).items()}}
    if origin in (Mapping, dict) or hint in (Mapping, dict):
        return {"type": "object", **({"additionalProperties": _of(inner[1])} if inner else {})}
    if origin in (Sequence, list, tuple):
        return {"type": "array", "items": _of(inner[0])}
    return {"type": _PLAIN[hint]}


def _union(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema that lists all types: at most one of them has anything inside; words stand beside null only."""
    if any("enum" in part for part in parts):
        return {"enum": [word for part in parts for word in part.get("enum", [None])]}
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= part
    return {**merged, "type": [part["type"] for part in parts]}
