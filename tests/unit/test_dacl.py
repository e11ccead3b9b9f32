"""Who may read a password file on Windows, by its access list."""

from pathlib import Path

import pytest

from probe.profile import ProfileError, SecretSource, dacl, resolve_secret

OWNER = "(A;;FA;;;SY)(A;;FA;;;BA)(A;ID;FA;;;S-1-5-21-1-2-3-1001)"


@pytest.mark.parametrize(
    ("sddl", "who"),
    [
        (f"D:AI{OWNER}", None),
        (f"D:PAI{OWNER}", None),
        (f"D:{OWNER}(A;;0x1200a9;;;WD)", "Everyone"),
        (f"D:{OWNER}(A;ID;FR;;;AU)", "Authenticated Users"),
        (f"D:{OWNER}(A;ID;0x1200a9;;;BU)", "Users"),
        (f"D:{OWNER}(A;;FA;;;S-1-5-21-1-2-3-513)", "Domain Users"),
        (f"D:{OWNER}(A;OICIIO;GR;;;BU)", None),
        (f"D:{OWNER}(A;;0x100002;;;BU)", None),
        (f"D:{OWNER}(D;;FA;;;WD)", None),
        (f'D:{OWNER}(XA;;FR;;;WD;(@User.clearance=="x"))', "Everyone"),
        ("D:NO_ACCESS_CONTROL", "Everyone"),
        ("", "Everyone"),
        ("D:", None),
    ],
)
def test_an_access_list_says_who_else_reads(sddl: str, who: str | None) -> None:
    assert dacl.first_other(sddl) == who


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pw").touch(mode=0o600)
    (tmp_path / "pw").write_text("hunter2hunter2\n", encoding="utf-8")
    monkeypatch.setattr(dacl, "_sddl", lambda path: f"D:{OWNER}(A;ID;FR;;;BU)")
    with pytest.raises(ProfileError, match="can be read by Users; run: icacls ") as caught:
        resolve_secret(SecretSource(file="pw"), tmp_path)
    assert "hunter2" not in str(caught.value)
    assert resolve_secret(SecretSource(file="pw", readable_by_others=True), tmp_path) == "hunter2hunter2"


@pytest.mark.only_on_windows("Windows' own access lists")
def test_windows_own_answer_is_understood(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("x", encoding="utf-8")
    assert (dacl._sddl(tmp_path / "pw") or "").startswith("D:")
    assert dacl._sddl(tmp_path / "nosuch") is None
