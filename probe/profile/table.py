"""The ground every table of a profile stands on: keys from annotations, values checked once, nothing changed afterwards.

A table is a class with one annotated name a key. The annotation says which kind of value it takes (kinds.py, values.py), the
value is its default, a docstring under it goes into the JSON Schema. No dataclasses: each would compile code at every start.
"""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NoReturn, Self, dataclass_transform, get_args, get_origin

from probe.profile.kinds import A_TABLE, PLAIN, Kind, Listed, Mapped, one_of
from probe.profile.problem import SECRETS, Fault, KeyPath
from probe.profile.values import printable


class Key(NamedTuple):
    """One key of a table. `optional`: None stands for its absence. `required`: there is no default."""

    kind: Kind
    default: object = None
    optional: bool = False
    required: bool = False


class Contradiction(ValueError):
    """Two settings that cannot both hold, or one that another makes necessary."""

    def __init__(self, key: str, text: str, about: Sequence[str], missing: bool) -> None:
        super().__init__(text)
        self.about, self.missing = (key, *about), missing

    def placed(self, at: KeyPath) -> Fault:
        """The fault, in the table that stands at a path."""
        keys = tuple((*at, *(part for part in key.split(".") if part)) for key in self.about)
        return Fault(keys[0], str(self), missing=self.missing, about=keys)


def contradiction(key: str, text: str, about: Sequence[str] = (), *, missing: bool = False) -> Contradiction:
    """What `agree` and `whole` raise.

    `key` (dotted, relative to the table that raises; "" for the table itself) is the setting to blame, `about` the
    further ones the verdict rests on: when one of those was itself in error, the verdict is not reported.
    """
    return Contradiction(key, text, about, missing)


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Table:
    """A frozen table that refuses unknown keys and control characters; never shows a secret in an error.

    An instance holds what was given; what was not is the class's default.
    """

    _keys: ClassVar[Mapping[str, Key] | None] = None

    def __init__(self, **given: object) -> None:
        """Check what is given, as a profile's own are. Raises ValueError with all that is wrong."""
        faults: list[Fault] = []
        if made := self.take(given, (), faults):
            self.__dict__.update(made.__dict__)
        else:
            raise ValueError("; ".join(f"{'.'.join(map(str, one.path))}: {one.text or 'unknown key'}" for one in faults))

    @classmethod
    def known(cls) -> Mapping[str, Key]:
        """Every key by name, those of the class it derives from first."""
        if "_keys" not in cls.__dict__:
            found = typing.get_type_hints(cls, include_extras=True)
            order = dict.fromkeys(name for base in reversed(cls.__mro__) for name in _annotated(base))
            cls._keys = {name: _key(cls, name, found[name]) for name in order if not _is_private(name, found[name])}
        assert cls._keys is not None
        return cls._keys

    @classmethod
    def derived(cls, name: str, keys: Mapping[str, Key], about: str | None = None) -> type[Self]:
        """A table like this one with further keys, or with others in their place; `about`: its docstring."""
        defaults = {key: one.default for key, one in keys.items() if not one.required}
        own = {"__doc__": about, "__module__": cls.__module__, "_keys": {**cls.known(), **keys}}
        return type(name, (cls,), own | defaults)

    @classmethod
    def whole(cls, given: object) -> object:
        """What is given, completed by what follows from it, before it is read. May raise a contradiction."""
        return given

    def agree(self) -> None:
        """Raise a contradiction where settings that are right by themselves do not go together."""

    @classmethod
    def take(cls, value: object, at: KeyPath, faults: list[Fault]) -> Self | None:
        """The table that stands at a path; None where a fault was added: each key that is wrong, or the first contradiction."""
        if isinstance(value, cls):
            return value
        before = len(faults)
        try:
            given = A_TABLE.take(cls.whole(value), at, faults)
            values = dict(cls._values(given, at, faults)) if isinstance(given, Mapping) else {}
            if len(faults) == before:
                made = cls._made(values)
                made.agree()
                return made
        except Contradiction as error:
            faults.append(error.placed(at))
        return None

    @classmethod
    def _values(cls, given: Mapping[Any, object], at: KeyPath, faults: list[Fault]) -> Iterator[tuple[str, object]]:
        keys = cls.known()
        for name, key in keys.items():
            here = (*at, name)
            if name not in given:
                if key.required:
                    faults.append(Fault(here, "missing", missing=True, about=(here,)))
            elif given[name] is None and key.optional:
                yield name, None
            elif not _unprintable(name, given[name], here, faults):
                yield name, key.kind.take(given[name], here, faults)
        faults += [Fault((*at, name), "", unknown=True) for name in given if name not in keys]

    @classmethod
    def _made(cls, values: Mapping[str, object]) -> Self:
        made = object.__new__(cls)
        made.__dict__.update(values)
        return made

    def replace(self, **changes: object) -> Self:
        """The same table with other values, which are right already: they are not checked."""
        if unknown := changes.keys() - self.known().keys():
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        return self._made({**self.__dict__, **changes})

    @property
    def written(self) -> Mapping[str, object]:
        """What was given, without the defaults."""
        return {name: self.__dict__[name] for name in self.known() if name in self.__dict__}

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, name) == getattr(other, name) for name in self.known())

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.known())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.written.items())})"


class Inner(Kind):
    """A table within a table, as a kind of value."""

    def __init__(self, table: type[Table]) -> None:
        self.table = table
        super().__init__(lambda value: value, {})

    def take(self, value: object, at: KeyPath, faults: list[Fault]) -> Table | None:
        return self.table.take(value, at, faults)


def _annotated(base: type) -> Mapping[str, Any]:
    return getattr(base, "__annotations__", {}) if issubclass(base, Table) else {}


def _is_private(name: str, annotation: Any) -> bool:
    return name.startswith("_") or annotation is ClassVar or get_origin(annotation) is ClassVar


def _key(table: type[Table], name: str, annotation: Any) -> Key:
    if hasattr(Table, name):
        raise TypeError(f"{table.__name__}: no key can be called {name}, which every table has")
    optional = get_origin(annotation) in (typing.Union, types.UnionType) and type(None) in get_args(annotation)
    required = not hasattr(table, name)
    return Key(kind_of(annotation), None if required else getattr(table, name), optional, required)


def kind_of(annotation: object) -> Kind:
    """The kind of value that a key's type says. Raises TypeError for a type that has none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return next(part for part in reversed(arguments) if isinstance(part, Kind))
    if origin in (typing.Union, types.UnionType) and len(inner := [part for part in arguments if part is not type(None)]) == 1:
        return kind_of(inner[0])
    if origin is Literal:
        return one_of(arguments)
    if origin is tuple and arguments[1:] == (...,):
        return Listed(kind_of(arguments[0]))
    if origin in (dict, Mapping):
        return Mapped(kind_of(arguments[0]), kind_of(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return Inner(annotation)
    if isinstance(annotation, type) and annotation in PLAIN:
        return PLAIN[annotation]
    raise TypeError(f"no kind of value is known for {annotation!r}: probe/profile/kinds.py")


def _unprintable(name: str, value: object, at: KeyPath, faults: list[Fault]) -> bool:
    """Whether text of a key holds a control character, which is then its fault; in a list it is the key's, not the item's.

    Tables within check themselves, so that the error names the innermost key. Of a secret nothing is said here."""
    if name in (*SECRETS, "client_secret"):
        return False
    try:
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, str):
                printable(item)
    except ValueError as error:
        faults.append(Fault(at, str(error)))
        return True
    return False
