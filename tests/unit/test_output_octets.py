"""What leaves through stdout, octet by octet, in code pages that cannot say everything."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probe.cli import _console, _out, entry
from probe.output import formats

ROOT = Path(__file__).parent.parent.parent
RECORDED = ROOT / "tests" / "recorded"
COMMANDS = sorted(path.stem for path in (ROOT / "probe" / "cli").glob("[!_]*.py"))


class Stdout(io.TextIOWrapper):
    """As Windows opens it for a pipe: a code page, line ends of its own."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="\r\n")

    @property
    def octets(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()  # type: ignore[attr-defined,no-any-return]


def told(code_page: str, *arguments: str) -> tuple[int, bytes, bytes]:
    """Exit status and the octets of stdout and stderr, in this process."""
    out, err, before = Stdout(code_page), Stdout(code_page), (sys.stdout, sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        _out.prepare()
        return entry(list(arguments)), out.octets, err.octets
    finally:
        sys.stdout, sys.stderr = before


def octets(*arguments: str) -> bytes:
    return told("cp437", *arguments)[1]


@pytest.mark.parametrize("name", [name for name in formats() if name != "text"])
@pytest.mark.parametrize("run", ["ok", "hostile-greeting", "footer"])
def test_stdout_and_report_have_the_same_octets(name: str, run: str, tmp_path: Path) -> None:
    file = tmp_path / "report"
    written = octets("report", str(RECORDED / f"{run}.json"), "-o", name, "--report", f"{name}={file}")
    assert written == file.read_bytes()
    assert (b"\r\n" not in written) and written.decode("utf-8")


@pytest.mark.parametrize(
    "command",
    [
        ["schema"],
        ["schema", "run"],
        ["explain", "auth.refused", "-o", "json"],
        ["explain", "-o", "json"],
        [
            "run",
            "--dry-run",
            "-o",
            "json",
            "generic",
            "--host",
            "mail.contoso.com",
            "--user",
            "ü@contoso.com",
            "--password-env",
            "X",
        ],
        ["init", "ü@contoso.com", "--output", "-", "--yes", "--host", "mail.contoso.com", "--no-discover"],
        ["run", "-o", "nagios", "nosuch"],
    ],
    ids=" ".join,
)
def test_what_machines_read_is_utf8_with_lf(command: list[str]) -> None:
    written = octets(*command)
    assert written.endswith(b"\n") and b"\r" not in written
    text = written.decode("utf-8")
    if command[0] != "init":
        assert text.isascii()
    if "json" in command or command[0] == "schema":
        json.loads(text)


def test_every_help_is_ascii() -> None:
    """click writes it itself, and rewrites streams of an encoding that it takes for a mistake."""
    for command in ([], *([name] for name in COMMANDS)):
        code, out, _ = told("utf-8", *command, "--help")
        assert code == 0 and out.isascii(), command


@pytest.mark.parametrize("code_page", ["cp437", "ascii"])
@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["run", "--help"],
        ["explain"],
        ["explain", "discover.nothing-found"],
        ["profiles"],
        ["show", "exchange-2016", "--host", "bücher.example", "--user", "größer→@contoso.com"],
        ["sandbox", "--list-faults"],
        ["audit", "generic", "--list", "--host", "x.example"],
        ["report", "tests/recorded/ok-exchange.json", "-v"],
        ["report", "tests/recorded/hostile-greeting.json", "-v"],
        ["report", "tests/recorded/many.json"],
        ["compare", "tests/recorded/ok.json", "tests/recorded/junk.json"],
        ["run", "größe…→"],
        ["run", "--größe…→"],
        ["größe…→"],
        ["correlate", "tests/recorded/ok.json", "größe…→.log"],
    ],
    ids=" ".join,
)
def test_no_command_fails_for_a_code_page(command: list[str], code_page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, out, err = told(code_page, *command)
    assert b"internal error" not in err
    assert (out or err) and out.decode(code_page) is not None and err.decode(code_page) is not None
    assert code == told("utf-8", *command)[0]


def test_what_cannot_be_said_has_a_stand_in() -> None:
    assert "a… → ü ▁█ \U0001f600".encode("ascii", "probe.stand_in") == rb"a... -> \xfc 18 \U0001f600"


@pytest.mark.parametrize("code_page", ["ascii", "cp437", "cp1252"])
def test_the_program_itself_is_prepared(code_page: str) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": code_page}
    command = [sys.executable, "-m", "probe", "report", str(RECORDED / "ok-exchange.json"), "größe…→"]
    done = subprocess.run(command, capture_output=True, env=environ, timeout=60)
    assert done.returncode == 3 and "größe…→".encode(code_page, "probe.stand_in") in done.stderr
    said = [*command[:-2], str(RECORDED / "hostile-greeting.json")]
    done = subprocess.run(said, capture_output=True, env=environ, timeout=60)
    assert done.returncode == 2 and "é😀".encode(code_page, "probe.stand_in") in done.stdout


class Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_a_pipe_on_windows_is_ascii_unless_somebody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    assert _out.stands_for_ansi(Stream(False), "win32")
    assert not _out.stands_for_ansi(Stream(True), "win32")
    assert not _out.stands_for_ansi(Stream(False), "linux")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    assert not _out.stands_for_ansi(Stream(False), "win32")


def test_colours_only_where_the_console_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[int] = []

    def takes(mode: int) -> bool:
        wanted.append(mode)
        return True

    assert _console.enabled(0x3, takes) and wanted == [0x7]
    assert _console.enabled(0x7, lambda mode: False)
    assert not _console.enabled(0x3, lambda mode: False)
    assert not _console.enabled(None, takes)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not _console.colours(None) and not _console.colours(Stream(False))
    monkeypatch.setattr(_console, "_shows_escapes", lambda stream: False)
    assert not _console.colours(Stream(True))
    monkeypatch.setattr(_console, "_shows_escapes", lambda stream: True)
    assert _console.colours(Stream(True))
    monkeypatch.setenv("NO_COLOR", "")
    assert not _console.colours(Stream(True))
