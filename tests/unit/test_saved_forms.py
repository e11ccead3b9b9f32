"""A saved run is read however it was saved: in PowerShell's encodings, gzipped, as lines, from stdin."""

import codecs
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from probe.cli import entry

RECORDED = Path(__file__).parent.parent / "recorded"
RUN: dict[str, Any] = json.loads((RECORDED / "ok-exchange.json").read_text(encoding="ascii"))
TWO = {**RUN, "reports": [RUN["reports"][0], {**RUN["reports"][0], "profile": "office"}]}


def saved(folder: Path, run: dict[str, Any], name: str) -> str:
    path = folder / name
    path.write_text(json.dumps(run), encoding="ascii")
    return str(path)


TEXT = json.dumps(RUN)
FORMS = {
    "utf-8 mark": codecs.BOM_UTF8 + TEXT.encode(),
    "utf-16": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16 without a mark": TEXT.encode("utf-16-le"),
    "utf-16 big-endian without a mark": TEXT.encode("utf-16-be"),
    "gzip": gzip.compress(codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")),
}


class Stdin(io.TextIOWrapper):
    def __init__(self, octets: bytes) -> None:
        super().__init__(io.BytesIO(octets), encoding="ascii")


@pytest.mark.parametrize("octets", FORMS.values(), ids=list(FORMS))
@pytest.mark.parametrize("stdin", [True, False], ids=["stdin", "file"])
def test_a_run_is_read_however_it_was_saved(
    tmp_path: Path, octets: bytes, stdin: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "before").write_bytes(octets)
    monkeypatch.setattr(sys, "stdin", Stdin(octets))
    before = "-" if stdin else str(tmp_path / "before")
    assert entry(["compare", before, saved(tmp_path, RUN, "after.json")]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.startswith("UNCHANGED")


def test_lines_of_reports_are_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(tmp_path, TWO, "run.json")
    for name in ("one.jsonl", "both.jsonl"):
        source = run if name == "both.jsonl" else saved(tmp_path, RUN, "one.json")
        assert entry(["report", source, "-o", "jsonl"]) == 0
        (tmp_path / name).write_text(capsys.readouterr().out, encoding="ascii")
        assert entry(["compare", str(tmp_path / name), source]) == 0
        assert capsys.readouterr().out.startswith("UNCHANGED")


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "is empty"),
        (b"\xff\x01\xfe" * 9, "is not text: give the file that `probe run -o json`"),
        (gzip.compress(b"{}" * 500, mtime=0)[:-9], "is a damaged .gz file"),
        (b"\x1f\x8bno", "is a damaged .gz file"),
        (gzip.compress(b" " * (65 * 2**20)), "is larger than any saved run"),
        (b'{"schema": "submission-probe/report/1"}\n{"a": 1}\n', "is not JSON"),
        (b'{"schema": "submission-probe/report/1"}', "version is missing"),
    ],
)
def test_what_is_no_run_is_refused_in_one_plain_line(
    tmp_path: Path, octets: bytes, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, run = tmp_path / "no-run", saved(tmp_path, RUN, "run.json")
    file.write_bytes(octets)
    for first in (str(file), "-"):
        monkeypatch.setattr(sys, "stdin", Stdin(octets))
        assert entry(["compare", first, run]) == 3
        printed = capsys.readouterr()
        assert said in printed.err and printed.err.count("\n") == 1 and not printed.out, printed.err
        assert ("stdin" if first == "-" else str(file)) in printed.err


def test_stdin_is_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["compare", "-", "-"]) == 3
    assert "stdin holds one run" in capsys.readouterr().err
