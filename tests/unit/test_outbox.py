"""Messages on their way, whoever sent them: known by what is probed, and untouched while their run may be under way."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from probe.message import new_marker
from probe.state import outbox
from probe.state.outbox import Entry
from probe.state.place import Files

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENT = Entry(new_marker(bytes(16)), "office", outbox.stamp(NOW), "u@example.test", "mail.example.test")


def known_by(probed: str, until: str = "") -> Entry:
    return Entry(*list(asdict(SENT).values())[:6], probed, until)


def test_profiles_of_one_name_know_their_own_messages() -> None:
    entry = known_by("mail.example.test:587 u u@example.test")
    assert entry.is_of("mail.example.test:587 u u@example.test", "renamed", "mail.example.test")
    assert not entry.is_of("mail.example.test:465 u u@example.test", "office", "mail.example.test")


def test_an_entry_of_an_older_version_is_known_by_the_profiles_name_and_host(tmp_path: Path) -> None:
    place = outbox.folder(tmp_path)
    place.mkdir(parents=True, mode=0o700)
    old = {key: value for key, value in asdict(SENT).items() if key not in ("sender", "probed", "until")}
    (place / f"{SENT.marker}.json").write_text(json.dumps(old))
    (found,) = outbox.entries(tmp_path)
    assert found == SENT and found.is_of("anything", "office", "mail.example.test")
    assert not found.is_of("anything", "office", "other.example.test") and not found.is_under_way(NOW)


def test_an_entry_of_a_newer_version_is_read(tmp_path: Path) -> None:
    place = outbox.folder(tmp_path)
    place.mkdir(parents=True, mode=0o700)
    (place / f"{SENT.marker}.json").write_text(json.dumps({**asdict(SENT), "more": 1}))
    assert outbox.entries(tmp_path) == [SENT]


@pytest.mark.parametrize(("seconds", "under_way"), [(-1, True), (1, False)])
def test_a_run_is_under_way_until_its_time_is_over(tmp_path: Path, seconds: int, under_way: bool) -> None:
    place = Files(tmp_path)
    place.put(known_by("p", outbox.stamp(NOW)))
    assert place.is_under_way(SENT.marker, NOW + timedelta(seconds=seconds)) is under_way
    place.remove(SENT.marker)
    assert not place.is_under_way(SENT.marker, NOW - timedelta(days=1))


def test_what_is_given_up_stays_known_and_can_be_forgotten(tmp_path: Path) -> None:
    place = Files(tmp_path)
    fresh = Entry(SENT.marker, "office", outbox.stamp(datetime.now(UTC)), "u@example.test", "h")
    old = Entry(new_marker(b"1" * 16), "office", "2020-01-01T00:00:00Z", "u@example.test", "h")
    for entry in (old, fresh):
        place.put(entry)
        place.give_up(entry)
    assert place.entries() == [] and place.lost() == [fresh]
    place.remove(fresh.marker)
    assert place.lost() == []
