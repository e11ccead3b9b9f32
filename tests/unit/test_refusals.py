"""The back-off after a refused secret."""

import hmac
import json
import os
import time
from pathlib import Path

import pytest

from probe.state import refusals
from probe.state.refusals import FIRST_SECONDS, MOST_SECONDS, Refusal, fingerprint, forget, note_refused, suspended_until

WHO = ("smtp://mail.contoso.com:587 ", "probe@contoso.com")
MARK = fingerprint(b"k" * 32, "wrong")


def test_a_refused_secret_is_left_alone_until_it_changes(tmp_path: Path) -> None:
    assert suspended_until(tmp_path, *WHO, MARK) is None
    note_refused(tmp_path, *WHO, MARK)
    until = suspended_until(tmp_path, *WHO, MARK)
    assert until is not None and FIRST_SECONDS - 60 < until - time.time() <= FIRST_SECONDS
    assert suspended_until(tmp_path, *WHO, fingerprint(b"k" * 32, "another")) is None
    assert suspended_until(tmp_path, WHO[0], "somebody.else@contoso.com", MARK) is None
    forget(tmp_path, *WHO)
    assert suspended_until(tmp_path, *WHO, MARK) is None


def test_each_refusal_doubles_the_wait_up_to_a_limit() -> None:
    waits = [Refusal(MARK, times, 0.0).until for times in (1, 2, 3, 4, 5, 6, 100)]
    assert waits == [1800, 3600, 7200, 14400, 28800, MOST_SECONDS, MOST_SECONDS]


def test_the_back_off_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_refused(tmp_path, *WHO, MARK)
    later = time.time() + FIRST_SECONDS + 1
    monkeypatch.setattr(refusals.time, "time", lambda: later)
    assert suspended_until(tmp_path, *WHO, MARK) is None
    note_refused(tmp_path, *WHO, MARK)
    until = suspended_until(tmp_path, *WHO, MARK)
    assert until is not None and until - later == 2 * FIRST_SECONDS


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"fingerprint": 1}', "\0" * 100])
def test_a_damaged_file_means_one_try_which_is_noted(tmp_path: Path, damage: str) -> None:
    note_refused(tmp_path, *WHO, MARK)
    (path,) = tmp_path.iterdir()
    path.write_text(damage)
    assert suspended_until(tmp_path, *WHO, MARK) is None
    note_refused(tmp_path, *WHO, MARK)
    assert suspended_until(tmp_path, *WHO, MARK) is not None


def test_a_clock_set_back_suspends_nobody_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_refused(tmp_path, *WHO, MARK)
    earlier = time.time() - 10 * 86400
    monkeypatch.setattr(refusals.time, "time", lambda: earlier)
    assert suspended_until(tmp_path, *WHO, MARK) is None


def test_neither_secret_nor_user_stands_in_the_file(tmp_path: Path) -> None:
    note_refused(tmp_path, *WHO, fingerprint(b"k" * 32, "hunter2-hunter2"))
    (path,) = tmp_path.iterdir()
    assert os.name == "nt" or path.stat().st_mode & 0o077 == 0
    assert set(json.loads(path.read_text())) == {"fingerprint", "times", "at"}
    assert "hunter2" not in path.read_text() and "contoso" not in path.name + path.read_text()


def test_the_state_confirms_no_guess(tmp_path: Path) -> None:
    """A fingerprint is one of 256, the same over however many protocols the secret was refused: of a word list many fit."""
    key = b"k" * 32
    marks = {fingerprint(key, f"Summer{number}!") for number in range(16)}
    assert len(fingerprint(key, "wrong").removeprefix("scrypt-")) == 2 and len(marks) > 8
    for leg in ("smtp", "imap", "pop3"):
        note_refused(tmp_path, f"{leg}://mail.contoso.com", WHO[1], fingerprint(key, "wrong"))
    assert len({json.loads(path.read_text())["fingerprint"] for path in tmp_path.iterdir()}) == 1


def _old(directory: Path, at: float, times: int = 1) -> str:
    """An entry as versions before wrote it; its digest."""
    digest = hmac.new(b"k" * 32, b"refused\0wrong", "sha256").hexdigest()
    note_refused(directory, *WHO, MARK)
    (path,) = directory.iterdir()
    path.write_text(json.dumps({"fingerprint": digest, "times": times, "at": at}))
    return digest


def test_an_old_digest_suspends_until_its_back_off_ends_and_is_written_over_at_once(tmp_path: Path) -> None:
    digest, now = _old(tmp_path, time.time(), times=2), time.time()
    until = suspended_until(tmp_path, *WHO, MARK)
    assert until is not None and FIRST_SECONDS < until - now <= 2 * FIRST_SECONDS + 1
    (path,) = tmp_path.iterdir()
    assert digest not in path.read_text()
    assert suspended_until(tmp_path, *WHO, fingerprint(b"k" * 32, "another")) == until
    note_refused(tmp_path, *WHO, MARK)
    assert json.loads(path.read_text())["times"] == 3 and json.loads(path.read_text())["fingerprint"] == MARK


def test_an_old_digest_is_removed_when_its_back_off_has_ended(tmp_path: Path) -> None:
    _old(tmp_path, time.time() - FIRST_SECONDS - 1)
    assert suspended_until(tmp_path, *WHO, MARK) is None
    assert list(tmp_path.iterdir()) == []
