"""Postfix and Dovecot in ordinary set-ups that are not the healthy one: what other software showed us wrong about."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_round_trip import NEIGHBOUR, Bench
from tests.servers.mail import MailServers

START = Callable[..., MailServers]
SOON = {"delivery_warning": "1s", "delivery_critical": "3s"}


def store_hashed(bench: Bench) -> None:
    """What guides tell one to store."""
    command = ["doveadm", "pw", "-s", "SHA512-CRYPT", "-p", bench.password]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (bench.mail.directory / "users" / bench.address).write_text(f"{bench.address}:{made}::::::\n")


def ids(ran: Any, *severities: str) -> set[str]:
    return {item["id"] for item in ran.report["findings"] if item["severity"] in (severities or ("critical", "warning"))}


@pytest.fixture
def hashed(mail_servers: START, tmp_path: Path) -> Bench:
    """Dovecot's most common set-up that lists more than it can do."""
    bench = Bench(tmp_path, mail_servers(auth_mechanisms="plain login cram-md5 scram-sha-256"))
    store_hashed(bench)
    return bench


def test_auto_logs_on_over_hashed_passwords_as_mail_programs_do(hashed: Bench) -> None:
    ran = hashed.run(hashed.profile())
    assert (ran.code, ran.report["failed_stage"]) == (0, None), ran.printed
    assert {ran.stage(name)["facts"]["mechanism"] for name in ("smtp.auth", "imap.login", "pop3.login")} == {"PLAIN"}


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "SCRAM-SHA-256"])
def test_a_challenge_over_a_hashed_password_does_not_suspend_plain(hashed: Bench, mechanism: str) -> None:
    account = {"username": hashed.address, "password": {"env": "PROBE_TEST_PASSWORD"}, "mechanism": mechanism}
    ran = hashed.run(hashed.profile(account=account))
    (finding,) = [item for item in ran.report["findings"] if item["stage"] == "smtp.auth"]
    assert finding["id"] in ("auth.refused", "auth.mechanism-failed")
    assert "PLAIN" in " ".join(finding["remedy"]) and "hashed" in finding["cause"]
    assert hashed.run(hashed.profile()).code == 0


def test_without_uidplus_what_pop3_deleted_is_not_called_left(mail_servers: START, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers(extra_dovecot="protocol imap {\n imap_capability = IMAP4rev1\n}\n"))
    bench.mail.deliver(bench.user, NEIGHBOUR)
    ran = bench.run(bench.profile())
    assert (ran.code, ids(ran)) == (0, set()), ran.printed
    assert len(bench.mail.messages(bench.user)) == 1


@pytest.mark.parametrize("readers", ["imap", "pop3", "imap,pop3"])
def test_a_sweep_over_pop3_deletes_what_imap_cannot(mail_servers: START, tmp_path: Path, readers: str) -> None:
    bench = Bench(tmp_path, mail_servers(extra_dovecot="protocol imap {\n imap_capability = IMAP4rev1\n}\n"))
    bench.mail.deliver(bench.user, NEIGHBOUR)
    only = {f"readback__{name}": None for name in ("imap", "pop3") if name not in readers}
    assert bench.run(bench.profile(), "--no-delete", "--readback", "imap").code == 0
    profile = bench.profile(**only)
    code, young = bench.sweep(profile)
    assert (code, len(young["too_young"])) == (0, 1)
    code, dry = bench.sweep(profile, "--older-than", "0", "--dry-run")
    assert (code, len(dry["kept"]), len(bench.mail.messages(bench.user))) == (1, 1, 2)
    code, swept = bench.sweep(profile, "--older-than", "0")
    by_pop3 = "pop3" in readers
    assert (code, swept["deleted"], swept["missing"]) == (0 if by_pop3 else 1, dry["kept"] if by_pop3 else [], [])
    assert len(bench.mail.messages(bench.user)) == (1 if by_pop3 else 2)


def test_an_account_that_may_not_delete(mail_servers: START, tmp_path: Path) -> None:
    acl = "protocol imap {\n mail_plugins = acl\n}\nplugin {\n acl = vfile\n}\n"
    bench = Bench(tmp_path, mail_servers(extra_dovecot=acl))
    bench.mail.deliver(bench.user, NEIGHBOUR)
    rights = bench.mail.maildir(bench.user) / "dovecot-acl"
    rights.write_text("owner lrswip\n")
    ran = bench.run(bench.profile(readback__pop3=None))
    assert ids(ran) == {"cleanup.failed"}, ran.printed
    assert len(bench.mail.messages(bench.user)) == 2


@pytest.mark.parametrize("named", [True, False], ids=["in the profile", "nowhere"])
def test_a_folder_that_comes_into_being_with_the_message(mail_servers: START, tmp_path: Path, named: bool) -> None:
    bench = Bench(tmp_path, mail_servers())
    local, _, domain = bench.address.partition("@")
    folders = {"folders": ["INBOX", "Lists"]} if named else {}
    tables = {"message": {"recipient": f"{local}+Lists@{domain}"}, "limits": {"timeout": "20s", **SOON}}
    ran = bench.run(bench.profile(readback__pop3=None, readback__imap=folders, **tables))
    assert "delivery.other-folder" in ids(ran) and "delivery.missing" not in ids(ran), ran.printed
    assert bench.mail.messages(bench.user, "Lists") == []


def test_postfix_that_cannot_reach_its_sasl_server_is_named(mail_servers: START, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers(extra_postfix={"smtpd_sasl_path": "inet:127.0.0.1:1"}))
    ran = bench.run(bench.profile(readback__imap=None, readback__pop3=None))
    (finding,) = [item for item in ran.report["findings"] if item["severity"] == "critical"]
    assert ran.report["failed_stage"] in ("smtp.ehlo_tls", "smtp.auth")
    assert "SASL" in finding["cause"], ran.printed


def test_a_password_store_that_is_broken_is_no_wrong_password(mail_servers: START, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers())
    # Dovecot's authentication service answers "not now" when the program that it asks ends in an error of its own.
    users, away = bench.mail.directory / "users", bench.mail.directory / "away"
    users.rename(away)
    users.write_text("a file in the folder's place")
    broken = bench.run(bench.profile())
    # Postfix makes a 535 of it, without a reason, as of a wrong password; Dovecot's own readers say what it is.
    found = {item["stage"]: item["id"] for item in broken.report["findings"] if item["severity"] == "critical"}
    assert found["imap.login"] == "auth.temporary", broken.printed
    users.unlink()
    away.rename(users)
    again = bench.run(bench.profile())
    assert again.stage("imap.login")["status"] == "ok", again.printed


def test_a_rewritten_sender_is_said(mail_servers: START, tmp_path: Path) -> None:
    maps = f"inline:{{{{probe@{MailServers.domain}=other@{MailServers.domain}}}}}"
    bench = Bench(tmp_path, mail_servers(extra_postfix={"sender_canonical_maps": maps}))
    ran = bench.run(bench.profile())
    assert ran.code == 0 and "message.sender-rewritten" in ids(ran, "info"), ran.printed


def test_what_pop3_only_hides_is_deleted_over_imap(mail_servers: START, tmp_path: Path) -> None:
    """`pop3_delete_type = flag`: what POP3 deletes stays in the mailbox, under a keyword."""
    flag = "protocol pop3 {\n pop3_delete_type = flag\n pop3_deleted_flag = '$POP3Deleted'\n}\n"
    bench = Bench(tmp_path, mail_servers(extra_dovecot=flag))
    bench.mail.deliver(bench.user, NEIGHBOUR)
    ran = bench.run(bench.profile())
    assert (ran.code, ids(ran)) == (0, set()), ran.printed
    assert len(bench.mail.messages(bench.user)) == 1


@pytest.mark.parametrize(("octets", "warned"), [(70_000, False), (95_000, True)])
def test_a_mailbox_that_is_nearly_full(mail_servers: START, tmp_path: Path, octets: int, warned: bool) -> None:
    plugin = "protocol imap {\n mail_plugins = $mail_plugins imap_quota\n}\n"
    bench = Bench(tmp_path, mail_servers(quota="100K", extra_dovecot=plugin))
    bench.mail.deliver(bench.user, b"Subject: large\r\n\r\n" + b"x" * 76 + b"\r\n" + b"y" * 70 + b"\r\n" * (octets // 2 - 80))
    ran = bench.run(bench.profile())
    facts = ran.stage("imap.login")["facts"]
    assert facts["messages"] == 1 and facts["quota"]["STORAGE"]["limit"] == 100, ran.printed
    found = [(item["id"], item["severity"], item["stage"]) for item in ran.report["findings"]]
    assert found == ([("mailbox.nearly-full", "warning", "imap.login")] if warned else [])
