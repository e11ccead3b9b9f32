"""A year of weekly runs of real Postfix and Dovecot, by a clock that is given: what changed when, and what did not."""

import asyncio
import json
import re
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from probe.cli import entry
from probe.judge._verdict import judge
from probe.state.history import add
from probe.tasks.plan import make_plan
from probe.tasks.prepare import Session, prepare
from probe.tasks.run import load_profile, observe
from tests.scenarios.test_round_trip import Bench
from tests.servers.mail import MailServers, _await
from tests.servers.pki import Authority

BEGAN = datetime(2026, 1, 7, 10, 15, tzinfo=UTC)


class Year:
    """Runs of one profile, each at its week; all are stored."""

    def __init__(self, file: Path, profile: Path) -> None:
        self.file, self.profile = file, load_profile(str(profile), {})

    def run(self, weeks: range, *, dead: bool = False) -> None:
        asyncio.run(self._run(weeks, dead))

    async def _run(self, weeks: range, dead: bool) -> None:
        for week in weeks:
            when = BEGAN + timedelta(weeks=week)
            plan = make_plan(self.profile, light=True)
            session = Session(utc_now=lambda when=when: when)  # type: ignore[misc]
            plan = await prepare(plan, self.profile, session.place)
            if dead:
                plan = replace(plan, submission=replace(plan.submission, connect=("127.0.0.1:1",)))
            report = judge(await observe(plan, session), self.profile)
            assert (report.failed_stage == "smtp.connect") == dead
            assert add(self.file, [report]) is None


def version(mail: MailServers) -> str | None:
    """The TLS version that the submission port speaks now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with smtplib.SMTP("127.0.0.1", mail.ports["submission"]) as smtp:
            smtp.starttls(context=context)
            assert isinstance(smtp.sock, ssl.SSLSocket)
            return smtp.sock.version()
    except OSError:
        return None


def test_since_when(
    authority: Authority, mail_servers: Callable[..., MailServers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    mail = mail_servers(auth_mechanisms="plain login scram-sha-256")
    bench = Bench(tmp_path, mail)
    monkeypatch.setenv("PROBE_TEST_PASSWORD", bench.password)
    file = tmp_path / "history.sqlite"
    year = Year(file, bench.profile(readback__pop3=None))
    year.run(range(8))
    # Week 8: somebody switches TLS 1.3 off. Dovecot keeps it.
    mail._reload_postfix({"smtpd_tls_protocols": "<=TLSv1.2", "smtpd_tls_mandatory_protocols": "<=TLSv1.2"})
    assert _await(lambda: version(mail) == "TLSv1.2", 10)
    year.run(range(8, 16))
    # Weeks 16 to 20: the submission port is not reached at all.
    year.run(range(16, 21), dead=True)
    year.run(range(21, 30))
    first, second = mail.certificate.thumbprint, authority.leaf(mail.fqdn, "localhost", "127.0.0.1", "::1")
    mail.swap_certificate(second, readers=False)
    year.run(range(30, 33))
    mail.swap_certificate(second)
    year.run(range(33, 40))
    mail.halt()
    mail.auth_mechanisms = "plain login"
    mail.start()
    year.run(range(40, 52))

    capsys.readouterr()
    assert entry(["history", "--changes", "--history", str(file), "profile"]) == 0
    suites = "TLS_AES_256_GCM_SHA384 → ECDHE-ECDSA-AES256-GCM-SHA384"
    assert capsys.readouterr().out.splitlines() == [
        "2026-03-04 10:15  smtp  TLS 1.3 → 1.2  DOWNGRADE  (the run before: 2026-02-25 10:15)",
        f"2026-03-04 10:15  smtp  cipher {suites}  (the run before: 2026-02-25 10:15)",
        f"2026-08-05 10:15  smtp  certificate {first} → {second.thumbprint}  (the run before: 2026-07-29 10:15)",
        f"2026-08-26 10:15  imap  certificate {first} → {second.thumbprint}  (the run before: 2026-08-19 10:15)",
        "2026-10-14 10:15  imap  mechanisms -SCRAM-SHA-256  DOWNGRADE  (the run before: 2026-10-07 10:15)",
        "2026-10-14 10:15  smtp  mechanisms -SCRAM-SHA-256  DOWNGRADE  (the run before: 2026-10-07 10:15)",
    ]
    assert entry(["history", "--changes", "-o", "json", "--history", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)["changes"]
    assert next((one["protocol"], one["key"], one["downgrade"]) for one in found) == ("smtp", "tls", True)
    assert all(re.fullmatch(r"2026-\d\d-\d\dT10:15:00\.000000Z", one["at"]) for one in found)
    # All of it in the space of a few runs.
    assert len(found) == 6 and file.stat().st_size < 2_000_000
