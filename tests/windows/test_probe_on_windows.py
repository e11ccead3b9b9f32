"""Windows' own CPython (scripts/windows-bench) probes real servers of this machine, command by command, as a Windows user would.

Only scripts/test-windows runs this folder: setting the bench up is its work (tests/conftest.py leaves the folder out elsewhere).
"""

import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_round_trip import NEIGHBOUR, Bench

ROOT = Path(__file__).parent.parent.parent
SECONDS = 120
# Linux' own certificates would hide what a Windows user has.
_HIDDEN = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class WindowsBench(Bench):
    """A folder with a profile for a set of servers; `probe` runs a command there on Windows."""

    @property
    def environ(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        return {**ours, "PROBE_TEST_PASSWORD": self.password, "SUBMISSION_PROBE_STATE": windows(self.folder / "state")}

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / "scripts" / "windows-bench"), *arguments]
        done = subprocess.run(
            command, env=self.environ, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", cwd=ROOT, timeout=SECONDS
        )
        assert self.password not in done.stdout + done.stderr
        return done

    def probe(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = self.python("-m", "probe", *arguments)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def profile(self, **tables: Any) -> Path:
        return super().profile(**{"tls": {"ca_file": windows(Path(self.mail.ca_file))}, **tables})


def windows(path: Path) -> str:
    """The path as Windows names it under wine."""
    return "Z:" + str(path).replace("/", "\\")


@pytest.fixture
def bench(tmp_path: Path, mail: Any, request: pytest.FixtureRequest) -> WindowsBench:
    return WindowsBench(tmp_path, mail, user=f"w{abs(hash(request.node.name)) % 10**9}")


def test_demo_is_well_to_the_last_stage(bench: WindowsBench) -> None:
    report = json.loads(bench.probe("demo", "-o", "json").stdout)["reports"][0]
    assert {stage["status"] for stage in report["stages"]} == {"ok"} and len(report["stages"]) == 23


def test_a_run_reads_both_ways_and_leaves_nothing(bench: WindowsBench) -> None:
    bench.mail.deliver(bench.user, NEIGHBOUR)
    ran = bench.probe("run", windows(bench.profile()), "-o", "json")
    report = json.loads(ran.stdout)["reports"][0]
    assert report["verdict"] == "ok" and report["findings"] == []
    assert [b"lunch?" in message for message in bench.mail.messages(bench.user)] == [True]


def test_a_refused_connection_an_unknown_name_and_an_untrusted_issuer_are_named(bench: WindowsBench) -> None:
    profile = windows(bench.profile())
    refused = json.loads(bench.probe("run", profile, "--port", "1", "-o", "json", code=2).stdout)["reports"][0]
    assert "connect.refused" in {finding["id"] for finding in refused["findings"]}
    unknown = bench.probe("run", "generic", "--host", "mail.nosuch.invalid", "--user", "a@b.example", "--password-env",
                          "PROBE_TEST_PASSWORD", "--set", "limits.timeout=10s", "-o", "json", code=2)  # fmt: skip
    assert "dns.no-record" in {finding["id"] for finding in json.loads(unknown.stdout)["reports"][0]["findings"]}
    bench.mail.ca_file, kept = Path(__file__), bench.mail.ca_file
    try:
        assert "ca_file" in bench.probe("run", windows(bench.profile()), "-o", "json", code=3).stderr
    finally:
        bench.mail.ca_file = kept


def test_send_collect_sweep_history_and_compare(bench: WindowsBench) -> None:
    profile, history = windows(bench.profile()), windows(bench.folder / "history.sqlite")
    bench.probe("run", profile, "--send-only")
    bench.mail.wait_log(f"to=<{bench.address}>.*status=sent")
    assert len(bench.mail.messages(bench.user)) == 1
    bench.probe("run", profile, "--collect", "-o", "json")
    assert bench.mail.messages(bench.user) == []
    bench.probe("run", profile, "--no-delete", "--history", history)
    bench.probe("sweep", profile, "--older-than", "0s")
    assert bench.mail.messages(bench.user) == []
    assert "profile" in bench.probe("history", "--history", history).stdout
    for name in ("before", "after"):
        # As PowerShell 5.1 saves it: UTF-16 with a BOM, CRLF.
        text = bench.probe("run", profile, "-o", "json").stdout
        (bench.folder / f"{name}.json").write_text(text.replace("\n", "\r\n"), encoding="utf-16", newline="")
    compared = bench.probe("compare", windows(bench.folder / "before.json"), windows(bench.folder / "after.json"))
    assert compared.stdout.startswith("UNCHANGED"), compared.stdout


def test_the_profile_that_init_writes_is_taken_by_run(bench: WindowsBench) -> None:
    written = bench.folder / "init two.toml"
    bench.probe("init", "--yes", "--host", "localhost", "--user", bench.address, "--password-env", "PROBE_TEST_PASSWORD",
                "--output", windows(written), code=None)  # fmt: skip
    assert written.exists()
    plan = bench.probe("run", windows(written), "--dry-run")
    assert "smtp.submit" in plan.stdout


_INTERRUPTED = """
import pathlib, signal, sys, threading, time
import probe.cli
state = pathlib.Path(sys.argv[1])
def stop():
    # The trace is written just before the message leaves; the run then waits for a delivery that does not come.
    while not [path for path in state.rglob("*") if path.is_file() and "outbox" in str(path)]:
        time.sleep(0.01)
    signal.raise_signal(getattr(signal, sys.argv[2]))
threading.Thread(target=stop, daemon=True).start()
sys.exit(probe.cli.entry(["run", *sys.argv[3:]]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGBREAK", "SIGTERM"])
def test_an_interrupt_in_mid_run_leaves_no_message(bench: WindowsBench, name: str) -> None:
    program = bench.folder / "interrupted.py"
    program.write_text(_INTERRUPTED, encoding="utf-8")
    done = bench.python(windows(program), windows(bench.folder / "state"), name, windows(bench.profile()), "-o", "json")
    assert done.returncode == 130, done.stdout + done.stderr
    report = json.loads(done.stdout)["reports"][0]
    assert report["interrupted"]
    assert bench.mail.messages(bench.user) == []


def test_serve_answers(bench: WindowsBench) -> None:
    profile = windows(bench.profile())
    command = [
        str(ROOT / "scripts" / "windows-bench"),
        "-m",
        "probe",
        "serve",
        profile,
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "none",
    ]
    pipes = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=bench.environ, encoding="utf-8", cwd=ROOT, **pipes) as serving:
        assert serving.stderr is not None
        try:
            address = next(word for line in serving.stderr for word in line.split() if word.startswith("http://")).rstrip("/")
            with urllib.request.urlopen(f"{address}/probe?target=profile", timeout=60) as answer:
                text = answer.read().decode()
            assert "probe_success 1" in text
            with urllib.request.urlopen(f"{address}/", timeout=60) as answer:
                assert answer.status == 200
        finally:
            _end(serving, profile)


def _end(script: subprocess.Popen[str], profile: str) -> None:
    """End the Windows program behind the shell script, found by the profile that no other process names; the script follows."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if profile.encode() in words and path.parent.name != str(script.pid):
            os.kill(int(path.parent.name), signal.SIGKILL)
    script.wait(SECONDS)
