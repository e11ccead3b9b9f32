"""How long before its end a certificate is to be renewed: as a profile writes it, and for a certificate of any lifetime."""

import re
from typing import Any

import pytest

from probe.profile import ProfileError, load_mapping
from probe.profile.margin import Margin, margin
from probe.profile.schema import json_schema
from probe.tasks.plan import plugins

DAY = 86400


@pytest.mark.parametrize(
    ("text", "seconds", "share", "spelled"),
    [
        ("21d", 21 * DAY, None, "21d"),
        ("36h", 1.5 * DAY, None, "1d12h"),
        ("20%", None, 0.2, "20%"),
        ("12.5 %", None, 0.125, "12.5%"),
        ("21d or 20%", 21 * DAY, 0.2, "21d or 20%"),
        ("8% or 7d", 7 * DAY, 0.08, "7d or 8%"),
        ("0s", 0, None, "0s"),
        ("100%", None, 1.0, "100%"),
    ],
)
def test_what_a_profile_may_write(text: str, seconds: float | None, share: float | None, spelled: str) -> None:
    found = margin(text)
    assert (found.seconds, found.share, str(found)) == (seconds, share, spelled)
    assert margin(spelled) == found


@pytest.mark.parametrize(
    "value", ["21", 21, 21.5, 0, "", "20 %%", "101%", "21d or 7d", "5% or 8%", "1d or 2% or 3d", True, [], "soon", "-3d"]
)
def test_what_it_may_not(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        margin(value)


@pytest.mark.parametrize("value", [21, "21"])
def test_a_bare_number_is_asked_for_its_unit(value: object) -> None:
    profile = {"submission": {"host": "mail.contoso.test"}, "tls": {"expires_warning": value}}
    with pytest.raises(ProfileError, match=r'tls\.expires_warning.*got 21 without a unit: for days write "21d"'):
        load_mapping(profile, plugins=plugins())


@pytest.mark.parametrize(
    ("days", "warning", "critical"), [(398, 21, 7), (90, 18, 7), (45, 9, 3.6), (6, 1.2, 0.48), (3650, 21, 7), (0, 0, 0)]
)
def test_the_default_follows_the_lifetime(days: float, warning: float, critical: float) -> None:
    message = {"sender": "probe@contoso.test", "recipient": "probe@contoso.test"}
    tls = load_mapping({"submission": {"host": "mail.contoso.test"}, "message": message}, plugins=plugins()).tls
    assert tls.expires_warning.of(days * DAY) == pytest.approx(warning * DAY)
    assert tls.expires_critical.of(days * DAY) == pytest.approx(critical * DAY)


@pytest.mark.parametrize(
    ("one", "other", "exceeds"), [("8d", "7d", True), ("7d", "8d", False), ("30%", "21d", False), ("9%", "8%", True)]
)
def test_only_what_surely_is_the_greater_one_is_a_contradiction(one: str, other: str, exceeds: bool) -> None:
    assert margin(one).exceeds(margin(other)) is exceeds


def test_the_schema_knows_the_form() -> None:
    described: Any = json_schema(plugins())
    pattern = described["$defs"]["Tls"]["properties"]["expires_warning"]["pattern"]
    assert all(re.search(pattern, text) for text in ("21d", "20%", "21d or 20%", "1d12h"))
    assert not any(re.search(pattern, text) for text in ("21", "21d or", "x20%"))
    assert Margin().of(5) == float("inf")
