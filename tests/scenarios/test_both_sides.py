"""`probe correlate` on real logs: a real run through Postfix and Dovecot, and what both wrote of it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_round_trip import ROOT, Bench
from tests.servers.mail import MailServers


def _correlate(*arguments: str | Path, code: int = 0) -> str:
    command = [sys.executable, "-m", "probe", "correlate", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture
def servers(mail_servers: Callable[..., MailServers]) -> MailServers:
    return mail_servers()


def _save(bench: Bench, name: str, *options: str, password: str | None = None) -> tuple[Path, dict[str, Any]]:
    file = bench.folder / name
    ran = bench.run(bench.profile(), "--report", f"json={file}", *options, password=password)
    return file, ran.report


def test_a_real_run_is_found_in_the_real_logs(servers: MailServers, tmp_path: Path) -> None:
    bench = Bench(tmp_path, servers)
    before, _ = _save(bench, "before.json")
    file, report = _save(bench, "run.json")
    submit = next(stage for stage in report["stages"] if stage["name"] == "smtp.submit")["facts"]
    logs = [servers.directory / "postfix.log", servers.directory / "dovecot.log"]
    for log in logs:
        servers.wait_log(r"Logged out in=")
        assert log.exists()
    told = json.loads(_correlate(file, *logs, "-o", "json"))["reports"][0]
    assert told["missing"] == []
    sessions = {item["session"] for item in told["matched"]}
    assert f"postfix queue {submit['queue_id']}" in sessions
    lines = [moment["text"] for moment in told["timeline"] if moment["side"] == "server"]
    assert any(f"{submit['queue_id']}: client=" in line for line in lines)
    assert any(submit["marker"] in line and "saved mail to INBOX" in line for line in lines)
    # The run before has another queue id and another marker: nothing of it is told as ours.
    earlier = json.loads(before.read_text())["reports"][0]
    other = next(stage for stage in earlier["stages"] if stage["name"] == "smtp.submit")["facts"]
    assert not any(other["queue_id"] in line or other["marker"] in line for line in lines)
    for clock in told["clocks"]:
        # One machine, one clock; syslog's lines count whole seconds.
        assert clock["steady"] and abs(clock["seconds"]) <= clock["uncertainty"] + 0.01 and clock["uncertainty"] <= 1
    assert any(item["what"] == "smtp: delivery" and "status=sent" in item["text"] for item in told["knew"])
    text = _correlate(file, *logs)
    assert "what the server knew:" in text and bench.password not in text


def test_a_logon_that_was_refused_is_found_with_the_servers_reason(servers: MailServers, tmp_path: Path) -> None:
    bench = Bench(tmp_path, servers)
    file, report = _save(bench, "refused.json", "--readback", "none", password="wrong-Horse7battery")
    assert report["failed_stage"] == "smtp.auth"
    servers.wait_log(r"SASL .* authentication failed")
    told = _correlate(file, servers.directory / "postfix.log")
    assert "smtp: trouble: smtpd: warning:" in told and "authentication failed" in told


def test_the_log_of_another_day_is_no_match(servers: MailServers, tmp_path: Path) -> None:
    bench = Bench(tmp_path, servers)
    file, _ = _save(bench, "run.json")
    other = tmp_path / "mail.log"
    other.write_text("Jan  2 03:04:05 mail postfix/smtpd[7]: connect from localhost[127.0.0.1]\n")
    assert "smtp  not found" in _correlate(file, other, code=1)
