"""Real refusals of real servers get the cause and the commands that their own words point at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.scenarios.test_round_trip import Bench
from tests.servers.mail import MailServers

START = Callable[..., MailServers]


def _more(ran: Any, finding: str) -> str:
    """The entry that the finding's last step names."""
    found = next(item for item in ran.report["findings"] if item["id"] == finding)
    assert "likely" in found["cause"]
    return str(found["remedy"][-1]).partition(";")[0].removeprefix("More: probe explain ")


def test_a_wrong_password(mail_servers: START, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers())
    ran = bench.run(bench.profile(), password="wrong-Horse7battery")
    replies = {item["stage"]: item["remedy"][-1] for item in ran.report["findings"] if item["id"] == "auth.refused"}
    assert "reply.postfix-auth-failed" in replies["smtp.auth"]
    assert "reply.dovecot-auth-failed" in replies["imap.login"]


def test_a_sender_that_the_account_does_not_own(mail_servers: START, tmp_path: Path) -> None:
    maps = "inline:{{boss@example.test=boss@example.test}}"
    restrictions = {"smtpd_sender_restrictions": "reject_sender_login_mismatch", "smtpd_sender_login_maps": maps}
    bench = Bench(tmp_path, mail_servers(extra_postfix=restrictions))
    ran = bench.run(bench.profile(message={"sender": "boss@example.test"}, readback__imap=None, readback__pop3=None))
    (finding,) = [item for item in ran.report["findings"] if item["stage"] == "smtp.submit"]
    assert _more(ran, finding["id"]) == "reply.postfix-sender-not-owned"
    assert any("smtpd_sender_login_maps" in step for step in finding["remedy"])


def test_a_server_without_starttls(mail_servers: START, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers(starttls=False))
    ran = bench.run(bench.profile(readback__imap=None, readback__pop3=None))
    assert ran.report["failed_stage"] == "smtp.starttls"
    assert _more(ran, "starttls.not-offered") == "reply.postfix-starttls-hidden"


def test_a_full_mailbox(mail_servers: START, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers())
    ran = bench.run(bench.profile(message={"recipient": "full@example.test"}, readback__imap=None, readback__pop3=None))
    assert _more(ran, "submit.recipient-refused") == "reply.mailbox-full"


def test_a_reader_in_the_clear_is_told_what_to_set(mail_servers: START, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers())
    plain = {"security": "plaintext", "connect": [bench.mail.foreign_host]}
    ran = bench.run(bench.profile(readback__imap=None, readback__pop3=plain))
    assert _more(ran, "auth.not-allowed") == "reply.dovecot-plaintext-refused"
    (finding,) = [item for item in ran.report["findings"] if item["id"] == "auth.not-allowed"]
    assert any('security = "tls"' in step for step in finding["remedy"])
