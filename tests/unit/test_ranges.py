"""Ranges of monitoring plugins, against nagiosplugin's own."""

import nagiosplugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.judge._ranges import NotARange, limits, parse

NUMBERS = st.integers(-50, 50).map(str) | st.floats(-50, 50, allow_nan=False).map(lambda value: f"{value:.2f}")
RANGES = st.tuples(
    st.sampled_from(["", "@"]), st.sampled_from(["", "~:", "0:"]) | NUMBERS.map(lambda n: n + ":"), NUMBERS | st.just("")
)


@given(RANGES, st.floats(-100, 100, allow_nan=False))
def test_as_nagiosplugin_reads_them(parts: tuple[str, str, str], value: float) -> None:
    text = "".join(parts)
    try:
        ours = parse(text)
    except NotARange:
        if parts[1] or parts[2]:
            with pytest.raises(ValueError):
                nagiosplugin.Range(text)
        return
    assert ours.alerts(value) == (not nagiosplugin.Range(text).match(value))


@pytest.mark.parametrize("text", ["", "@", ":", "x", "10:x", "1:2:3", "20:10", "~", "--1", "1e3", "delivery=", "speed=10"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(NotARange):
        limits(text, None)


def test_by_name_or_alone() -> None:
    found = limits("10", "delivery=20,certificate=7:")
    assert found["delivery"].warning and found["delivery"].warning.text == "10"
    assert found["delivery"].critical and found["delivery"].critical.high == 20
    assert found["certificate"].critical and found["certificate"].critical.alerts(6.9) and found["certificate"].warning is None
