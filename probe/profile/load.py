"""A profile's name and what the command line adds → a Profile, or all that is wrong with it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from probe.plain import dataclass
from probe.profile.doubts import doubts
from probe.profile.faults import check
from probe.profile.find import is_path
from probe.profile.layers import Layer, Merged, Overlay, as_parent, file_layers, mapping_layer, outside_layers
from probe.profile.model import Plugins, Profile
from probe.profile.problem import SECRETS, Fault, Problem, ProfileError
from probe.profile.table import Inner, Key, Table

KINDS = ("readback",)
Settings = Mapping[str, Mapping[str, type[Table]]]
"""The plug-ins' settings: kind (readback) → name → model."""


@dataclass(frozen=True)
class Reading:
    """What reading a profile gave: all layers merged, the model, the profile (corrected where faulty) and the faults."""

    merged: Merged
    model: type[Profile]
    profile: Profile | None
    faults: list[Fault]

    def problems(self) -> list[Problem]:
        """The faults with their places, in the order of the file."""
        found = [self._problem(fault) for fault in self.faults]
        return sorted(found, key=lambda problem: (problem.file or "", problem.line or 0))

    def _problem(self, fault: Fault) -> Problem:
        # An absent key stands nowhere: the place to add it is the profile's own file, not a parent or an option.
        layer = self.merged.main if fault.missing else self.merged.layer(fault.path)
        return layer.problem(fault.path, fault.text)


def load(
    name_or_path: str | os.PathLike[str],
    overlays: Sequence[Overlay] = (),
    *,
    plugins: Settings,
    environ: Mapping[str, str] | None = None,
) -> Profile:
    """Load a profile by name or path, its parents, the environment and the overlays (command line; nearest).

    `plugins` has the Settings of every plug-in; the Profile returned has a typed table for each.
    Raises ProfileError with every problem found.
    """
    return load_with_files(name_or_path, overlays, plugins=plugins, environ=environ)[0]


def load_with_files(
    name_or_path: str | os.PathLike[str],
    overlays: Sequence[Overlay] = (),
    *,
    plugins: Settings,
    environ: Mapping[str, str] | None = None,
) -> tuple[Profile, tuple[Path, ...]]:
    """As `load`; and the files that were read, parents included: while they are as they were, so is the profile."""
    name = os.fspath(name_or_path)
    layers, file = file_layers(name, os.environ if environ is None else environ)
    profile = _finished(read(layers, overlays, plugins, environ), file.parent.absolute(), file.stem, name)
    return profile, tuple(Path(layer.file) for layer in layers if layer.file)


def load_mapping(
    data: Mapping[str, object],
    overlays: Sequence[Overlay] = (),
    *,
    plugins: Settings,
    base: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Profile:
    """Make a profile from a mapping shaped as the TOML is. `base`: where relative files start (default: here).

    The process's environment is not looked at: a caller with a mapping has said all; pass `environ` to have it read.
    A mapping may extend a profile, as a file may. Raises ProfileError.
    """
    environ = {} if environ is None else environ
    parent, layer = data.get("extends"), mapping_layer(data, base)
    parents: list[Layer] = []
    if isinstance(parent, str) and parent:
        found, _ = file_layers(str(Path(base or "", parent)) if is_path(parent) else parent, os.environ)
        parents = [as_parent(one) for one in found]
    return _finished(read([*parents, layer], overlays, plugins, environ), base, "profile")


def read(layers: Sequence[Layer], overlays: Sequence[Overlay], plugins: Settings, environ: Mapping[str, str] | None) -> Reading:
    """Merge the layers (farthest first, the profile's own last), the environment and the overlays, and check them."""
    model = profile_model(plugins)
    merged = Merged(main=layers[-1])
    environ = os.environ if environ is None else environ
    tables = [name for name in model.known() if name not in ("extends", "name", "description")]
    for layer in (*layers, *outside_layers(overlays, environ, tables)):
        merged.add(layer)
    profile, faults = check(model, merged.tree)
    return Reading(merged, model, profile, faults)


def _finished(reading: Reading, base: Path | None, name: str, given: str = "") -> Profile:
    if reading.faults or reading.profile is None:
        raise ProfileError(reading.problems())
    profile = reading.profile if reading.profile.name else reading.profile.replace(name=name)
    origins = reading.merged.origins
    named = {path: layer.label(path) for path, layer in origins.items() if path[-1] in SECRETS and (layer.file or layer.origin)}
    return profile.doubting(replace(doubts(profile, reading.merged), named=named)).at(base, given)


def profile_model(plugins: Settings) -> type[Profile]:
    """A Profile class with a typed, optional table for each plug-in."""
    return _model(tuple((kind, tuple(sorted(plugins.get(kind, {}).items()))) for kind in KINDS))


@lru_cache(maxsize=16)
def _model(plugins: tuple[tuple[str, tuple[tuple[str, type[Table]], ...]], ...]) -> type[Profile]:
    tables: dict[str, Key] = {}
    for kind, settings in plugins:
        keys = {name: Key(Inner(table), optional=True) for name, table in settings}
        table = Plugins.derived(kind.capitalize(), keys)
        tables[kind] = Key(Inner(table), table())
    return Profile.derived("Profile", tables, Profile.__doc__)
