"""Every mistake of a profile at once, and none that follows from another."""

from collections.abc import Mapping
from typing import Any

from probe.profile.kinds import shown
from probe.profile.model import Profile
from probe.profile.problem import Fault, KeyPath
from probe.profile.table import Inner, Table

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


def check(model: type[Profile], data: Mapping[str, object]) -> tuple[Profile | None, list[Fault]]:
    """Validate; returns the profile and every fault.

    A table's cross-checks wait until each of its keys is right, so each round corrects what was found and reads again. With
    faults the profile is the corrected one (good for `probe show`), or None when that cannot be done.
    """
    tree = _copy(data)
    tree.setdefault("submission", {})
    faults: list[Fault] = []
    touched: set[KeyPath] = set()
    for _ in range(_ROUNDS):
        profile, found = _read(model, tree)
        if profile:
            return profile, faults
        touched |= {fault.meant for fault in found if fault.meant}
        faults += [fault for fault in found if not _follows(fault, touched)]
        for fault in found:
            touched.add(fault.path)
            _mend(tree, fault.path)
    return None, faults


def _read(model: type[Profile], tree: Mapping[str, Any]) -> tuple[Profile | None, list[Fault]]:
    found: list[Fault] = []
    profile = model.take(tree, (), found)
    return profile, [_unknown(model, fault.path) if fault.unknown else _explained(fault) for fault in found]


def _follows(fault: Fault, touched: set[KeyPath]) -> bool:
    """True when the verdict rests on a key, or on one in or around it, that was already found to be wrong."""
    return any(one[: len(other)] == other[: len(one)] for one in fault.about for other in touched)


def _explained(fault: Fault) -> Fault:
    return fault._replace(text=_REQUIRED.get(fault.path, fault.text)) if fault.missing else fault


def _unknown(model: type[Profile], path: KeyPath) -> Fault:
    """An unknown key, with the nearest valid one, the table it belongs to, or else the valid ones."""
    import difflib  # for whoever has misspelt something

    *table, key = path
    here = _table_at(model, tuple(table))
    keys = list(here.known()) if here else []
    text = f"unknown key {shown(key)}"
    if near := difflib.get_close_matches(str(key).lower().replace("-", "_"), keys, n=1):
        return Fault(path, f"{text}; did you mean '{near[0]}'?", meant=(*table, near[0]))
    homes = [name for name in model.known() if (home := _table_at(model, (name,))) and key in home.known()]
    if homes:
        return Fault(path, f"{text}; it belongs in [{'] or ['.join(homes)}]")
    return Fault(path, f"{text}; valid here: {', '.join(keys) or 'none'}")


def _table_at(table: type[Table], path: KeyPath) -> type[Table] | None:
    """The table at a path."""
    found: type[Table] | None = table
    for part in path:
        key = found.known().get(str(part)) if found else None
        found = key.kind.table if key and isinstance(key.kind, Inner) else None
    return found


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
