"""Real SOCKS5 servers of Debian's between us and Postfix with Dovecot: microsocks with a password, dante with rules."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import probe
from probe.report import Report
from tests.servers.mail import free_port
from tests.servers.socks import dante, microsocks

pytestmark = [
    pytest.mark.not_on_windows("Debian's SOCKS servers"),
    pytest.mark.skipif(not (shutil.which("microsocks") and Path("/usr/sbin/danted").exists()), reason="no SOCKS servers"),
]
PASSWORD = "socks-Horse7battery"


def settings(mail: Any, name: str, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("PW", PASSWORD)
    monkeypatch.setenv("PROXYPW", "jump-Horse9battery")
    return {
        "submission": {"host": mail.fqdn, "port": mail.ports["submission"], **way},
        "account": {"username": mail.add_user(name, PASSWORD), "password": {"env": "PW"}},
        "tls": {"ca_file": str(mail.ca_file)},
        "readback": {"imap": {"port": mail.ports["imaps"], **way}, "pop3": {"port": mail.ports["pop3s"], **way}},
    }


def found(report: Report) -> dict[str, str]:
    return {one.stage: one.id for one in report.findings if one.severity == "critical"}


async def test_microsocks_with_a_password(mail_servers: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    mail = mail_servers()
    with microsocks("-u", "bob", "-P", "jump-Horse9battery") as port:
        # The name is in no DNS here, so that the proxy gets an address.
        way = {"connect": [f"socks5://bob@127.0.0.1:{port}", "127.0.0.1"], "proxy_password": {"env": "PROXYPW"}}
        data = settings(mail, "socks", way, monkeypatch)
        report = await probe.run(data, raise_bugs=True)
        assert report.verdict == "ok", report.findings
        assert mail.messages("socks") == []
        monkeypatch.setenv("PROXYPW", "wrong-Horse9battery")
        refused = await probe.run(data, raise_bugs=True)
        assert set(found(refused).values()) == {"proxy.auth-refused"} and refused.verdict == "unknown"
        monkeypatch.setenv("PROXYPW", "jump-Horse9battery")
        unlisted = {**data, "submission": {**data["submission"], "port": free_port()}, "readback": {}}
        assert set(found(await probe.run(unlisted, raise_bugs=True)).values()) == {"connect.refused"}
        # microsocks looks the name up, and says no more of it than that it failed.
        unknown = {**data, "submission": {**data["submission"], "connect": way["connect"][0]}, "readback": {}}
        report = await probe.run(unknown, raise_bugs=True)
        assert set(found(report).values()) <= {"proxy.failed", "connect.unreachable"} and found(report)


async def test_dantes_rules(mail_servers: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mail = mail_servers()
    with dante(tmp_path, mail.ports["submission"]) as port:
        data = settings(mail, "rules", {"connect": [f"socks5://127.0.0.1:{port}", "127.0.0.1"]}, monkeypatch)
        report = await probe.run(data, raise_bugs=True)
    # Its rules allow the submission port, and no other.
    assert found(report)["imap.connect"] == found(report)["pop3.connect"] == "proxy.refused"
    statuses = {stage.name: stage.status for stage in report.stages}
    assert statuses["smtp.auth"] == "ok" and statuses["smtp.submit"] == "ok"
