"""The installation's key and files that are whole or not there, on bad days too."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from probe.message import new_marker
from probe.profile.bounded import within
from probe.state.directory import KEY_OCTETS, installation_key
from probe.state.files import write_atomically, write_private
from probe.state.history import Unusable, add, rows
from probe.state.lease import lease
from probe.state.outbox import Entry, entries, put
from probe.state.refusals import note_refused, suspended_until
from probe.state.tokens import Tokens


def test_the_key_is_made_once_and_is_ours_alone(tmp_path: Path) -> None:
    first, remark = installation_key(tmp_path / "state")
    assert remark is None and len(first) == KEY_OCTETS
    assert installation_key(tmp_path / "state") == (first, None)
    if os.name == "posix":
        assert (tmp_path / "state" / "key").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_truncated_key_is_kept_aside_and_renewed(tmp_path: Path) -> None:
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(b"short")
    key, remark = installation_key(tmp_path)
    assert remark is None and len(key) == KEY_OCTETS
    assert (tmp_path / "key.damaged").read_bytes() == b"short"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param("readable", marks=pytest.mark.not_on_windows("modes of files: Windows has access lists")),
        pytest.param("symlink", marks=pytest.mark.not_under_wine("symbolic links are accepted and not made")),
        "no directory",
    ],
)
def test_a_key_that_cannot_be_trusted_is_not_used(tmp_path: Path, spoil: str) -> None:
    installation_key(tmp_path)
    path = tmp_path / "key"
    known = path.read_bytes()
    if spoil == "readable":
        path.chmod(0o644)
    elif spoil == "symlink":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    directory = Path("/proc/no/such") if spoil == "no directory" else tmp_path
    key, remark = installation_key(directory)
    assert len(key) == KEY_OCTETS and key != known
    assert remark is not None and "cannot be kept" in remark


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.json"
    write_atomically(target, "old\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, "new\n")
    assert target.read_text() == "old\n" and list(tmp_path.iterdir()) == [target]
    monkeypatch.undo()
    write_atomically(target, "new\n")
    assert target.read_text() == "new\n" and (os.name == "nt" or target.stat().st_mode & 0o777 == 0o644)


ROOT_ONLY = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0,
    reason="not_on_windows: users of POSIX; elsewhere it needs root",
)


@pytest.mark.not_on_windows("links and pipes of POSIX")
@pytest.mark.parametrize("what", ["link", "pipe"])
def test_state_is_never_written_through_what_stands_there(tmp_path: Path, what: str) -> None:
    path, elsewhere = tmp_path / "refused-x.json", tmp_path / "elsewhere"
    elsewhere.write_text("theirs")
    if what == "link":
        path.symlink_to(elsewhere)
    else:
        os.mkfifo(path)
    write_private(path, "ours")
    assert path.read_text() == "ours" and not path.is_symlink() and path.stat().st_mode & 0o777 == 0o600
    assert elsewhere.read_text() == "theirs"


@ROOT_ONLY
def test_another_users_folder_is_not_used(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 12345, 12345)
    _, remark = installation_key(state)
    assert remark is not None and "belongs to another user" in remark and list(state.iterdir()) == []
    with pytest.raises(OSError, match="belongs to another user"):
        put(state, Entry(new_marker(bytes(16)), "office", "2026-01-01T00:00:00Z", "u@example.test", "h"))


@ROOT_ONLY
@pytest.mark.parametrize("plant", ["another user's", "another user's link", "writable by all"])
def test_a_planted_history_or_refusal_is_not_used(tmp_path: Path, plant: str) -> None:
    history, elsewhere = tmp_path / "history.sqlite", tmp_path / "elsewhere"
    note_refused(tmp_path, "h", "u", "mark")
    (refused,) = tmp_path.glob("refused-*")
    assert add(history, []) is None and rows(history) == []
    for path in (history, refused):
        if plant == "another user's link":
            path.rename(elsewhere)
            path.symlink_to(elsewhere)
            os.chown(path, 12345, 12345, follow_symlinks=False)
        elif plant == "another user's":
            os.chown(path, 12345, 12345)
        else:
            path.chmod(0o666)
    remark = add(history, [])
    assert remark is not None and ("other user" in remark) and "\n" not in remark
    with pytest.raises(Unusable, match="other user"):
        rows(history)
    assert suspended_until(tmp_path, "h", "u", "mark") is None


@pytest.mark.not_on_windows("pipes and modes of POSIX")
@pytest.mark.parametrize("make", [os.mkfifo if hasattr(os, "mkfifo") else os.mkdir, os.mkdir])
def test_a_key_that_is_no_file_is_refused_at_once(make: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(0o700)
    make(tmp_path / "state" / "key")
    key, remark = installation_key(tmp_path / "state")
    assert len(key) == KEY_OCTETS and remark is not None and ("no regular file" in remark or "Is a directory" in remark)


@pytest.mark.not_on_windows("pipes of POSIX")
def test_a_pipe_in_place_of_any_file_holds_nothing_up(tmp_path: Path) -> None:
    """Nobody writes to it: whoever opened it for reading would wait for good."""
    note_refused(tmp_path, "h", "u", "mark")
    entry = Entry(new_marker(bytes(16)), "office", "2026-01-01T00:00:00Z", "u@example.test", "h")
    put(tmp_path, entry)
    tokens = Tokens(tmp_path)
    tokens.write("whose", "{}")
    history, (refused,), leases = tmp_path / "history.sqlite", tmp_path.glob("refused-*"), tmp_path / "leases"
    for path in (history, refused, tokens.path("whose"), tmp_path / "outbox" / f"{entry.marker}.json"):
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
    remark = within(10, lambda: add(history, []))
    assert remark is not None and "no regular file" in remark
    assert within(10, lambda: suspended_until(tmp_path, "h", "u", "mark")) is None
    assert within(10, lambda: tokens.read("whose")) is None and within(10, lambda: entries(tmp_path)) == []
    leases.mkdir(mode=0o700)
    os.mkfifo(leases / hashlib.sha256(b"box").hexdigest()[:32], 0o600)

    async def hold() -> bool:
        async with lease(tmp_path, "box", "me", 0.0):
            return True

    assert within(10, lambda: asyncio.run(hold()))


@pytest.mark.not_on_windows("modes of POSIX")
def test_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    for mode, refused in ((0o777, True), (0o2777, True), (0o1777, False), (0o770, False)):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        _, remark = installation_key(folder)
        assert (remark is not None) == refused and (not refused or "chmod o-w" in str(remark)), (oct(mode), remark)


@ROOT_ONLY
def test_a_folder_of_a_group_is_only_taken_where_the_group_is_ours(tmp_path: Path) -> None:
    """A volume with Kubernetes' `fsGroup` is root's and its group's, which is one of the program's own (a supplementary one)."""
    ours, theirs = os.getgid(), 54321
    for group, mode, refused in ((theirs, 0o770, True), (theirs, 0o2770, True), (theirs, 0o750, False), (ours, 0o2770, False)):
        folder = tmp_path / f"{group}-{mode:o}"
        folder.mkdir()
        os.chown(folder, -1, group)
        folder.chmod(mode)
        _, remark = installation_key(folder)
        assert (remark is not None) == refused and (not refused or "chmod g-w" in str(remark)), (group, oct(mode), remark)


def test_no_command_is_given_the_databases_password() -> None:
    from probe.profile.bounded import environment, hide_from_commands

    hide_from_commands("CONNINFO_HERE")
    assert environment({"PGPASSWORD": "x", "CONNINFO_HERE": "y", "PATH": "/bin"}) == {"PATH": "/bin"}
