"""The installation's key and files that are whole or not there, on bad days too."""

import os
from pathlib import Path

import pytest

from probe.keep.files import write_atomically
from probe.keep.state import KEY_OCTETS, installation_key


def test_the_key_is_made_once_and_is_ours_alone(tmp_path: Path) -> None:
    first, remark = installation_key(tmp_path / "state")
    assert remark is None and len(first) == KEY_OCTETS
    assert installation_key(tmp_path / "state") == (first, None)
    assert (tmp_path / "state" / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_truncated_key_is_kept_aside_and_renewed(tmp_path: Path) -> None:
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(b"short")
    key, remark = installation_key(tmp_path)
    assert remark is None and len(key) == KEY_OCTETS
    assert (tmp_path / "key.damaged").read_bytes() == b"short"


@pytest.mark.parametrize("spoil", ["readable", "symlink", "no directory"])
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
    assert target.read_text() == "new\n" and target.stat().st_mode & 0o777 == 0o644
