"""Which target of one saved run is which of another: by its name, else by what it shares with the only one left. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class Place(NamedTuple):
    """What was probed. `node` is the address of one of several nodes behind a name, else None."""

    profile: str
    host: str
    port: int
    node: str | None

    def __str__(self) -> str:
        return f"{self.profile} {self.host}:{self.port}" + (f" at {self.node}" if self.node else "")


Pair = tuple[Place | None, Place | None]


def paired(old: Iterable[Place], new: Iterable[Place]) -> list[Pair]:
    """Each place with its counterpart; None where a side has none. A renamed profile, another host or port (a server that moved, a
    sandbox) is found where only one place of each side can be meant; a node is known by its address, always."""
    before, after = list(old), list(new)
    found: dict[Place, Place] = {}
    for likeness in (_itself, _profile_and_node, _server_and_node):
        left = [place for place in before if place not in found]
        free = [place for place in after if place not in found.values()]
        found |= _alike(left, free, likeness)
    if not found and len(before) == len(after) == 1:
        found = dict(zip(before, after, strict=True))
    pairs: list[Pair] = [(place, found.get(place)) for place in before]
    return [*pairs, *((None, place) for place in after if place not in found.values())]


def _itself(place: Place) -> tuple[object, ...]:
    return place


def _profile_and_node(place: Place) -> tuple[object, ...]:
    return place.profile, place.node


def _server_and_node(place: Place) -> tuple[object, ...]:
    return place.host, place.port, place.node


def _alike(left: Sequence[Place], right: Sequence[Place], likeness: Callable[[Place], tuple[object, ...]]) -> dict[Place, Place]:
    """Places that are alike, where each has one counterpart only."""
    here, there = [likeness(place) for place in left], [likeness(place) for place in right]
    return {
        place: right[there.index(key)]
        for place, key in zip(left, here, strict=True)
        if here.count(key) == there.count(key) == 1
    }  # fmt: skip


def remark(old: Place, new: Place) -> str | None:
    """What to say of a pair that bears two names; None for one name."""
    if old == new:
        return None
    other = "host" if old.host != new.host else "port" if old.port != new.port else "profile"
    return f"another {other}: before {old}, after {new}; compared all the same"
