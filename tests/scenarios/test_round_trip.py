"""A real message through real Postfix and Dovecot, and everything that can stop it; judged by what the servers saw too."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
NEIGHBOUR = b"From: friend@example.test\r\nTo: probe@example.test\r\nSubject: lunch?\r\n\r\nAt noon.\r\n"


@dataclass
class Ran:
    """One command line run: its exit status, its JSON, and everything it printed."""

    code: int
    report: dict[str, Any]
    printed: str

    def stage(self, name: str) -> dict[str, Any]:
        return next(stage for stage in self.report["stages"] if stage["name"] == name)

    @property
    def findings(self) -> set[str]:
        return {finding["id"] for finding in self.report["findings"]}


class Bench:
    """A folder with a profile for a set of servers; `run` runs the command line on it, as a user would."""

    def __init__(self, folder: Path, mail: Any, user: str = "probe") -> None:
        self.folder, self.mail = folder, mail
        self.password = "correct-Horse7battery"
        self.address = mail.add_user(user, self.password)
        self.user = user

    def profile(self, *, security: str = "starttls", **tables: Mapping[str, Any]) -> Path:
        ports = self.mail.ports
        tls = security == "tls"
        host = "127.0.0.1"
        data: dict[str, dict[str, Any]] = {
            "submission": {
                "host": self.mail.fqdn,
                "port": ports["submissions" if tls else "submission"],
                "security": security,
                "connect": [host],
            },
            "account": {"username": self.address, "password": {"env": "PROBE_TEST_PASSWORD"}},
            "tls": {"ca_file": str(self.mail.ca_file)},
            "readback.imap": {"port": ports["imaps" if tls else "imap"], "security": security, "connect": [host]},
            "readback.pop3": {"port": ports["pop3s" if tls else "pop3"], "security": security, "connect": [host]},
            "limits": {"timeout": "20s"},
        }
        for name, table in tables.items():
            key = name.replace("__", ".")
            if table is None:
                data.pop(key)
            else:
                data[key] = {**data.get(key, {}), **table}
        path = self.folder / "profile.toml"
        path.write_text("\n".join(f"[{name}]\n{_toml(table)}" for name, table in data.items()))
        return path

    def run(self, profile: Path, *options: str, password: str | None = None) -> Ran:
        done = self._command("run", profile, *options, password=password or self.password)
        report = json.loads(done.stdout)["reports"][0] if done.stdout else {}
        return Ran(done.returncode, report, done.stdout + done.stderr)

    def sweep(self, profile: Path, *options: str) -> tuple[int, dict[str, Any]]:
        """(exit status, what `sweep -o json` says)."""
        done = self._command("sweep", profile, *options, password=self.password)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def _command(self, name: str, profile: Path, *options: str, password: str) -> subprocess.CompletedProcess[str]:
        state = {"PROBE_TEST_PASSWORD": password, "SUBMISSION_PROBE_STATE": str(self.folder / "state")}
        command = [sys.executable, "-m", "probe", name, str(profile), "-o", "json", *options]
        done = subprocess.run(command, env={**os.environ, **state}, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert password not in done.stdout + done.stderr
        return done


def _toml(table: Mapping[str, Any]) -> str:
    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{k} = {value(v)}" for k, v in item.items()) + " }"
        return json.dumps(item)

    return "".join(f"{key} = {value(item)}\n" for key, item in table.items())


@pytest.fixture
def bench(tmp_path: Path, mail: Any, request: pytest.FixtureRequest) -> Bench:
    # Each test has a mailbox of its own on the servers all share.
    return Bench(tmp_path, mail, user=f"u{abs(hash(request.node.name)) % 10**9}")


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_both_readers_read_the_one_message_and_nothing_else_is_touched(bench: Bench, security: str) -> None:
    bench.mail.deliver(bench.user, NEIGHBOUR)
    ran = bench.run(bench.profile(security=security))
    assert (ran.code, ran.report["verdict"], ran.report["failed_stage"]) == (0, "ok", None), ran.printed
    expected_skips = {"smtp.resolve"} | ({"smtp.ehlo"} if security == "tls" else set())
    assert {stage["name"] for stage in ran.report["stages"] if stage["status"] != "ok"} == expected_skips
    marker = ran.stage("smtp.submit")["facts"]["marker"]
    assert all(ran.stage(f"{reader}.verify")["facts"]["proven_by"] == "header" for reader in ("imap", "pop3"))
    assert all(ran.stage(f"{reader}.login")["facts"]["attempts"] == 1 for reader in ("imap", "pop3"))
    left = bench.mail.messages(bench.user)
    assert len(left) == 1 and b"lunch?" in left[0] and marker.encode() not in left[0]


@pytest.mark.parametrize("reader", ["imap", "pop3"])
def test_each_reader_alone_deletes_only_our_message(bench: Bench, reader: str) -> None:
    bench.mail.deliver(bench.user, NEIGHBOUR)
    ran = bench.run(bench.profile(), "--readback", reader)
    assert ran.code == 0, ran.printed
    assert [b"lunch?" in message for message in bench.mail.messages(bench.user)] == [True]


def test_the_plaintext_ehlo_is_kept_verbatim_and_differs_after_tls(bench: Bench) -> None:
    ran = bench.run(bench.profile(), "--readback", "none")
    before, after = ran.stage("smtp.ehlo")["facts"], ran.stage("smtp.ehlo_tls")["facts"]
    assert before["lines"][0] == f"250-{bench.mail.fqdn}" and "250-STARTTLS" in before["lines"]
    assert before["mechanisms"] == [] and "PLAIN" in after["mechanisms"]
    assert "STARTTLS" in after["differs"]["removed"]
    assert any(text.startswith("AUTH ") for text in after["differs"]["added"])


def test_ipv6(bench: Bench) -> None:
    node = {"connect": ["::1"]}
    ran = bench.run(bench.profile(submission=node, readback__imap=node, readback__pop3=node))
    assert ran.code == 0, ran.printed
    assert ran.report["target"]["address"].startswith("[::1]:")


def test_the_old_port_25(bench: Bench) -> None:
    ran = bench.run(bench.profile(submission={"port": bench.mail.ports["smtp25"]}), "--readback", "imap")
    assert ran.code == 0, ran.printed


def test_facts_of_the_certificate(bench: Bench) -> None:
    facts = bench.run(bench.profile(), "--readback", "none").stage("smtp.certificate")["facts"]
    assert facts["trusted"] is True and facts["openssl_code"] == 0 and facts["name_matches"] is True
    assert bench.mail.fqdn in facts["subject_names"]
    assert len(facts["chain"]) == 2 and facts["chain"][0]["signed_by_next"] is True


def test_light_mode_logs_on_everywhere_and_sends_nothing(bench: Bench) -> None:
    ran = bench.run(bench.profile(), "--light")
    assert ran.code == 0, ran.printed
    for name in ("smtp.auth", "imap.login", "pop3.login"):
        assert ran.stage(name)["status"] == "ok"
    assert ran.stage("smtp.submit")["status"] == "skipped"
    assert bench.mail.messages(bench.user) == []


def test_no_delete_leaves_the_message(bench: Bench) -> None:
    ran = bench.run(bench.profile(), "--no-delete")
    assert ran.code == 0, ran.printed
    marker = ran.stage("smtp.submit")["facts"]["marker"]
    assert [marker.encode() in message for message in bench.mail.messages(bench.user)] == [True]


# -- everything that can stop it -------------------------------------------------------------------------------


def logged_since(mail: Any, before: str) -> list[str]:
    """The lines that the servers have logged since; the log is of several files, so position says nothing."""
    return list((Counter(mail.log().splitlines()) - Counter(before.splitlines())).elements())


def logons(mail: Any, before: str) -> list[str]:
    """What the servers logged of logons since: the servers' side of "no secret before a verified TLS"."""
    words = ("sasl_", "auth failed", "authentication failed", "Login: user")
    return [line for line in logged_since(mail, before) if any(word in line for word in words)]


def test_wrong_password(bench: Bench) -> None:
    before = bench.mail.log()
    ran = bench.run(bench.profile(), "--readback", "none", password="wrong-Horse7battery")
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.auth")
    assert "auth.refused" in ran.findings
    assert ran.stage("smtp.auth")["facts"]["attempts"] == 1
    assert len(logons(bench.mail, before)) == 1
    assert "535" in ran.stage("smtp.auth")["reason"]


def test_untrusted_ca(bench: Bench, tmp_path: Path) -> None:
    from tests.servers.pki import Authority

    before = bench.mail.log()
    other = Authority(tmp_path / "other", name="Another Root")
    ran = bench.run(bench.profile(tls={"ca_file": str(other.ca_file)}))
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.certificate")
    assert "certificate.unknown-issuer" in ran.findings
    assert ran.stage("smtp.certificate")["facts"]["openssl_code"] in (19, 20)
    assert ran.stage("smtp.certificate")["facts"]["trusted"] is False
    assert ran.stage("smtp.auth")["status"] == "skipped" and ran.stage("imap.login")["status"] == "skipped"
    assert not logons(bench.mail, before)


def test_wrong_name(bench: Bench) -> None:
    before = bench.mail.log()
    ran = bench.run(bench.profile(submission={"host": "mail.other.test"}))
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.certificate")
    assert "certificate.name-mismatch" in ran.findings and "certificate.unknown-issuer" not in ran.findings
    facts = ran.stage("smtp.certificate")["facts"]
    assert facts["trusted"] is True and facts["name_matches"] is False and facts["openssl_code"] == 62
    assert not logons(bench.mail, before)


def test_trust_any_certificate_goes_on_and_still_reports(bench: Bench) -> None:
    ran = bench.run(bench.profile(submission={"host": "mail.other.test"}), "--trust-any-certificate")
    assert ran.code == 1, ran.printed
    assert {"certificate.name-mismatch", "auth.sent-unverified"} <= ran.findings
    assert ran.stage("imap.verify")["status"] == "ok"


def test_a_pin_replaces_trust_in_the_issuer_and_nothing_else(bench: Bench) -> None:
    seen = bench.run(bench.profile(submission={"host": "mail.other.test"})).stage("smtp.certificate")["facts"]
    ran = bench.run(bench.profile(submission={"host": "mail.other.test"}, tls={"thumbprint": seen["thumbprint"]}))
    # The pin lets the secret go; the name is wrong all the same, and users' programs do not know of the pin.
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.certificate"), ran.printed
    assert "certificate.name-mismatch" in ran.findings
    assert ran.stage("smtp.auth")["facts"]["secret_allowed_by"] == "thumbprint"
    assert ran.stage("imap.verify")["status"] == "ok"


def test_another_certificate_than_the_pinned_one_is_sent_nothing(bench: Bench) -> None:
    """However valid its chain: the pin wins."""
    before = bench.mail.log()
    ran = bench.run(bench.profile(tls={"thumbprint": "AB" * 20}))
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.certificate"), ran.printed
    assert "certificate.thumbprint-differs" in ran.findings
    assert not logons(bench.mail, before)


def test_expired_leaf(mail_servers: Any, authority: Any, tmp_path: Path) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    leaf = authority.leaf("mail.example.test", not_before=past - timedelta(days=30), not_after=past, file_stem="expired")
    bench = Bench(tmp_path, mail_servers(certificate=leaf))
    ran = bench.run(bench.profile())
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.certificate")
    assert "certificate.expired" in ran.findings
    assert not logons(bench.mail, "")


def test_no_starttls(mail_servers: Any, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers(starttls=False))
    ran = bench.run(bench.profile(), "--readback", "none")
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.starttls")
    assert "starttls.not-offered" in ran.findings
    assert not logons(bench.mail, "")


def test_closed_port(bench: Bench) -> None:
    from tests.servers.mail import free_port

    ran = bench.run(bench.profile(submission={"port": free_port()}), "--readback", "none")
    assert (ran.code, ran.report["failed_stage"], ran.findings) == (2, "smtp.connect", {"connect.refused"})


def test_unknown_host(bench: Bench) -> None:
    ran = bench.run(bench.profile(submission={"host": "no-such-host.invalid", "connect": []}), "--readback", "none")
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.resolve")
    assert ran.findings & {"dns.no-record", "dns.failed"}


def test_full_mailbox(bench: Bench) -> None:
    ran = bench.run(bench.profile(message={"recipient": "full@example.test"}), "--readback", "none")
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.submit")
    assert "submit.recipient-refused" in ran.findings
    assert "5.2.2" in ran.stage("smtp.submit")["reason"]


def test_a_message_that_never_arrives(mail_servers: Any, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mail_servers(discard=True))
    ran = bench.run(bench.profile(), "--timeout", "4s", "--readback", "imap")
    assert (ran.code, ran.report["failed_stage"]) == (2, "imap.find")
    assert "delivery.missing" in ran.findings
    assert ran.report["seconds"] < 5


def test_every_failure_is_one_clear_sentence(bench: Bench) -> None:
    ran = bench.run(bench.profile(), "--readback", "none", password="wrong-Horse7battery")
    (finding,) = [item for item in ran.report["findings"] if item["severity"] == "critical"]
    assert finding["summary"].count("\n") == 0 and finding["cause"] and finding["remedy"]
    assert finding["stage"] == "smtp.auth"


def test_a_server_with_old_tls_only(mail_servers: Any, tmp_path: Path) -> None:
    """A real server says so by an alert, and the finding names the version."""
    old = {"smtpd_tls_protocols": "<=TLSv1.1", "tls_medium_cipherlist": "ALL:@SECLEVEL=0"}
    bench = Bench(tmp_path, mail_servers(extra_postfix=old))
    ran = bench.run(bench.profile(), "--readback", "none")
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.starttls")
    assert "tls.version" in ran.findings
    ran = bench.run(bench.profile(tls={"minimum_version": "TLSv1.1"}), "--readback", "none")
    assert ran.code == 0, ran.printed
    assert ran.stage("smtp.starttls")["facts"]["version"] == "TLSv1.1"


def test_postfix_takes_the_message_with_its_envelope(bench: Bench) -> None:
    ran = bench.run(bench.profile(), "--readback", "imap")
    assert (ran.code, ran.report["verdict"]) == (0, "ok"), ran.printed
    facts = ran.stage("smtp.submit")["facts"]
    assert [reply["command"].split()[0] for reply in facts["replies"]] == ["MAIL", "RCPT", "BDAT"]
    assert facts["queue_id"] in bench.mail.log()


def test_postfix_delivers_nothing_behind_a_refused_recipient(bench: Bench) -> None:
    """The chunk is read and refused; nobody looks for the message."""
    ran = bench.run(bench.profile(message={"recipient": f"full@{bench.mail.domain}"}))
    replies = ran.stage("smtp.submit")["facts"]["replies"]
    assert [reply["reply"][-1][:1] for reply in replies] == ["2", "5", "5"], replies
    assert ran.stage("imap.find")["status"] == "skipped"
    assert "submit.recipient-refused" in ran.findings and "delivery.fate-unknown" not in ran.findings


def test_a_postfix_that_hides_chunking_gets_data(tmp_path: Path, mail_servers: Any) -> None:
    """The remedy of `submit.chunking-broken` on a real server."""
    bench = Bench(tmp_path, mail_servers(extra_postfix={"smtpd_discard_ehlo_keywords": "chunking,silent-discard"}))
    ran = bench.run(bench.profile(), "--readback", "imap")
    assert (ran.code, ran.report["verdict"]) == (0, "ok"), ran.printed
    facts = ran.stage("smtp.submit")["facts"]
    assert [reply["command"].split()[0] for reply in facts["replies"]] == ["MAIL", "RCPT", "DATA", "message"]
