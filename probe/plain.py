"""Plain data, as `dataclasses` makes it, without its price at every start.

`@dataclass` of the standard library writes the methods of each class as text and compiles them: half a millisecond a class, once
a fifth of a whole run. This one gives every class the same methods. All else is the standard library's: what it makes is a
dataclass, and `field`, `fields`, `replace` and `asdict` are imported from there. An instance takes a microsecond longer: what is
made by the hundred thousand (a log's lines) keeps the standard one, as does what has a field with `init=False`, and the sandbox,
which shares nothing with the rest.
"""

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

__all__ = ["dataclass"]


class _Plan(NamedTuple):
    """What the shared methods need of a class: its fields in order, what stands in for those not given, which ones count."""

    names: tuple[str, ...]
    known: frozenset[str]
    defaults: Mapping[str, object]
    factories: tuple[tuple[str, Callable[[], object]], ...]
    compared: Callable[[Any], object]
    hashed: Callable[[Any], object]
    shown: tuple[str, ...]


_PLAN = "__plan__"
# Two threads may import at once.
_LIFTING = Lock()
_put = object.__setattr__


def _made(self: Any, /, *values: object, **given: object) -> None:
    plan: _Plan = getattr(self, _PLAN)
    if values:
        placed = dict(zip(plan.names, values, strict=False))
        if len(values) > len(plan.names) or placed.keys() & given.keys():
            raise TypeError(f"{type(self).__name__} takes each of {', '.join(plan.names)} once, in this order")
        given = placed | given
    filled = {**plan.defaults, **given}
    for name, factory in plan.factories:
        if name not in filled:
            filled[name] = factory()
    if filled.keys() != plan.known:
        missing, unknown = plan.known - filled.keys(), filled.keys() - plan.known
        raise TypeError(f"{type(self).__name__}: missing: {sorted(missing)}; unknown: {sorted(unknown)}")
    for name, value in filled.items():
        _put(self, name, value)
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _shown(self: Any) -> str:
    inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in getattr(self, _PLAN).shown)
    return f"{type(self).__qualname__}({inner})"


def _equal(self: Any, other: object) -> bool:
    compared = getattr(self, _PLAN).compared
    return bool(compared(self) == compared(other)) if type(other) is type(self) else NotImplemented


def _hashed(self: Any) -> int:
    return hash(getattr(self, _PLAN).hashed(self))


def _not_set(self: Any, name: str, value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _not_deleted(self: Any, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _rebuilt(self: Any) -> tuple[object, ...]:
    """For copy and pickle, which would set the fields of what is frozen."""
    return type(self), tuple(getattr(self, field.name) for field in dataclasses.fields(self))


class _Signature:
    """What help() and inspect show of the class; made when it is asked for."""

    def __get__(self, instance: object, owner: type[Any]) -> object:
        from inspect import Parameter, Signature

        return Signature(
            [
                Parameter(
                    field.name,
                    Parameter.POSITIONAL_OR_KEYWORD,
                    default=Parameter.empty if _is_needed(field) else field.default,
                    annotation=field.type,
                )
                for field in dataclasses.fields(owner)
            ]
        )


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _several(names: tuple[str, ...]) -> Callable[[Any], object]:
    return attrgetter(*names) if names else lambda _: ()


def _plan(fields: tuple[dataclasses.Field[Any], ...]) -> _Plan:
    names = tuple(field.name for field in fields)
    return _Plan(
        names,
        frozenset(names),
        {field.name: field.default for field in fields if field.default is not dataclasses.MISSING},
        tuple((field.name, field.default_factory) for field in fields if field.default_factory is not dataclasses.MISSING),
        _several(tuple(field.name for field in fields if field.compare)),
        _several(tuple(field.name for field in fields if (field.compare if field.hash is None else field.hash))),
        tuple(field.name for field in fields if field.repr),
    )


def _dataclass(cls: type[Any] | None = None, /, *, frozen: bool = False, slots: bool = False) -> Any:
    """The standard library's `dataclass` with these two options; TypeError for a field with `init=False` or `kw_only=True`."""
    if cls is None:
        return lambda cls: _dataclass(cls, frozen=frozen, slots=slots)
    # A class that compares itself has None for a hash, which is not its own word.
    own = {name for name, value in cls.__dict__.items() if not (name == "__hash__" and value is None)}
    methods: dict[str, object] = {"__init__": _made, "__repr__": _shown, "__eq__": _equal, "__hash__": _hashed if frozen else None}
    if frozen:
        methods |= {"__setattr__": _not_set, "__delattr__": _not_deleted, "__reduce__": _rebuilt}
    methods = {name: method for name, method in methods.items() if name not in own}
    made = _with_fields(cls, frozen, slots)
    fields = dataclasses.fields(made)
    if wrong := [field.name for field in fields if not field.init or field.kw_only]:
        raise TypeError(f"{cls.__name__}: {', '.join(wrong)}: use the dataclass of the standard library")
    for name, method in methods.items():
        setattr(made, name, method)
    setattr(made, _PLAN, _plan(fields))
    made.__signature__ = _Signature()
    made.__dataclass_params__.frozen = frozen
    return made


def _with_fields(cls: type[Any], frozen: bool, slots: bool) -> Any:
    """A dataclass with fields and no methods. The standard library lets what is frozen derive from what is frozen only, and makes
    methods for it: of the classes that this one derives from the mark is taken away meanwhile."""
    marks = [base.__dict__["__dataclass_params__"] for base in cls.__mro__[1:] if "__dataclass_params__" in base.__dict__]
    with _LIFTING:
        lifted = [mark for mark in marks if frozen and mark.frozen]
        for mark in lifted:
            mark.frozen = False
        try:
            return dataclasses.dataclass(cls, init=False, repr=False, eq=False, slots=slots)
        finally:
            for mark in lifted:
                mark.frozen = True


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass
