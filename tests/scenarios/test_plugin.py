"""`-o nagios` as a plugin is called: -H -p -t -w -c, and every mistake on stdout."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_compare import probe
from tests.scenarios.test_round_trip import Bench


def check(bench: Bench, *options: str) -> tuple[int, str]:
    done = probe(bench, "run", str(bench.profile(readback__pop3=None)), "-o", "nagios", *options)
    assert done.stdout.count("\n") == 1 and done.stdout.startswith("SUBMISSION "), done.stdout + done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 0, ""),
        (["-w", "10", "-c", "20"], 0, ""),
        (["-w", "@0:10"], 1, "delivery is"),
        (["-w", "0:10", "-c", "total=@0:30"], 2, "total is"),
        (["-w", "certificate=5000:", "-c", "certificate=1:"], 1, "certificate is"),
        (["-c", "certificate=5000:"], 2, "certificate is"),
        (["-t", "20", "-w", "total=~:30"], 0, ""),
    ],
)
def test_ranges_decide(tmp_path: Path, mail: Any, options: list[str], code: int, said: str) -> None:
    status, line = check(Bench(tmp_path, mail, user="plugin"), *options)
    assert status == code and said in line and ("threshold.exceeded" in line) == bool(said)


def test_perfdata_shows_the_ranges_as_given(tmp_path: Path, mail: Any) -> None:
    _, line = check(Bench(tmp_path, mail, user="perf"), "-w", "delivery=10,total=~:30", "-c", "delivery=@20:30,certificate=7:")
    assert re.search(r" delivery=[\d.]+s;10;@20:30;0 ", line) and re.search(r" total=[\d.]+s;~:30;;0 ", line), line
    assert re.search(r" certificate_days=[\d.]+;;7: ", line), line


@pytest.mark.parametrize("options", [["-w", "fast"], ["-c", "speed=1"], ["--nonsense"], ["-p", "no-port"], ["-t", "soon"]])
def test_mistakes_are_unknown_on_stdout(tmp_path: Path, mail: Any, options: list[str]) -> None:
    status, line = check(Bench(tmp_path, mail, user="mistake"), *options)
    assert status == 3 and line.startswith("SUBMISSION UNKNOWN - ")


def test_no_profile_is_needed(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="host")
    account = ("--user", "u@example.test", "--password-env", "PROBE_TEST_PASSWORD", "--readback", "none")
    done = probe(bench, "run", "-o", "nagios", "-H", "localhost", "-p", "1", "-t", "5", *account)
    assert done.returncode == 2 and done.stdout.startswith("SUBMISSION CRITICAL - localhost:1 smtp.connect failed"), done.stdout


def test_ranges_are_for_plugins(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="text")
    done = probe(bench, "run", str(bench.profile()), "-w", "10")
    assert done.returncode == 3 and "-o nagios" in done.stderr
