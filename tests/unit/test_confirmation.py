"""A password that was good before and is refused: one confirmation after a minute, by one protocol, and only then the back-off."""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe.facts import LoggedOn
from probe.profile import load_mapping
from probe.record import StageRecord, Trouble
from probe.state import refusals
from probe.state.place import Files
from probe.state.refusals import CONFIRM_SECONDS, FIRST_SECONDS
from probe.tasks import backoff
from probe.tasks.credentials import with_credentials
from probe.tasks.plan import Plan, make_plan, plugins
from tests.marks import unlike

SIDES = ("smtp.auth", "imap.login", "pop3.login")


class Clock:
    """Instead of refusals' clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(refusals.time, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(backoff, "_ACCEPTED", {})
    return Clock(monkeypatch)


def _named(secret: str) -> str:
    """A variable that has it."""
    name = f"PROBE_TEST_{secret.encode().hex()}"
    os.environ[name] = secret
    return name


def ready(secret: str, place: Files) -> Plan:
    """A plan of three protocols with that password, by the back-off of now."""
    profile = load_mapping(
        {
            "submission": {"host": "mail.contoso.com"},
            "account": {"username": "probe@contoso.com", "password": {"env": _named(secret)}},
            "readback": {"imap": {}, "pop3": {}},
        },
        (),
        plugins=plugins(),
    )
    return backoff.with_backoff(with_credentials(make_plan(profile), profile, place), place)


def tried(plan: Plan) -> list[str]:
    return [side.leg for side in plan.sides if side.suspended is None]


def run(plan: Plan, place: Files, **ends: Any) -> None:
    """A run in which each protocol that may log on is refused, but for those of `ends`."""
    stages = []
    for name in SIDES:
        leg = name.partition(".")[0]
        if leg in tried(plan):
            good = ends.get(leg, False)
            trouble = None if good else Trouble("auth.refused", "refused")
            stages.append(StageRecord(name, "ok" if good else "failed", trouble=trouble, facts=LoggedOn(attempts=1)))
    backoff.remember(plan, tuple(stages), place)


def good(secret: str, place: Files) -> None:
    run(ready(secret, place), place, smtp=True, imap=True, pop3=True)


def test_seconds_of_535_make_no_half_hour(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    good("was-good", place)
    run(ready("was-good", place), place)
    assert tried(ready("was-good", place)) == []
    clock.now += CONFIRM_SECONDS + 1
    confirmation = ready("was-good", place)
    assert tried(confirmation) == ["smtp"]
    assert "another protocol tries it first" in (confirmation.sides[1].suspended or "")
    run(confirmation, place, smtp=True)
    assert tried(ready("was-good", place)) == ["smtp", "imap", "pop3"]


def test_a_confirmed_refusal_is_left_alone_by_every_protocol(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    good("was-good", place)
    run(ready("was-good", place), place)
    clock.now += CONFIRM_SECONDS + 1
    run(ready("was-good", place), place)  # one logon, refused
    clock.now += FIRST_SECONDS - 60
    assert tried(ready("was-good", place)) == []
    clock.now += 61
    assert tried(ready("was-good", place)) == ["smtp", "imap", "pop3"]


def test_a_secret_that_was_never_good_keeps_the_half_hour(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    good("was-good", place)
    for wrong in ("never-good", "another"):  # one may have the octet of the good one
        run(ready(wrong, place), place)
    clock.now += CONFIRM_SECONDS + 1
    marks = {one: refusals.fingerprint(place.key()[0], one) for one in ("was-good", "another")}
    assert marks["was-good"] == marks["another"] or tried(ready("another", place)) == []


def test_one_protocol_that_refuses_is_confirmed_by_itself(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    good("was-good", place)
    run(ready("was-good", place), place, smtp=True, pop3=True)
    assert tried(ready("was-good", place)) == ["smtp", "pop3"]
    clock.now += CONFIRM_SECONDS + 1
    run(ready("was-good", place), place, smtp=True, pop3=True)
    clock.now += FIRST_SECONDS - 60
    assert tried(ready("was-good", place)) == ["smtp", "pop3"]


def test_what_is_kept_of_a_good_secret_confirms_no_guess(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    good("was-good", place)
    files = sorted(tmp_path.glob("accepted-*"))
    # Windows has access lists in the place of modes: tests/unit/test_dacl.py.
    assert len(files) == 3 and (sys.platform == "win32" or all(path.stat().st_mode & 0o077 == 0 for path in files))
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    assert {one["fingerprint"] for one in kept} == {refusals.fingerprint(place.key()[0], "was-good")}
    assert len(kept[0]["fingerprint"]) == len("scrypt-00")


def test_a_good_secret_is_written_once_an_hour_at_most_and_when_it_changed(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, written = Files(tmp_path), list[str]()
    real = refusals.note_accepted
    monkeypatch.setattr(refusals, "note_accepted", lambda *given: (written.append(given[1]), real(*given)))
    good("was-good", place)
    good("was-good", place)
    assert len(written) == 3
    backoff._ACCEPTED.clear()  # another process, a minute later
    good("was-good", place)
    assert len(written) == 3
    clock.now += backoff.ACCEPTED_SECONDS + 1
    good("was-good", place)
    good("changed", place)
    assert len(written) == 9


def test_a_state_that_cannot_be_written_changes_no_run(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(refusals, "note_accepted", full)
    place = Files(tmp_path)
    good("was-good", place)
    plan = ready("was-good", place)
    assert tried(plan) == ["smtp", "imap", "pop3"] and replace(plan) == plan


def test_a_success_ends_the_back_off_of_its_own_secret_alone(tmp_path: Path, clock: Clock) -> None:
    """Two profiles of one account, one with a stale password: its secret is sent once, however often the other is good."""
    place = Files(tmp_path)
    wrong, right = two_secrets(place)
    sent = 0
    for _ in range(4):
        sent += len(tried(ready(wrong, place)))
        run(ready(wrong, place), place)
        good(right, place)
        clock.now += 60
    assert sent == len(SIDES)
    assert tried(ready(right, place)) == ["smtp", "imap", "pop3"]


def test_two_stale_secrets_of_one_account_are_each_left_alone(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    for secret in two_secrets(place):
        run(ready(secret, place), place)
    assert [tried(ready(secret, place)) for secret in two_secrets(place)] == [[], []]


def test_a_stale_secret_doubles_its_back_off_between_good_runs(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    wrong, right = two_secrets(place)
    run(ready(wrong, place), place)
    good(right, place)
    clock.now += FIRST_SECONDS + 1
    run(ready(wrong, place), place)
    good(right, place)
    clock.now += FIRST_SECONDS + 1
    assert tried(ready(wrong, place)) == []


def test_a_stale_secret_leaves_the_confirmation_of_the_good_one(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    wrong, right = two_secrets(place)
    good(right, place)
    run(ready(right, place), place)  # seconds of 535
    run(ready(wrong, place), place)
    clock.now += CONFIRM_SECONDS + 1
    assert tried(ready(right, place)) == ["smtp"]
    run(ready(right, place), place, smtp=True)
    assert tried(ready(right, place)) == ["smtp", "imap", "pop3"]
    assert tried(ready(wrong, place)) == []


def test_a_success_ends_the_back_off_of_the_secret_that_succeeded(tmp_path: Path, clock: Clock) -> None:
    place = Files(tmp_path)
    wrong, _ = two_secrets(place)
    run(ready(wrong, place), place)
    plan = replace(ready(wrong, place), submission=replace(ready(wrong, place).submission, suspended=None))  # --try-again
    run(plan, place, smtp=True)
    assert tried(ready(wrong, place)) == ["smtp"]


def test_no_more_than_a_few_refused_secrets_are_kept_and_old_ones_go(tmp_path: Path, clock: Clock) -> None:
    for number in range(2 * refusals.MOST_SECRETS):
        clock.now += 1
        refusals.note_refused(tmp_path, "h", "u", f"mark-{number}")
    (path,) = tmp_path.glob("refused-*")
    assert len(json.loads(path.read_text(encoding="utf-8"))["others"]) == refusals.MOST_SECRETS - 1
    assert refusals.suspended_until(tmp_path, "h", "u", f"mark-{2 * refusals.MOST_SECRETS - 1}")
    clock.now += 2 * refusals.MOST_SECONDS
    refusals.forget(tmp_path, "h", "u", "another")
    assert not path.exists()


def test_what_a_process_could_not_store_ends_with_its_own_secret(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backoff, "_UNSTORED", {})
    monkeypatch.setattr(refusals, "note_refused", full)
    place = Files(tmp_path)
    # What cannot be stored is marked by the process's own key.
    monkeypatch.setattr(backoff, "_PROCESS_KEY", place.key()[0])
    wrong, right = two_secrets(place)
    run(ready(wrong, place), place)
    good(right, place)
    assert (tried(ready(wrong, place)), tried(ready(right, place))) == ([], ["smtp", "imap", "pop3"])


def two_secrets(place: Files) -> tuple[str, str]:
    """Two secrets whose octets differ, by this place's key."""
    return "wrong", unlike(place.key()[0], "wrong", "right", "right-2", "right-3")
