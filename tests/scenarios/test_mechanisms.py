"""Every mechanism of this version over every protocol, against real Postfix and Dovecot: one logon each, counted by the servers."""

from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_round_trip import Bench, logged_since


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_each_mechanism_over_each_protocol(tmp_path: Path, mail: Any, mechanism: str) -> None:
    bench = Bench(tmp_path, mail, user=f"mech{mechanism.lower().replace('-', '')}")
    ran = bench.run(bench.profile(account={"mechanism": mechanism}))
    assert ran.code == 0, ran.printed
    for stage in ("smtp.auth", "imap.login", "pop3.login"):
        assert ran.stage(stage)["facts"]["mechanism"] == mechanism
        assert ran.stage(stage)["facts"]["attempts"] == 1


def test_a_password_that_needs_quoting_and_encoding(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="quoting")
    bench.password = 'p"a\\s s{wörd}%'
    mail.add_user("quoting", bench.password)
    for mechanism in ("PLAIN", "LOGIN"):
        ran = bench.run(bench.profile(account={"mechanism": mechanism}))
        assert ran.code == 0, ran.printed


def test_a_refused_password_is_one_failed_logon_over_each_protocol(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="onlyonce")
    before = mail.log()
    ran = bench.run(bench.profile(), "--light", password="wrong-Horse7battery")
    assert ran.code == 2
    for stage in ("smtp.auth", "imap.login", "pop3.login"):
        assert ran.stage(stage)["status"] == "failed"
    lines = logged_since(mail, before)
    assert sum("imap-login" in line and "auth failed" in line for line in lines) == 1, lines
    assert sum("pop3-login" in line and "auth failed" in line for line in lines) == 1, lines
    assert sum("SASL" in line and "authentication failed" in line for line in lines) == 1, lines
