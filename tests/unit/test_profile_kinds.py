"""Whatever stands where a value belongs gives one plain line: never a traceback, and nothing of a secret."""

import datetime
import math
from collections.abc import Iterator

import pytest

from probe.profile import ProfileError, Table, load_mapping
from probe.profile.load import profile_model
from probe.profile.table import Inner, kind_of
from probe.tasks.plan import plugins

GOOD = {
    "submission": {"host": "mail.contoso.com"},
    "account": {"username": "probe@contoso.com", "password": {"env": "PROBE_PASSWORD"}},
    "readback": {"imap": {}},
}
CANARY = "hunter2\x1b-canary"
JUNK = [
    12345, -1, 0x10**6000, 1e400, math.nan, True, None, "", CANARY, b"\xff", [], [[[]]], [CANARY, 5], {}, {"a": {"b": [1]}}, {1: 2},
    {"env": [CANARY]}, {"command": [5]}, {"oauth": CANARY}, {"file": 5, "env": True}, datetime.date(2026, 1, 1), object(),
]  # fmt: skip


def paths(table: type[Table], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of every table."""
    for name, key in table.known().items():
        yield (*at, name)
        if isinstance(key.kind, Inner):
            yield from paths(key.kind.table, (*at, name))


EVERY = list(paths(profile_model(plugins())))


def with_one(path: tuple[str, ...], value: object) -> dict:
    data: dict = {key: dict(table) for key, table in GOOD.items()}
    inner = data
    for part in path[:-1]:
        inner[part] = dict(inner[part]) if isinstance(inner.get(part), dict) else {}
        inner = inner[part]
    inner[path[-1]] = value
    return data


@pytest.mark.parametrize("path", EVERY, ids=".".join)
def test_junk_is_a_plain_line(path: tuple[str, ...]) -> None:
    for value in JUNK:
        try:
            profile = load_mapping(with_one(path, value), plugins=plugins())
        except ProfileError as error:
            assert error.problems
            for problem in error.problems:
                assert str(problem).isprintable() and len(str(problem)) < 700, (path, value)
                secret = {"password", "token"} & set(path)
                assert not secret or "canary" not in problem.text, (path, value, problem.text)
        else:
            assert "canary" not in repr(profile.account)


def test_there_are_keys_to_try() -> None:
    assert len(EVERY) > 100 and ("readback", "imap", "account", "token", "oauth", "client_secret", "env") in EVERY


@pytest.mark.parametrize(("key", "value"), [("env", 5), ("file", 12345678), ("command", 87654321), ("prompt", 5)])
def test_a_number_where_a_source_of_a_secret_belongs_is_not_echoed(key: str, value: int) -> None:
    with pytest.raises(ProfileError) as caught:
        load_mapping(with_one(("account", "password"), {key: value}), plugins=plugins())
    assert str(caught.value).startswith(f"account.password.{key}: expected ") and str(value) not in str(caught.value)


def test_what_is_nested_without_end_is_an_unknown_key() -> None:
    junk: dict = {}
    for _ in range(5000):
        junk = {"a": junk}
    with pytest.raises(ProfileError, match="a: unknown key 'a'"):
        load_mapping(GOOD | junk, plugins=plugins())


def test_a_table_is_checked_by_whoever_makes_it_and_copied_unchecked() -> None:
    class Own(Table):
        path: str = "/"
        number: int
        names: tuple[str, ...] = ()

    with pytest.raises(ValueError, match=r"number: missing; pathe: unknown key"):
        Own(pathe="x")  # type: ignore[call-arg]
    own = Own(number=1)
    assert (own.path, own.written, repr(own)) == ("/", {"number": 1}, "Own(number=1)")
    assert own.replace(path="/x") == Own(number=1, path="/x") != own and own == Own(number=1, path="/")
    assert {own: 1}[Own(number=1)] == 1
    with pytest.raises(TypeError, match="no pathe"):
        own.replace(pathe=1)


def test_a_type_that_is_no_kind_of_value_is_the_programmers_mistake() -> None:
    with pytest.raises(TypeError, match=r"probe/profile/kinds\.py"):
        kind_of(set[str])

    class Own(Table):
        written: str = ""

    with pytest.raises(TypeError, match="no key can be called written"):
        Own.known()
