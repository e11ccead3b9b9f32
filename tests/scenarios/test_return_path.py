"""`probe audit --return-path` on real Postfix and Dovecot: refused at once, returned, swallowed, taken by a catch-all, not now."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.observe.audit import return_path
from tests.scenarios.test_round_trip import ROOT, Bench

CHECK = "audit.return-path"


def audited(bench: Bench, *options: str, **tables: Any) -> tuple[int, dict[str, Any]]:
    """(exit status, the check's JSON)."""
    patient = {"limits": {"timeout": "45s", "delivery_warning": "5s", "delivery_critical": "40s"}}
    profile = bench.profile(**{**patient, **tables})
    env = {**os.environ, "PROBE_TEST_PASSWORD": bench.password, "SUBMISSION_PROBE_STATE": str(bench.folder / "state")}
    command = [sys.executable, "-m", "probe", "audit", str(profile), "-o", "json", *(options or ("--check", CHECK))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT, timeout=90)
    assert bench.password not in done.stdout + done.stderr
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, next((check for check in checks if check["id"] == CHECK), {})


def bench_on(folder: Path, mail: Any) -> Bench:
    return Bench(folder, mail, user="sender")


@pytest.fixture(scope="module")
def returning(authority: Any) -> Any:
    """Dovecot's LMTP refuses the unknown user, so that Postfix, which took the message, has to return it."""
    from tests.servers.mail import MailServers

    with MailServers(authority) as servers:
        yield servers


@pytest.mark.parametrize("reader", ["imap", "pop3"])
def test_what_postfix_returns_is_read_and_stays(returning: Any, tmp_path: Path, reader: str) -> None:
    bench = Bench(tmp_path, returning, user=f"by{reader}")
    other = "pop3" if reader == "imap" else "imap"
    code, check = audited(bench, **{f"readback__{other}": None})
    assert (code, check["outcome"]) == (0, "pass"), check
    report = check["facts"]["report"]
    assert (report["action"], report["status"], report["reporting"]) == ("failed", "5.1.1", "mail.example.test")
    assert report["recipient"] == check["facts"]["recipient"] and "550 5.1.1" in report["diagnostic"]
    assert check["facts"]["recipient"].startswith("no-such-user-")
    (left,) = returning.messages(f"by{reader}")
    assert b"multipart/report" in left, "a report is not ours, and not deleted"
    assert b"X-Auto-Response-Suppress" not in left


def test_without_the_option_nothing_is_sent(returning: Any, tmp_path: Path) -> None:
    bench = Bench(tmp_path, returning, user="silent")
    _, check = audited(bench, "--check", "audit.old-tls", "--check", "audit.open-relay")
    assert check == {} and returning.messages("silent") == []


def test_a_refusal_at_rcpt_is_right_too(mail_servers: Callable[..., Any], tmp_path: Path) -> None:
    bench = bench_on(tmp_path, mail_servers(extra_postfix={"smtpd_recipient_restrictions": "reject_unlisted_recipient, permit"
        , "virtual_mailbox_maps": "inline:{ { sender@example.test = x } }"}))  # fmt: skip
    code, check = audited(bench)
    assert (code, check["outcome"]) == (0, "pass"), check
    assert check["evidence"].startswith("refused at once, at RCPT: 550 5.1.1") and check["facts"]["refused_at"] == "RCPT"
    assert bench.mail.messages("sender") == []


def test_mail_that_is_swallowed_is_a_finding(mail_servers: Callable[..., Any], tmp_path: Path) -> None:
    """A transport that throws away whatever nobody owns."""
    swallowing = mail_servers(
        extra_postfix={"transport_maps": "inline:{ { sender@example.test = : } { example.test = discard: } }"}
    )
    limits = {"timeout": "20s", "delivery_warning": "1s", "delivery_critical": "2s"}
    code, check = audited(bench_on(tmp_path, swallowing), limits=limits)
    assert (code, check["outcome"], check["severity"]) == (1, "fail", "warning"), check
    assert "nothing came back to sender@example.test" in check["evidence"] and check["facts"]["marker"] in check["evidence"]


def test_what_a_catch_all_puts_into_the_own_mailbox_is_a_finding_and_deleted(
    mail_servers: Callable[..., Any], tmp_path: Path
) -> None:
    catching = mail_servers(extra_postfix={"virtual_alias_maps": "regexp:{ {/^no-such-user-/ sender@example.test} }"})
    code, check = audited(bench_on(tmp_path, catching))
    assert (code, check["outcome"]) == (1, "fail"), check
    assert "own mailbox (INBOX), as a catch-all does" in check["evidence"]
    assert catching.messages("sender") == []


def test_not_now_decides_nothing(mail_servers: Callable[..., Any], tmp_path: Path) -> None:
    later = mail_servers(extra_postfix={"smtpd_recipient_restrictions": "check_recipient_access static:{450 4.2.0 Greylisted}"})
    code, check = audited(bench_on(tmp_path, later))
    assert (code, check["outcome"]) == (3, "undecided") and "450 4.2.0" in check["evidence"]


def test_a_sender_whose_mailbox_nobody_reads_decides_nothing(returning: Any, tmp_path: Path) -> None:
    bench = Bench(tmp_path, returning, user="alone")
    code, check = audited(bench, message={"sender": "other@example.test", "recipient": "alone@example.test"})
    assert (code, check["outcome"]) == (3, "undecided") and "other@example.test" in check["evidence"]
    assert returning.messages("alone") == []


def test_the_option_is_said_where_the_checks_are_listed() -> None:
    done = subprocess.run([sys.executable, "-m", "probe", "audit", "--list"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert f"{CHECK} (warning, only with {return_path.OPTION})" in done.stdout
