"""What we log on with and ends some day: warned of ahead, critical when over and refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe.judge._verdict import judge
from probe.judge.lasting import judge as of_secrets
from probe.profile import ProfileError, load_mapping
from probe.record import Lasting, record_from_json, record_to_json
from probe.report import Finding
from probe.tasks.plan import plugins

FOLDER = Path(__file__).parent / "records"
CLIENT = "tls.client_certificate (/etc/probe/client.pem)"


def case(name: str = "healthy") -> tuple[Any, dict[str, Any]]:
    data = json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))
    return replace(record_from_json(data["record"]), started="2026-11-27T12:00:00Z"), data["profile"]


def found(*lasting: Lasting, name: str = "healthy", **tls: str) -> list[Finding]:
    record, profile = case(name)
    loaded = load_mapping({**profile, "tls": {"expires_critical": "0s", **tls}}, plugins=plugins())
    return list(of_secrets(replace(record, lasting=lasting), loaded))


@pytest.mark.parametrize(
    ("ends", "begins", "tls", "expected"),
    [
        ("2026-12-17T12:00:00Z", None, {}, "warning auth.secret-expires-soon"),
        ("2026-12-19T12:00:00Z", None, {}, ""),
        # A certificate of 30 days: 20% of its lifetime, as for the server's.
        ("2026-12-05T12:00:00Z", "2026-11-05T12:00:00Z", {}, ""),
        ("2026-12-02T12:00:00Z", "2026-11-02T12:00:00Z", {}, "warning auth.secret-expires-soon"),
        ("2027-01-20T00:00:00Z", None, {"expires_warning": "60d"}, "warning auth.secret-expires-soon"),
        # A share of a lifetime that nobody knows: 21 days.
        ("2026-12-17T12:00:00Z", None, {"expires_warning": "20%"}, "warning auth.secret-expires-soon"),
        ("2027-12-17T12:00:00Z", None, {"expires_warning": "20%"}, ""),
        # Over, and the server took it all the same.
        ("2026-11-27T11:00:00Z", None, {}, "warning auth.secret-expired"),
        ("whenever", None, {}, ""),
    ],
)
def test_ahead_of_the_day(ends: str, begins: str | None, tls: dict[str, str], expected: str) -> None:
    told = found(Lasting(CLIENT, ends, begins), **tls)
    assert [f"{one.severity} {one.id}" for one in told] == ([expected] if expected else [])
    assert all(one.stage == "smtp.auth" and CLIENT in one.summary and one.evidence == ends for one in told)


def test_over_and_refused_is_critical() -> None:
    (told,) = found(Lasting("expect.secret_expires", "2026-11-20T00:00:00Z"), name="wrong-password")
    assert (told.severity, told.id) == ("critical", "auth.secret-expired") and "still taken" not in told.summary


def test_a_record_keeps_it_and_one_without_has_no_key() -> None:
    record, _ = case()
    assert "lasting" not in record_to_json(record)
    kept = replace(record, lasting=(Lasting(CLIENT, "2026-12-17T12:00:00Z", "2026-01-01T00:00:00Z"),))
    assert record_from_json(json.loads(json.dumps(record_to_json(kept)))) == kept


def test_a_run_that_is_warned_of_is_a_warning() -> None:
    record, profile = case()
    del profile["tls"]["expires_warning"], profile["tls"]["expires_critical"]
    report = judge(replace(record, lasting=(Lasting(CLIENT, "2026-12-01T00:00:00Z"),)), load_mapping(profile, plugins=plugins()))
    assert report.exit_code in (1, 2) and "auth.secret-expires-soon" in {one.id for one in report.findings}


@pytest.mark.parametrize("value", ["2027-02-30", "soon", 20270301, True])
def test_a_day_that_is_none_is_an_error_of_the_profile(value: object) -> None:
    _, profile = case()
    with pytest.raises(ProfileError, match="a day such as 2027-03-01"):
        load_mapping({**profile, "expect": {"secret_expires": value}}, plugins=plugins())
