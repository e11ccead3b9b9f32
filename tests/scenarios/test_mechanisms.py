"""Every mechanism over every protocol, against real Postfix and Dovecot, a real KDC, and Dovecot's own reading of tokens.

Postfix passes no client certificate on to Dovecot, so EXTERNAL over SMTP is tested against the sandbox (tests/sandbox); so are
SCRAM's -PLUS forms, which Dovecot has from 2.4 on, and NTLM, which Debian's Dovecot lacks.
"""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.scenarios.test_round_trip import Bench, Ran, logged_since
from tests.servers.kerberos import Kdc, json_web_token

STAGES = ("smtp.auth", "imap.login", "pop3.login")
KEY = b"a-key-of-32-octets-for-the-tests"
AUDIENCE = "mail-of-the-tests"
PASSWORDS = ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"]


@pytest.fixture(scope="module")
def everything(authority: Any) -> Iterator[tuple[Any, Kdc]]:
    """Servers that offer every mechanism, and the KDC they trust."""
    stack = ExitStack()
    from tests.servers.mail import MailServers

    # Not pytest's own folders: those are for their user only, and Dovecot's auth process is another.
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="probe-auth-")))
    folder.chmod(0o755)
    key_file = folder / "keys" / "default" / "HS256" / "default"
    key_file.parent.mkdir(parents=True)
    key_file.write_text(base64.b64encode(KEY).decode())
    (folder / "oauth2.conf").write_text(
        f"introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={folder}/keys/\n"
        f"username_attribute = email\nclient_id = {AUDIENCE}\n"
    )
    with stack, Kdc(folder) as kdc:
        kdc.add_service(*(f"{service}/{MailServers.fqdn}" for service in ("smtp", "imap", "pop")))
        client = authority.leaf(f"external@{MailServers.domain}", client=True, file_stem="client")
        extra = f"""auth_gssapi_hostname = "$ALL"
auth_krb5_keytab = {kdc.keytab}
import_environment = $import_environment KRB5_CONFIG={kdc.environ["KRB5_CONFIG"]}
ssl_ca = <{authority.ca_file}
ssl_require_crl = no
ssl_verify_client_cert = yes
auth_ssl_username_from_cert = yes
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
"""
        mechanisms = "plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256 xoauth2 oauthbearer gssapi external"
        with MailServers(authority, auth_mechanisms=mechanisms, extra_dovecot=extra) as servers:
            servers.client_certificate = client  # type: ignore[attr-defined]
            yield servers, kdc


def assert_spoken(ran: Ran, mechanism: str, stages: tuple[str, ...] = STAGES) -> None:
    assert ran.code == 0, ran.printed
    for stage in stages:
        facts = ran.stage(stage)["facts"]
        assert (facts["mechanism"], facts["attempts"]) == (mechanism, 1)


@pytest.mark.parametrize("mechanism", PASSWORDS)
def test_with_a_password(tmp_path: Path, everything: tuple[Any, Kdc], mechanism: str) -> None:
    bench = Bench(tmp_path, everything[0], user=f"mech{mechanism.lower().replace('-', '')}")
    assert_spoken(bench.run(bench.profile(account={"mechanism": mechanism})), mechanism)


@pytest.mark.parametrize("mechanism", PASSWORDS)
def test_a_refused_password_is_one_failed_logon_over_each_protocol(
    tmp_path: Path, everything: tuple[Any, Kdc], mechanism: str
) -> None:
    mail = everything[0]
    bench = Bench(tmp_path, mail, user=f"once{mechanism.lower().replace('-', '')}")
    before = mail.log()
    ran = bench.run(bench.profile(account={"mechanism": mechanism}), "--light", password="wrong-Horse7battery")
    assert ran.code == 2, ran.printed
    for stage in STAGES:
        assert ran.stage(stage)["status"] == "failed"
    assert {finding["id"] for finding in ran.report["findings"]} == {"auth.refused"}, ran.printed
    lines = logged_since(mail, before)
    assert sum("imap-login" in line and "auth failed" in line for line in lines) == 1, lines
    assert sum("pop3-login" in line and "auth failed" in line for line in lines) == 1, lines
    assert sum("SASL" in line and "authentication failed" in line for line in lines) == 1, lines


def token_for(bench: Bench, *, audience: str = AUDIENCE, seconds: float = 3600) -> str:
    now = int(time.time())
    # `azp`, where there is one, is the folder of the key in Dovecot's dictionary; without it that is "default".
    claims = {"sub": "1", "email": bench.address, "aud": audience, "scope": "mail"}
    return json_web_token(KEY, **claims, iat=now - 60, nbf=now - 60, exp=int(now + seconds))


def run_with_token(bench: Bench, mechanism: str, token: str, monkeypatch: pytest.MonkeyPatch, **tables: Any) -> Ran:
    monkeypatch.setenv("PROBE_TEST_TOKEN", token)
    path = bench.profile(account={"mechanism": mechanism, "token": {"env": "PROBE_TEST_TOKEN"}}, **tables)
    text = path.read_text().replace('password = { env = "PROBE_TEST_PASSWORD" }\n', "")
    path.write_text(text)
    ran = bench.run(path)
    assert token not in ran.printed and token.split(".")[2] not in ran.printed
    return ran


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_with_a_token(tmp_path: Path, everything: tuple[Any, Kdc], mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, everything[0], user=mechanism.lower())
    ran = run_with_token(bench, mechanism, token_for(bench), monkeypatch, expect={"token_audience": [AUDIENCE]})
    assert_spoken(ran, mechanism)
    assert ran.stage("imap.login")["facts"]["token"]["audience"] == [AUDIENCE]


def test_an_expired_token_is_not_sent(tmp_path: Path, everything: tuple[Any, Kdc], monkeypatch: pytest.MonkeyPatch) -> None:
    mail = everything[0]
    bench, before = Bench(tmp_path, mail, user="expired"), mail.log()
    ran = run_with_token(bench, "XOAUTH2", token_for(bench, seconds=-30), monkeypatch)
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.auth")
    assert {finding["id"] for finding in ran.report["findings"]} == {"auth.token-expired"}
    assert not [line for line in logged_since(mail, before) if "auth failed" in line or "authentication failed" in line]


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_for_another_audience(
    tmp_path: Path, everything: tuple[Any, Kdc], mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = everything[0]
    bench, before = Bench(tmp_path, mail, user="audience"), mail.log()
    token = token_for(bench, audience="https://graph.microsoft.com")
    ran = run_with_token(bench, mechanism, token, monkeypatch, expect={"token_audience": [AUDIENCE]})
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.auth")
    assert {finding["id"] for finding in ran.report["findings"]} == {"auth.token-wrong-audience", "auth.refused"}, ran.printed
    # The JSON that the server gave as its reason is decoded.
    assert ran.stage("imap.login")["facts"]["reason"]["status"], ran.printed
    lines = logged_since(mail, before)
    assert sum("imap-login" in line and "auth failed" in line for line in lines) == 1, lines


def test_with_a_kerberos_ticket(tmp_path: Path, everything: tuple[Any, Kdc], monkeypatch: pytest.MonkeyPatch) -> None:
    mail, kdc = everything
    bench = Bench(tmp_path, mail, user="kerberos")
    mail.add_user("kerberos", "unused-Horse7battery", extra=f"k5principals=kerberos@{kdc.realm}")
    kdc.add_user("kerberos", bench.password)
    for name, value in kdc.environ.items():
        monkeypatch.setenv(name, value)
    profile = bench.profile(account={"mechanism": "GSSAPI"})
    profile.write_text(profile.read_text().replace('password = { env = "PROBE_TEST_PASSWORD" }\n', ""))
    without = bench.run(profile)
    assert (without.code, without.report["failed_stage"]) == (2, "smtp.auth")
    assert {finding["id"] for finding in without.report["findings"]} == {"auth.no-ticket"}, without.printed
    assert without.stage("smtp.auth")["facts"]["attempts"] == 0
    kdc.get_ticket("kerberos", bench.password)
    assert_spoken(bench.run(profile), "GSSAPI")


def own(certificate: Any) -> dict[str, str]:
    return {"client_certificate": str(certificate.cert_file), "client_key": str(certificate.key_file)}


def test_with_a_client_certificate(tmp_path: Path, everything: tuple[Any, Kdc]) -> None:
    """Over IMAP4 and POP3: Postfix passes no client certificate on to Dovecot, so the submission goes by password."""
    mail = everything[0]
    bench = Bench(tmp_path, mail, user="external")
    profile = bench.profile(
        tls=own(mail.client_certificate), account={"mechanism": "PLAIN"},
        readback__imap__account={"mechanism": "EXTERNAL"}, readback__pop3__account={"mechanism": "EXTERNAL"},
    )  # fmt: skip
    assert_spoken(bench.run(profile), "EXTERNAL", ("imap.login", "pop3.login"))


def test_a_client_certificate_that_the_server_refuses(tmp_path: Path, mail_servers: Callable[..., Any], authority: Any) -> None:
    from tests.servers.pki import Authority

    stranger = Authority(tmp_path / "stranger", "Strangers").leaf("probe", client=True)
    demanding = {"smtpd_tls_req_ccert": "yes", "smtpd_tls_security_level": "encrypt"}
    strict = mail_servers(extra_postfix={**demanding, "smtpd_tls_CAfile": str(authority.ca_file)})
    bench = Bench(tmp_path, strict)
    ran = bench.run(bench.profile(tls=own(stranger), readback__imap=None, readback__pop3=None))
    assert ran.code == 2
    assert "tls.client-certificate-refused" in {finding["id"] for finding in ran.report["findings"]}, ran.printed
    # And with none at all.
    ran = bench.run(bench.profile(readback__imap=None, readback__pop3=None))
    assert "tls.client-certificate-refused" in {finding["id"] for finding in ran.report["findings"]}, ran.printed


def test_apop(tmp_path: Path, mail_servers: Callable[..., Any]) -> None:
    bench = Bench(tmp_path, mail_servers(auth_mechanisms="plain apop"))
    ran = bench.run(bench.profile(readback__imap=None, readback__pop3__account={"mechanism": "APOP"}))
    assert_spoken(ran, "APOP", ("pop3.login",))


def test_a_password_that_needs_quoting_and_encoding(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="quoting")
    bench.password = 'p"a\\s s{wörd}%'
    mail.add_user("quoting", bench.password)
    for mechanism in ("PLAIN", "LOGIN"):
        ran = bench.run(bench.profile(account={"mechanism": mechanism}))
        assert ran.code == 0, ran.printed
