"""The kinds of value that a profile's keys hold: how one is read from TOML, the sentence where it is none, its JSON Schema.

A kind stands in the type of a key: `Annotated[str, Kind(host)]`. Types of Python that mean the same everywhere (`bool`, `int`,
`str`, `Literal`, `tuple[X, ...]`, `Mapping[str, X]`) have theirs here and in table.py.
"""

import math
from collections.abc import Callable, Mapping

from probe.profile.problem import SECRETS, Fault, KeyPath

TEXT: Mapping[str, object] = {"type": "string"}


class Unwanted(ValueError):
    """A value that is not `what` was expected. Its text says what came instead; of what may be a secret it is left out."""

    def __init__(self, what: str, value: object) -> None:
        super().__init__(f"expected {what}, got {shown(value)}")
        self.expected = f"expected {what}"


def shown(value: object) -> str:
    """A value as an error text shows it: one short line, control characters escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of more than 60 digits"  # Python refuses to write those of more than 4300
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def wanted(what: str, value: object) -> Unwanted:
    """The error of a value that is not `what`."""
    return Unwanted(what, value)


class Kind:
    """One kind of value.

    `read` takes what TOML gave and returns the clean value, or raises ValueError with a sentence for the administrator;
    `schema` is its JSON Schema; `spell` turns a value back into what a profile would have.
    """

    def __init__(
        self,
        read: Callable[[object], object],
        schema: Mapping[str, object] = TEXT,
        spell: Callable[..., object] = lambda value: value,
    ) -> None:
        self.read, self.schema, self.spell = read, schema, spell

    def take(self, value: object, at: KeyPath, faults: list[Fault]) -> object:
        """The clean value of the key `at`; None where a fault was added."""
        try:
            return self.read(value)
        except Unwanted as error:
            text = error.expected if is_secret(at) else str(error)
        except ValueError as error:
            text = str(error)
        faults.append(Fault(at, text))
        return None


class Listed(Kind):
    """A list of values of one kind; each that is wrong has a fault of its own."""

    def __init__(self, item: Kind) -> None:
        super().__init__(_a_list, {"type": "array"}, lambda values: [item.spell(value) for value in values])
        self.item = item

    def take(self, value: object, at: KeyPath, faults: list[Fault]) -> object:
        given = super().take(value, at, faults)
        if not isinstance(given, tuple):
            return None
        return tuple(self.item.take(item, (*at, number), faults) for number, item in enumerate(given))


class Mapped(Kind):
    """A table whose keys the user chooses."""

    def __init__(self, key: Kind, item: Kind) -> None:
        super().__init__(_a_table, {"type": "object"}, dict)
        self.key, self.item = key, item

    def take(self, value: object, at: KeyPath, faults: list[Fault]) -> object:
        given = super().take(value, at, faults)
        if not isinstance(given, Mapping):
            return None
        return {self.key.take(key, (*at, key), faults): self.item.take(item, (*at, key), faults) for key, item in given.items()}


def _a_list(value: object) -> tuple[object, ...]:
    if not isinstance(value, (list, tuple)):
        raise wanted('a list, such as ["…"]', value)
    return tuple(value)


def _a_table(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise wanted("a table", value)
    return value


A_TABLE = Kind(_a_table)


def one_of(options: tuple[str, ...]) -> Kind:
    """One of these words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in options:
            raise wanted("one of " + ", ".join(map(repr, options)), value)
        return value

    return Kind(read, {"enum": list(options), "type": "string"})


def whole(least: int, most: int) -> Kind:
    """A whole number between two, both allowed."""

    def read(value: object) -> int:
        number = _whole(value)
        if number < least:
            raise wanted(f"at least {least}", value)
        if number > most:
            raise wanted(f"at most {most}", value)
        return number

    return Kind(read, {"maximum": most, "minimum": least, "type": "integer"})


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise wanted("a whole number", value)
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise wanted("true or false", value)
    return value


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wanted("a number", value)
    number = float(value) if isinstance(value, float) or value.bit_length() < 1000 else math.inf
    if not math.isfinite(number):
        raise wanted("a finite number", value)
    return number


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise wanted("text in quotes", value)
    return value


# The types of Python that are kinds as they stand.
PLAIN: Mapping[type, Kind] = {
    bool: Kind(_truth, {"type": "boolean"}),
    int: Kind(_whole, {"type": "integer"}),
    float: Kind(_number, {"type": "number"}),
    str: Kind(_string),
}


def is_secret(at: KeyPath) -> bool:
    """Whether what stands there may be a secret, or hold one."""
    return any(part in (*SECRETS, "client_secret") for part in at)
