"""probe.plain beside the dataclass of the standard library: one class body, made by both, behaves alike."""

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, field, fields, is_dataclass, replace
from typing import Any, ClassVar

import pytest

from probe.plain import dataclass

MAKERS = [dataclass, dataclasses.dataclass]


def point(maker: Any, **options: bool) -> Any:
    class Point:
        """A point."""

        kind: ClassVar[str] = "point"
        x: int
        y: int = 2
        seen: list[int] = field(default_factory=list, compare=False)
        secret: str = field(default="hidden", repr=False)

        def across(self) -> int:
            return self.x + self.y

    return maker(**options)(Point)


@dataclass(frozen=True, slots=True)
class Kept:
    x: int
    y: tuple[int, ...] = ()


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("options", [{}, {"slots": True}, {"frozen": True}, {"frozen": True, "slots": True}], ids=str)
def test_what_a_dataclass_is(maker: Any, options: dict[str, bool]) -> None:
    made = point(maker, **options)
    one = made(1)
    assert (one.x, one.y, one.seen, one.secret, one.kind, one.across()) == (1, 2, [], "hidden", "point", 3)
    assert made(1, 3).y == made(y=3, x=1).y == 3
    assert one == made(1, seen=[9]) and one != made(2) and one != (1, 2, [], "hidden") and made(1).seen is not one.seen
    assert repr(one) == "test_plain.point.<locals>.Point(x=1, y=2, seen=[])".removeprefix("test_plain.")
    assert (
        is_dataclass(made) and [item.name for item in fields(made)] == ["x", "y", "seen", "secret"] and made.__doc__ == "A point."
    )
    assert list(inspect.signature(made).parameters) == ["x", "y", "seen", "secret"]
    assert inspect.signature(made).parameters["x"].default is inspect.Parameter.empty
    assert asdict(replace(one, y=5)) == {"x": 1, "y": 5, "seen": [], "secret": "hidden"}
    assert made.__match_args__ == ("x", "y", "seen", "secret") and hasattr(one, "__dict__") is not options.get("slots", False)
    if options.get("frozen"):
        assert hash(one) == hash(made(1, seen=[9])) and len({one, made(1), made(2)}) == 2
        with pytest.raises(FrozenInstanceError, match="x"):
            one.x = 2
        with pytest.raises(FrozenInstanceError, match="x"):
            del one.x
    else:
        one.x = 7
        assert one.x == 7
        with pytest.raises(TypeError, match="unhashable"):
            hash(one)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1,), {"x": 1}), ((1, 2, [], "", 5), {}), ((1,), {"z": 2}), ((), {"z": 2})]
)
def test_what_is_not_given_right_is_a_type_error(maker: Any, values: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Point"):
        point(maker, frozen=True, slots=True)(*values, **named)


@pytest.mark.parametrize("maker", MAKERS)
def test_what_the_class_has_of_its_own_stays(maker: Any) -> None:
    @maker(frozen=True)
    class Own:
        """One that shows and compares itself."""

        x: int

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("negative")

        def __repr__(self) -> str:
            return "own"

        def __hash__(self) -> int:
            return 4

    @maker(frozen=True)
    class Alike:
        """One that is equal to all others."""

        x: int

        def __eq__(self, other: object) -> bool:
            return True

    assert repr(Own(1)) == "own" and hash(Own(2)) == 4 and Own(1) == Own(1)
    assert Alike(1) == Alike(2) and hash(Alike(1)) == hash(Alike(1)) != hash(Alike(2))
    with pytest.raises(ValueError, match="negative"):
        Own(-1)


@pytest.mark.parametrize("maker", MAKERS)
def test_fields_of_what_it_derives_from_come_first(maker: Any) -> None:
    base = point(maker, frozen=True, slots=True)

    class Further(base):
        """A point with more."""

        z: int = 5

    made = maker(frozen=True, slots=True)(Further)
    assert [item.name for item in fields(made)] == ["x", "y", "seen", "secret", "z"] and made(1, z=6).z == 6
    assert made(1) != base(1) and made(1) == made(1)


@pytest.mark.parametrize("makers", [MAKERS, MAKERS[::-1]])
def test_one_may_derive_from_the_other(makers: list[Any]) -> None:
    base = point(makers[0], frozen=True, slots=True)

    class Further(base):
        """A point of a plug-in, which knows the standard library only."""

        z: int = 5

    made = makers[1](frozen=True, slots=True)(Further)
    one = made(1, z=6)
    assert [item.name for item in fields(made)] == ["x", "y", "seen", "secret", "z"] and asdict(replace(one, y=3))["y"] == 3
    assert one == made(1, z=6) != made(1) and hash(one) == hash(made(1, z=6)) and copy.copy(one) == one
    with pytest.raises(FrozenInstanceError):
        one.z = 2
    # The base is as frozen as before.
    for maker in MAKERS:
        with pytest.raises(TypeError, match="non-frozen"):
            maker(type("Loose", (base,), {}))


def test_what_is_frozen_is_copied_and_pickled() -> None:
    kept = Kept(1, (2,))
    assert copy.copy(kept) == copy.deepcopy(kept) == pickle.loads(pickle.dumps(kept)) == kept


@pytest.mark.parametrize("options", [{"init": False}, {"kw_only": True}], ids=str)
def test_what_it_does_not_know_is_said(options: dict[str, bool]) -> None:
    class Odd:
        """A class with a field of another kind."""

        odd: int = field(default=1, **options)

    with pytest.raises(TypeError, match=r"Odd: odd: use the dataclass of the standard library"):
        dataclass(Odd)
