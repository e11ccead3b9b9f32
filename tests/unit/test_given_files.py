"""Saved runs, logs, expectations and profiles as Windows' shells write and name them."""

import codecs
import gzip
import json
from pathlib import Path

import pytest

from probe.cli import entry
from probe.cli._given import expanded
from probe.cli.correlate import _lines

ROOT = Path(__file__).parent.parent.parent
RUN = (ROOT / "tests" / "recorded" / "ok.json").read_text(encoding="utf-8")
THUMBPRINT = next(
    stage["facts"]["thumbprint"] for stage in json.loads(RUN)["reports"][0]["stages"] if stage["name"] == "smtp.certificate"
)
SAVED = {
    "utf-8 mark": codecs.BOM_UTF8 + RUN.encode(),
    "powershell 5.1": codecs.BOM_UTF16_LE + RUN.replace("\n", "\r\n").encode("utf-16-le"),
}


@pytest.fixture(params=SAVED.values(), ids=list(SAVED))
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "run größer.json"
    path.write_bytes(request.param)
    return path


@pytest.mark.parametrize("command", [["report", "RUN"], ["compare", "RUN", "RUN"]])
def test_a_saved_run_is_read_whichever_way_powershell_saved_it(
    saved: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry([str(saved) if word == "RUN" else word for word in command]) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(("mark", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF8, "utf-8"), (b"", "utf-8")])
def test_a_server_log_is_read_whichever_way_it_was_saved(tmp_path: Path, mark: bytes, encoding: str, packed: bool) -> None:
    lines = ["#Software: Microsoft Exchange Server\r\n", "x" * 70_000 + "\r\n", "2026-11-24,größer\r\n"]
    octets = mark + "".join(lines).encode(encoding)
    log = tmp_path / "RECV.LOG"
    log.write_bytes(gzip.compress(octets) if packed else octets)
    assert list(_lines(log)) == [lines[0], lines[2]]


def test_a_run_and_logs_are_correlated_by_pattern(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(saved.parent)
    for name in ("RECV1.LOG", "RECV2.LOG"):
        (saved.parent / name).write_text("#Fields: a,b\r\n", encoding="utf-16")
    assert entry(["correlate", "run*.json", "RECV*.LOG"]) == 1
    assert "not found: give the log" in capsys.readouterr().out


LINES = f"# remark\r\n  # another\r\n\r\ncertificate={THUMBPRINT}\r\n"


def test_expectations_may_have_a_mark(tmp_path: Path, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = tmp_path / "expected.txt"
    for octets in (codecs.BOM_UTF8 + LINES.encode(), codecs.BOM_UTF16_LE + LINES.encode("utf-16-le")):
        wanted.write_bytes(octets)
        assert entry(["compare", str(saved), str(saved), "--expectations", str(wanted)]) == 0
    wanted.write_bytes(b"certificate.thumbprint=gr\xf6\xdfer\r\n")
    assert entry(["compare", str(saved), str(saved), "--expectations", str(wanted)]) == 3
    assert "Set-Content -Encoding utf8" in capsys.readouterr().err


PROFILE = """[submission]
host = "mail.contoso.com"
[account]
username = "probe@contoso.com"
password = { env = "PW" }
"""


def test_patterns_are_expanded_where_the_shell_leaves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b site.toml", "a.toml", "[1].toml"):
        (tmp_path / name).write_text(PROFILE, encoding="utf-16")
    assert entry(["run", "--dry-run", "?*.toml"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if " to probe@" in line] == ["[1]", "a", "b site"]
    assert entry(["run", "--dry-run", "[1].toml", str(tmp_path / "a*")]) == 0
    assert entry(["show", "a*.toml"]) == 0
    capsys.readouterr()
    assert entry(["show", "*.toml"]) == 3 and "3 files, and one is wanted" in capsys.readouterr().err
    assert entry(["run", "--dry-run", "*.tml"]) == 3 and "no file fits *.tml" in capsys.readouterr().err


def test_the_home_directory_is_known_by_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "RECV1.LOG").touch()
    assert expanded(["~/RECV*.LOG", "plain", "~nobody-here/x"]) == [str(tmp_path / "RECV1.LOG"), "plain", "~nobody-here/x"]


HINT = r"a path with backslashes goes in single quotes: 'C:\Folder\file' (or \"C:/Folder/file\")"


def test_a_path_in_a_basic_string_gets_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "site.toml"
    for value in (r"C:\Secrets\pw", r"C:\users\pw", r"\\server\share\pw"):
        path.write_text(PROFILE.replace('env = "PW"', f'file = "{value}"'), encoding="utf-8")
        assert entry(["show", str(path)]) == 3
        assert HINT in (said := capsys.readouterr().err) and "pw" not in said.partition("site.toml")[2]
    # TOML takes these escapes, so that the name is another one.
    path.write_text(PROFILE.replace('env = "PW"', r'file = "C:\temp\new"'), encoding="utf-8")
    assert entry(["show", str(path)]) == 3 and HINT in capsys.readouterr().err
    path.write_text(PROFILE.replace('"PW"', r'"P\W"'), encoding="utf-8")
    assert entry(["show", str(path)]) == 3 and HINT not in capsys.readouterr().err


def test_an_ansi_profile_names_the_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(PROFILE.encode() + 'description = "größer"'.encode("cp1252"))
    assert entry(["show", str(path)]) == 3
    assert "Set-Content -Encoding utf8" in capsys.readouterr().err


def test_a_ca_file_without_a_certificate_is_the_profile_s_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, ca = tmp_path / "site.toml", tmp_path / "root.pem"
    path.write_text(PROFILE + "[tls]\nca_file = 'root.pem'\n", encoding="utf-8")
    ca.write_bytes(b"rubbish")
    assert entry(["run", "--dry-run", str(path)]) == 3
    assert f"{path}:7: tls.ca_file: {ca} holds no certificate" in capsys.readouterr().err
