"""Manners of cron and monitoring: send now and collect later, whose failure counts, a dead-man's switch."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_compare import probe
from tests.scenarios.test_round_trip import Bench


def run(bench: Bench, profile: Path, *options: str, **more: Any) -> tuple[int, list[dict[str, Any]]]:
    done = probe(bench, "run", str(profile), "-o", "json", *options, **more)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["reports"]


def stage(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(stage for stage in report["stages"] if stage["name"] == name)


def test_send_now_and_collect_at_the_next_run(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="cron")
    profile = bench.profile(readback__pop3=None)
    code, (sent,) = run(bench, profile, "--send-only")
    assert code == 0 and [item["name"].partition(".")[0] for item in sent["stages"]] == ["smtp"] * len(sent["stages"])
    marker = stage(sent, "smtp.submit")["facts"]["marker"]
    mail.wait_log(r"lmtp\(cron@example.test\).*saved mail to INBOX")
    assert len(mail.messages("cron")) == 1
    code, (collected, again) = run(bench, profile, "--collect", "--send-only")
    facts = stage(collected, "imap.find")["facts"]
    assert code == 0 and facts["deleted"] == [marker] and facts["delays"][marker] < 60 and facts["waiting"] == []
    assert stage(again, "smtp.submit")["status"] == "ok"
    # Collected and sent: what lies there now is the second message.
    code, (last,) = run(bench, profile, "--collect")
    second = stage(again, "smtp.submit")["facts"]["marker"]
    assert code == 0 and {*stage(last, "imap.find")["facts"]["deleted"], *stage(last, "imap.find")["facts"]["waiting"]} == {second}


def test_late_mail_is_counted_and_lost_mail_is_critical(tmp_path: Path, mail_servers: Any) -> None:
    gone = mail_servers(discard=True)
    bench = Bench(tmp_path, gone, user="lost")
    profile = bench.profile(readback__pop3=None)
    run(bench, profile, "--send-only")
    code, (waiting,) = run(bench, profile, "--collect")
    assert code == 0 and len(stage(waiting, "imap.find")["facts"]["waiting"]) == 1
    code, (lost,) = run(bench, profile, "--collect", "--give-up-after", "0")
    assert code == 2 and [finding["id"] for finding in lost["findings"]] == ["delivery.missing"]
    code, (quiet,) = run(bench, profile, "--collect")
    assert code == 0 and stage(quiet, "imap.find")["facts"]["waiting"] == []


def test_collecting_needs_a_reader(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="nopop")
    done = probe(bench, "run", str(bench.profile(readback__imap=None, readback__pop3=None)), "--collect")
    assert done.returncode == 3 and "--collect reads the mailbox over IMAP4 or POP3" in done.stderr
    assert done.stderr.count("\n") == 1


def test_both_readers_collect(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="collectboth")
    profile = bench.profile()
    code, (sent,) = run(bench, profile, "--send-only")
    marker = stage(sent, "smtp.submit")["facts"]["marker"]
    mail.wait_log(r"lmtp\(collectboth@example.test\).*saved mail to INBOX")
    code, (collected,) = run(bench, profile, "--collect")
    assert code == 0, collected["findings"]
    for reader in ("imap", "pop3"):
        (message,) = stage(collected, f"{reader}.find")["facts"]["messages"]
        assert message["marker"] == marker and message["text"] == "intact" and message["hops"]
    assert collected["delivery_seconds"] is not None and bench.mail.messages("collectboth") == []


@pytest.mark.parametrize(("blame", "code"), [("send", 3), ("read", 2), ("all", 2)])
def test_whose_failure_counts(tmp_path: Path, mail: Any, blame: str, code: int) -> None:
    bench = Bench(tmp_path, mail, user=f"blame{blame}")
    profile = bench.profile(readback__pop3=None, readback__imap={"connect": ["127.0.0.1:1"]})
    assert run(bench, profile, "--blame", blame)[0] == code


@pytest.fixture
def switch() -> Iterator[tuple[str, list[str]]]:
    """A dead-man's switch: its address, and the paths that were asked for."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/0123-uuid", seen
    server.shutdown()
    server.server_close()


def test_a_dead_mans_switch_hears_of_each_run(tmp_path: Path, mail: Any, switch: tuple[str, list[str]]) -> None:
    url, seen = switch
    bench = Bench(tmp_path, mail, user="ping")
    profile = bench.profile(readback__imap=None, readback__pop3=None)
    assert run(bench, profile, "--ping", url)[0] == 0
    assert run(bench, profile, "--ping", url, password="wrong-Horse7battery")[0] == 2
    assert seen == ["/0123-uuid/start", "/0123-uuid", "/0123-uuid/start", "/0123-uuid/fail"]


def test_the_switchs_address_stands_in_no_command_line(
    tmp_path: Path, monkeypatch: Any, mail: Any, switch: tuple[str, list[str]]
) -> None:
    url, seen = switch
    bench = Bench(tmp_path, mail, user="pingfile")
    profile = bench.profile(readback__imap=None, readback__pop3=None)
    file = tmp_path / "ping"
    file.touch(mode=0o600)
    file.write_text(f"{url}\n")
    assert run(bench, profile, "--ping-file", str(file))[0] == 0
    monkeypatch.setenv("PING_URL", url)
    assert run(bench, profile, "--ping-env", "PING_URL")[0] == 0
    assert seen == ["/0123-uuid/start", "/0123-uuid"] * 2
    file.chmod(0o644)
    refused = probe(bench, "run", str(profile), "--ping-file", str(file))
    assert refused.returncode == 3 and "other users" in refused.stderr


def test_a_switch_that_does_not_answer_changes_no_verdict(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="noping")
    profile = bench.profile(readback__imap=None, readback__pop3=None)
    done = probe(bench, "run", str(profile), "--ping", "http://127.0.0.1:1/secret-uuid", "--jitter", "10ms")
    assert done.returncode == 0 and "the verdict stands" in done.stderr and "secret-uuid" not in done.stderr
    assert probe(bench, "run", str(profile), "--ping", "file:///etc/passwd").returncode == 0
