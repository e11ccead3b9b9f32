"""How often and when a maildrop is looked into."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.observe.find import look_times

SECONDS = st.floats(min_value=0, max_value=7200, allow_nan=False)


@given(begin=SECONDS, warning=SECONDS, critical=SECONDS)
def test_eight_looks_at_most_a_second_apart_and_none_after_the_end(begin: float, warning: float, critical: float) -> None:
    times = look_times(begin, warning, critical, 4, 3)
    assert times[0] == begin and len(times) <= 8
    assert all(later - earlier >= 0.999 for earlier, later in pairwise(times))
    assert all(time <= max(begin, warning, critical) for time in times)


@pytest.mark.parametrize(("warning", "critical"), [(10, 60), (30, 300), (120, 3600)])
def test_both_limits_are_looked_at_and_gaps_grow(warning: float, critical: float) -> None:
    times = look_times(0.0, warning, critical, 4, 3)
    assert len(times) == 8 and times[4] == warning and times[-1] == critical
    gaps = [later - earlier for earlier, later in pairwise(times[:5])]
    assert gaps == sorted(gaps)


def test_a_reader_that_begins_late_still_has_its_looks() -> None:
    times = look_times(12.0, 10.0, 60.0, 4, 3)
    assert len(times) == 8 and times[-1] == 60.0
