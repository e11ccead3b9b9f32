"""The test bench itself, by clients of the standard library: what the scenarios lean on must hold."""

import imaplib
import poplib
import re
import smtplib
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.servers.mail import MailServers, free_port, has_ipv6
from tests.servers.pki import Authority

PASSWORD = "correct-Horse7battery"
FOLDERS = tuple(Path(name) for name in ("/run/dovecot", "/var/lib/dovecot", "/var/lib/postfix", "/var/spool/postfix"))


class Client:
    """One user's connections to one address; the certificate must be good for the address."""

    def __init__(self, mail: MailServers, user: str, host: str = "127.0.0.1") -> None:
        self.mail, self.host, self.address = mail, host, mail.add_user(user, PASSWORD)
        self.context = ssl.create_default_context(cafile=mail.ca_file)

    def smtp(self, service: str = "submission") -> smtplib.SMTP:
        port = self.mail.ports[service]
        if service == "submissions":
            return smtplib.SMTP_SSL(self.host, port, context=self.context, timeout=10)
        client = smtplib.SMTP(self.host, port, timeout=10)
        client.starttls(context=self.context)
        return client

    def send(self, subject: str, service: str = "submission", to: str | None = None) -> None:
        with self.smtp(service) as client:
            client.login(self.address, PASSWORD)
            client.sendmail(self.address, [to or self.address], f"Subject: {subject}\r\n\r\nhello\r\n")

    def imap(self, tls: bool = False) -> imaplib.IMAP4:
        if tls:
            return imaplib.IMAP4_SSL(self.host, self.mail.ports["imaps"], ssl_context=self.context, timeout=10)
        client = imaplib.IMAP4(self.host, self.mail.ports["imap"], timeout=10)
        client.starttls(self.context)
        return client

    def pop3(self, tls: bool = False) -> poplib.POP3:
        if tls:
            return poplib.POP3_SSL(self.host, self.mail.ports["pop3s"], context=self.context, timeout=10)
        client = poplib.POP3(self.host, self.mail.ports["pop3"], timeout=10)
        client.stls(self.context)
        return client


def _eventually(done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 5
    while not (found := done()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    # Short: Dovecot abbreviates long names in its log.
    return f"u{zlib.crc32(request.node.name.encode())}"


@pytest.mark.parametrize("service", ["submission", "submissions", "smtp25"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_whole_loop(mail: MailServers, user: str, host: str, service: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("no IPv6 on loopback")
    client, tls = Client(mail, user, host), service == "submissions"
    mail.deliver(user, b"Subject: neighbour\r\n\r\nAt noon.\r\n")
    client.send("ours", service)
    assert _eventually(lambda: len(mail.messages(user)) == 2), mail.log()
    with client.imap(tls) as imap:
        imap.login(client.address, PASSWORD)
        imap.select()
        assert imap.search(None, "SUBJECT", "ours") == ("OK", [b"2"])
    pop3 = client.pop3(tls)
    pop3.user(client.address)
    pop3.pass_(PASSWORD)
    assert b"Subject: ours" in pop3.retr(2)[1]
    pop3.dele(2)
    pop3.quit()
    left = mail.messages(user)
    assert len(left) == 1 and b"Subject: neighbour" in left[0]


def test_a_message_can_be_put_into_another_folder(mail: MailServers, user: str) -> None:
    client = Client(mail, user)
    mail.deliver(user, b"Subject: spam\r\n\r\nBuy.\r\n", "Junk")
    client.send("taken for spam", to=f"{user}+Junk@{mail.domain}")
    assert _eventually(lambda: len(mail.messages(user, "Junk")) == 2) and mail.messages(user) == []
    with client.imap() as imap:
        imap.login(client.address, PASSWORD)
        assert any(b"\\Junk" in line for line in imap.list()[1] if isinstance(line, bytes))


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_one_wrong_password_is_one_line_of_dovecots_log(mail: MailServers, user: str, mechanism: str) -> None:
    client = Client(mail, user)
    with client.smtp() as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = client.address, "wrong"
        authenticate = getattr(smtp, f"auth_{mechanism.lower().replace('-', '_')}")
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            smtp.auth(mechanism, authenticate, initial_response_ok=mechanism != "CRAM-MD5")
    assert refused.value.smtp_code == 535
    mail.wait_log(f"SASL {mechanism} authentication failed.*{client.address}")
    assert len(re.findall(rf"auth: .*\({client.address},.*Password mismatch", mail.log())) == 1


def test_postfix_offers_and_takes_no_auth_before_tls(mail: MailServers, user: str) -> None:
    client = Client(mail, user)
    with smtplib.SMTP("127.0.0.1", mail.ports["submission"], timeout=10) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls") and not smtp.has_extn("auth")
        assert smtp.docmd("AUTH PLAIN", "AHgAeA==") == (503, b"5.5.1 Error: authentication not enabled")
        assert smtp.docmd("MAIL", f"FROM:<{client.address}>")[0] == 250
        assert smtp.docmd("RCPT", f"TO:<{client.address}>")[0] == 554


def test_dovecot_takes_no_password_before_tls_from_a_stranger(mail: MailServers, user: str) -> None:
    client = Client(mail, user, mail.foreign_host)
    imap = imaplib.IMAP4(mail.foreign_host, mail.ports["imap"], timeout=10)
    assert "LOGINDISABLED" in imap.capabilities and not any(name.startswith("AUTH=") for name in imap.capabilities)
    with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
        imap.login(client.address, PASSWORD)
    imap.shutdown()
    pop3 = poplib.POP3(mail.foreign_host, mail.ports["pop3"], timeout=10)
    assert "STLS" in pop3.capa()
    with pytest.raises(poplib.error_proto, match="disallowed"):
        pop3.user(client.address)
    pop3.close()


def test_no_starttls(mail_servers: Callable[..., MailServers]) -> None:
    mail = mail_servers(starttls=False)
    with smtplib.SMTP("127.0.0.1", mail.ports["submission"], timeout=10) as smtp:
        smtp.ehlo()
        assert not smtp.has_extn("starttls") and not smtp.has_extn("auth")


def test_discard_says_250_and_delivers_nothing(mail_servers: Callable[..., MailServers]) -> None:
    mail = mail_servers(discard=True)
    Client(mail, "lost").send("never seen")
    mail.wait_log(r"postfix/discard.*status=sent")
    assert mail.messages("lost") == []


def test_a_full_mailbox_is_refused_at_rcpt(mail: MailServers, user: str) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        Client(mail, user).send("too much", to=f"full@{mail.domain}")
    assert refused.value.recipients[f"full@{mail.domain}"][0] == 552


def test_dovecots_own_quota_is_refused_at_rcpt(mail_servers: Callable[..., MailServers]) -> None:
    mail = mail_servers(quota="2K")
    client = Client(mail, "small")
    client.send("fits")
    assert _eventually(lambda: mail.messages("small")), mail.log()
    mail.deliver("small", b"Subject: filler\r\n\r\n" + b"x" * 60 + b"\r\n" * 300)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        client.send("x" * 900)
    assert refused.value.recipients[client.address] == (552, refused.value.recipients[client.address][1])
    assert b"Mailbox is full" in refused.value.recipients[client.address][1]


def test_an_unknown_recipient_comes_back_as_a_bounce(mail: MailServers, user: str) -> None:
    Client(mail, user).send("to whom?", to=f"nobody-{user}@{mail.domain}")
    bounce = _eventually(lambda: mail.messages(user))
    assert bounce and b"Status: 5.1.1" in bounce[0]


def test_an_expired_leaf(mail_servers: Callable[..., MailServers], authority: Authority) -> None:
    day = timedelta(days=1)
    now = datetime.now(UTC)
    leaf = authority.leaf(MailServers.fqdn, "127.0.0.1", not_before=now - 9 * day, not_after=now - day, file_stem="expired")
    client = Client(mail_servers(certificate=leaf), "late")
    for connect in (client.smtp, client.imap, client.pop3, lambda: client.smtp("submissions")):
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            connect()


def test_another_certificate_is_served_once_the_swap_returns(
    mail_servers: Callable[..., MailServers], authority: Authority
) -> None:
    mail = mail_servers()
    client = Client(mail, "swap")
    leaf = authority.leaf(mail.fqdn, "127.0.0.1", file_stem="swapped")
    assert leaf.thumbprint != mail.certificate.thumbprint
    mail.swap_certificate(leaf)
    pem = leaf.leaf_pem.decode()
    with client.smtp() as smtp, client.imap() as imap:
        served = [connection.sock.getpeercert(True) for connection in (smtp, imap)]
    assert [ssl.DER_cert_to_PEM_cert(der) for der in served] == [pem, pem]


@pytest.mark.usefixtures("mail")
def test_stopping_leaves_no_process_and_no_file(authority: Authority) -> None:
    before = _files()
    mail = MailServers(authority)
    mail.start()
    client = Client(mail, "gone")
    client.send("first")
    open_session = client.imap()
    open_session.login(client.address, PASSWORD)
    pids = mail.pids
    commands = [Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8") for pid in pids]
    assert any("master" in command for command in commands) and any("imap" in command for command in commands)
    mail.stop()
    assert mail.pids == [] and [pid for pid in pids if _runs(pid)] == []
    assert not mail.directory.exists() and _files() == before
    mail.stop()


def test_servers_that_cannot_start_say_why_and_leave_nothing(mail: MailServers, authority: Authority) -> None:
    broken = MailServers(authority, extra_dovecot="nonsense = yes\n")
    with pytest.raises(RuntimeError, match="Unknown setting: nonsense"):
        broken.start()
    assert broken.pids == [] and not broken.directory.exists()


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] < 32768


def test_no_port_is_given_twice_nor_to_two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server listens on its port some time after it was given."""
    given = []
    for worker in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        given += [free_port() for _ in range(300)]
    assert len(set(given)) == 600
    assert {port % 16 for port in given[:300]}.isdisjoint({port % 16 for port in given[300:]})


def _files() -> set[Path]:
    return {path for folder in FOLDERS for path in folder.rglob("*") if not path.is_socket()}


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
