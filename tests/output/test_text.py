"""`text` at the width of its terminal, and whole where there is none."""

import os
import re
import struct
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import pytest

from probe.output import Context
from probe.output._safe import safe
from probe.output.text import write
from probe.report.steps import pieces
from tests.output.runs import FOLDER, NAMES, saved, told

runs = pytest.mark.parametrize("name", NAMES)
ONE = ("failed-smtp-certificate", "ok-exchange", "failed-smtp-auth", "many", "nodes")


def at(width: int | None, name: str) -> list[str]:
    run = saved(name)
    return write(run.reports, Context(run.started, run.seconds, width=width)).splitlines()


@runs
def test_nothing_is_cut_without_a_terminal(name: str) -> None:
    text = told("text", name)
    for report in saved(name).reports:
        if report.kind == "repetition":
            continue
        for stage in report.stages:
            thumbprint = getattr(stage.record.facts, "thumbprint", None)
            assert thumbprint is None or stage.status != "ok" or thumbprint in text
        for finding in report.findings:
            assert all(piece.text in text for step in finding.remedy for piece in pieces(step) if piece.code)
            assert safe(finding.evidence)[:200] in text
    if not name.startswith("hostile"):
        assert "…" not in text.replace("SHA-1 …", "")


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("name", ONE)
def test_a_line_ends_with_its_terminal_unless_it_is_one_command_or_word(name: str, width: int) -> None:
    codes = [
        piece.text for report in saved(name).reports for one in report.findings for step in one.remedy for piece in pieces(step)
    ]
    heads = {report.profile for report in saved(name).reports}
    for line in at(width, name):
        if len(line) <= width or any(head in line for head in heads):
            continue
        assert len(line.split()) == 1 or any(code in line for code in codes), line


@pytest.mark.parametrize("name", ONE)
def test_the_words_are_the_same_at_every_width(name: str) -> None:
    piped = " ".join(at(None, name)).split()
    assert all(" ".join(at(width, name)).split() == piped for width in (60, 100, 140))


@pytest.mark.parametrize("width", [60, 140])
def test_a_long_thumbprint_stays_whole(width: int) -> None:
    run = saved("ok-exchange")
    (report,) = run.reports
    (thumbprint,) = {stage.record.facts.thumbprint for stage in report.stages if stage.name == "smtp.certificate"}
    assert any(thumbprint in line for line in at(width, "ok-exchange"))


def test_a_servers_flood_is_cut() -> None:
    (report,) = saved("ok").reports
    stages = tuple(replace(stage, record=replace(stage.record, reason="x" * 100_000)) for stage in report.stages)
    assert max(map(len, write([replace(report, stages=stages)], Context("2026-11-24T00:00:00Z", 1.0)).splitlines())) < 4_200


@pytest.mark.not_on_windows("there is no pty")
def test_the_command_line_asks_the_terminal(tmp_path: Path) -> None:
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 60, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    words = [sys.executable, "-m", "probe", "report", str(FOLDER / "ok-exchange.json")]
    with Popen(words, stdout=theirs, env={**environ, "NO_COLOR": "1", "TERM": "xterm"}) as done:
        os.close(theirs)
        text = _read(ours)
    lines = text.replace("\r", "").splitlines()
    assert done.returncode == 0 and any(line.startswith("        SIZE PIPELINING") for line in lines)
    assert all(len(line) <= 60 for line in lines[1:]) and not re.search("\x1b", text)


def _read(descriptor: int) -> str:
    """Until the other side is closed, which Linux says with an error."""
    text = b""
    with open(descriptor, "rb", buffering=0) as terminal:
        while True:
            try:
                part = terminal.read(4096)
            except OSError:
                part = b""
            if not part:
                return text.decode()
            text += part
