"""The settings in force and where each came from."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from probe.profile.kinds import Kind, Listed, Mapped
from probe.profile.layers import Merged, Overlay, dotted, file_layers
from probe.profile.load import KINDS, Settings, read
from probe.profile.model import Profile, Reader
from probe.profile.problem import KeyPath, ProfileError
from probe.profile.secret import SecretSource
from probe.profile.table import Table

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
    for name in whole.known():
        if name not in own.written and getattr(whole, name) == getattr(getattr(profile, key), name):
            yield key, name


def _rows(table: Table, path: KeyPath, merged: Merged) -> Iterator[tuple[KeyPath, str, str]]:
    for name, key in table.known().items():
        here, value = (*path, name), getattr(table, name)
        if not path and name == "name":
            continue
        if isinstance(value, Table) and not isinstance(value, SecretSource):
            yield from _rows(value, here, merged)
        elif isinstance(key.kind, Mapped) and value:
            for part, item in value.items():
                yield (*here, part), _display(item, key.kind.item), _origin((*here, part), merged)
        else:
            off = value is None and len(here) == 2 and here[0] in KINDS
            yield here, "off" if off else _display(value, key.kind), _origin(here, merged)


def _origin(path: KeyPath, merged: Merged) -> str:
    return merged.origins[path].label(path) if path in merged.origins else "default"


def _display(value: Any, kind: Kind) -> str:
    if value is None:
        return "not set"
    if isinstance(value, SecretSource):
        return str(value)
    if isinstance(kind, Listed):
        return "[" + ", ".join(_display(item, kind.item) for item in value) + "]"
    return json.dumps(kind.spell(value), ensure_ascii=False, default=str)
