"""From pydantic's errors to sentences for an administrator: every mistake at once, none that follows from another."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from probe.profile.layers import KeyPath
from probe.profile.model import Profile
from probe.profile.table import SECRETS
from probe.profile.values import shown

_HOST: KeyPath = ("submission", "host")
_REQUIRED: Mapping[KeyPath, str] = {_HOST: 'missing; set the name users type, such as host = "mail.contoso.com"'}
# What stands in for a key that is wrong or absent while the search for further mistakes goes on, by its last two names.
_STANDINS: Mapping[KeyPath, Any] = {
    _HOST: "host.invalid",
    ("account", "username"): "user@host.invalid",
    ("account", "password"): {"env": "STANDIN"},
    ("message", "sender"): "user@host.invalid",
    ("message", "recipient"): "user@host.invalid",
}
_ROUNDS = 50
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text in quotes",
    "tuple": 'a list, such as ["…"]',
    "list": 'a list, such as ["…"]',
    "dict": "a table",
    "model": "a table",
    "path": "a path in quotes",
}
_COMPARED = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


@dataclass(frozen=True)
class Fault:
    """One mistake: the key's path and the text. `missing`: the key is absent. `about`: the keys the verdict rests on;
    empty when it rests on the key's own value alone. `meant`: the key that an unknown one was probably meant to be."""

    path: KeyPath
    text: str
    missing: bool = False
    about: tuple[KeyPath, ...] = ()
    meant: KeyPath | None = None


def check(model: type[Profile], data: Mapping[str, object]) -> tuple[Profile | None, list[Fault]]:
    """Validate; returns the profile and every fault.

    pydantic skips a table's cross-checks while one of its keys is wrong, so each round corrects what was found and
    validates again. With faults the profile is the corrected one (good for `probe show`), or None when that cannot be done.
    """
    tree = _copy(data)
    tree.setdefault("submission", {})
    faults: list[Fault] = []
    touched: set[KeyPath] = set()
    for _ in range(_ROUNDS):
        profile, found = _validate(model, tree)
        if profile:
            return profile, faults
        touched |= {fault.meant for fault in found if fault.meant}
        faults += [fault for fault in found if not _follows(fault, touched)]
        for fault in found:
            touched.add(fault.path)
            _mend(tree, fault.path)
    return None, faults


def _validate(model: type[Profile], tree: Mapping[str, Any]) -> tuple[Profile | None, list[Fault]]:
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        return None, [_fault(model, tree, detail) for detail in error.errors(include_url=False)]


def _follows(fault: Fault, touched: set[KeyPath]) -> bool:
    """True when the verdict rests on a key, or on one in or around it, that was already found to be wrong."""
    return any(one[: len(other)] == other[: len(one)] for one in fault.about for other in touched)


def _fault(model: type[Profile], tree: Mapping[str, Any], detail: ErrorDetails) -> Fault:
    kind, path, context = detail["type"], detail["loc"], detail.get("ctx", {})
    if kind == "contradiction":
        keys = [(*path, *(part for part in key.split(".") if part)) for key in context["about"]]
        return Fault(keys[0], context["text"], context["missing"], tuple(keys))
    if kind == "missing":
        return Fault(path, _REQUIRED.get(path, "missing"), True, (path,))
    if kind == "extra_forbidden":
        return _unknown(model, path)
    while path and not _exists(tree, path):
        path = path[:-1]  # pydantic adds the branch of a union, or "[key]", to the path
    return Fault(path, _sentence(detail, secret=any(part in SECRETS for part in path)))


def _sentence(detail: ErrorDetails, *, secret: bool) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    got = "" if secret else f", got {shown(detail['input'])}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"expected one of {context['expected'].replace(' or ', ', ')}{got}"
    if kind in _COMPARED:
        words, key = _COMPARED[kind]
        return f"expected {words} {context[key]}{got}"
    expected = _EXPECTED.get(kind.partition("_")[0])
    return f"expected {expected}{got}" if expected else detail["msg"]


def _unknown(model: type[Profile], path: KeyPath) -> Fault:
    """An unknown key, with the nearest valid one, the table it belongs to, or else the valid ones."""
    *table, key = path
    table_model = _model_at(model, tuple(table))
    keys = list(table_model.model_fields) if table_model else []
    text = f"unknown key {shown(key)}"
    if near := difflib.get_close_matches(str(key).lower().replace("-", "_"), keys, n=1):
        return Fault(path, f"{text}; did you mean '{near[0]}'?", meant=(*table, near[0]))
    homes = [name for name in model.model_fields if (home := _model_at(model, (name,))) and key in home.model_fields]
    if homes:
        return Fault(path, f"{text}; it belongs in [{'] or ['.join(homes)}]")
    return Fault(path, f"{text}; valid here: {', '.join(keys) or 'none'}")


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model of the table at a path, through `X | None`."""
    found: type[BaseModel] | None = model
    for part in path:
        field = found.model_fields.get(str(part)) if found else None
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        found = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return found


def _exists(tree: Any, path: KeyPath) -> bool:
    for part in path:
        listed = isinstance(tree, (list, tuple)) and isinstance(part, int) and part < len(tree)
        if not listed and not (isinstance(tree, Mapping) and part in tree):
            return False
        tree = tree[part]
    return True


def _mend(tree: dict[str, Any], path: KeyPath) -> None:
    """Put the stand-in where the fault is, or take away the key, or the innermost table or list that holds it."""
    standin = _STANDINS.get(path[-2:])
    for part in path[:-1]:
        inner = tree.get(str(part))
        if not isinstance(inner, dict):
            tree.pop(str(part), None)
            if standin is None:
                return
            inner = tree[str(part)] = {}
        tree = inner
    tree.pop(str(path[-1]), None)
    if standin is not None:
        tree[str(path[-1])] = standin


def _copy(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in data.items()}
