"""The command line against the embedded server, as a newcomer meets it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def probe(*arguments: str, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SUBMISSION_PROBE_STATE": str(tmp_path / "state"), **environ}
    command = [sys.executable, "-W", "error::DeprecationWarning:probe", "-m", "probe", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60)


def test_the_demo_ends_0_with_every_stage_ok(tmp_path: Path) -> None:
    done = probe("demo", "-o", "json", tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    (report,) = json.loads(done.stdout)["reports"]
    assert {stage["status"] for stage in report["stages"]} == {"ok"}
    assert report["findings"] == []
    assert done.stdout.isascii()


def test_text_is_plain_when_piped(tmp_path: Path) -> None:
    done = probe("demo", "-v", tmp_path=tmp_path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout and done.stdout.startswith("OK  demo")
    assert "octets hidden" in done.stdout


def test_exchange_personality(tmp_path: Path) -> None:
    done = probe("demo", "-o", "json", "--personality", "exchange-2016", tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads(done.stdout)["reports"]
    facts = {stage["name"]: stage["facts"] for stage in report["stages"]}
    assert facts["smtp.auth"]["mechanism"] == "LOGIN"
    assert facts["smtp.submit"]["hostname"]


@pytest.mark.parametrize(
    ("fault", "code", "stage", "finding"),
    [
        ("no-starttls", 2, "smtp.starttls", "starttls.not-offered"),
        ("wrong-name", 2, "smtp.certificate", "certificate.name-mismatch"),
        ("expired", 2, "smtp.certificate", "certificate.expired"),
        ("untrusted", 2, "smtp.certificate", "certificate.unknown-issuer"),
        ("self-signed", 2, "smtp.certificate", "certificate.self-signed"),
        ("wrong-password", 2, "smtp.auth", "auth.refused"),
        ("mailbox-full", 2, "smtp.submit", "submit.refused"),
        ("junk", 1, None, "delivery.other-folder"),
        ("twice", 1, None, "delivery.duplicate"),
        ("footer", 1, None, "message.altered"),
        ("in-use", 2, "pop3.login", "auth.mailbox-in-use"),
    ],
)
def test_each_fault_has_its_finding(tmp_path: Path, fault: str, code: int, stage: str | None, finding: str) -> None:
    done = probe("demo", "-o", "json", "--fault", fault, tmp_path=tmp_path)
    (report,) = json.loads(done.stdout)["reports"]
    assert (done.returncode, report["failed_stage"]) == (code, stage), done.stdout
    assert finding in {item["id"] for item in report["findings"]}


def test_a_bad_option_and_a_bad_profile_exit_3(tmp_path: Path) -> None:
    assert probe("run", "--no-such-option", tmp_path=tmp_path).returncode == 3
    assert probe("no-such-command", tmp_path=tmp_path).returncode == 3
    assert probe("run", tmp_path=tmp_path).returncode == 3
    bad = tmp_path / "bad.toml"
    bad.write_text('[submission]\nhost = "mail.test"\nprot = 587\nsecurity = "maybe"\n\n[limits]\ntimeout = "soon"\n')
    done = probe("run", str(bad), tmp_path=tmp_path)
    assert done.returncode == 3 and done.stdout == ""
    for place in (f"{bad}:3: submission.prot", f"{bad}:4: submission.security", f"{bad}:7: limits.timeout"):
        assert place in done.stderr
    assert "port" in done.stderr


def test_reports_are_written_and_a_directory_that_cannot_be_written_takes_nothing_away(tmp_path: Path) -> None:
    good, bad = tmp_path / "run.json", tmp_path / "missing" / "run.json"
    with_profile = tmp_path / "closed.toml"
    with_profile.write_text(
        '[submission]\nhost = "localhost"\nport = 1\n[account]\nusername = "a@b.test"\npassword = { env = "PW" }\n'
    )
    done = probe("run", str(with_profile), "--report", f"json={good}", "--report", f"json={bad}", tmp_path=tmp_path, PW="x" * 9)
    assert done.returncode == 2 and done.stdout.startswith("CRITICAL")
    assert json.loads(good.read_text())["exit_code"] == 2
    assert str(bad) in done.stderr and list(tmp_path.glob(".*")) == []


def test_quiet_is_silent_when_all_is_well_and_short_when_not(tmp_path: Path) -> None:
    closed = tmp_path / "closed.toml"
    closed.write_text('[submission]\nhost = "localhost"\nport = 1\n[account]\nusername = "a@b.test"\npassword = { env = "PW" }\n')
    done = probe("run", str(closed), "-q", tmp_path=tmp_path, PW="x" * 9)
    assert done.returncode == 2 and 1 <= len(done.stdout.splitlines()) <= 20 and done.stderr == ""
    assert "connect.refused" in done.stdout


def test_dry_run_sends_not_one_packet(tmp_path: Path) -> None:
    done = probe("run", "gmail", "--user", "a@gmail.com", "--dry-run", tmp_path=tmp_path)
    assert done.returncode == 0 and "smtp.gmail.com:587 starttls" in done.stdout


@contextlib.contextmanager
def sandbox(tmp_path: Path) -> Iterator[Path]:
    """A sandbox that is up, and the profile it printed."""
    environ = {**os.environ, "SUBMISSION_PROBE_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "probe", "sandbox"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ, cwd=ROOT) as server:
        assert server.stdout is not None
        lines = []
        while (line := server.stdout.readline()) and "expires_critical" not in line:
            lines.append(line)
        profile = tmp_path / "sandbox.toml"
        profile.write_text("".join([*lines, line]))
        try:
            yield profile
        finally:
            server.terminate()
            server.wait(10)
    assert server.returncode == 0


@pytest.mark.not_on_windows("a process cannot be asked from outside to end")
def test_what_the_sandbox_prints_is_a_profile_that_run_takes(tmp_path: Path) -> None:
    with sandbox(tmp_path) as profile:
        done = probe("run", str(profile), tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.not_on_windows("a process cannot be asked from outside to end")
def test_cron_mails_no_warning_where_warnings_are_allowed(tmp_path: Path) -> None:
    with sandbox(tmp_path) as profile:
        ends_soon = ("run", str(profile), "-q", "--set", "tls.expires_warning=30d")
        warned = probe(*ends_soon, tmp_path=tmp_path)
        silent = probe(*ends_soon, "--allow-warnings", tmp_path=tmp_path)
    assert warned.returncode == 1 and "certificate.expires-soon" in warned.stdout
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", "")
