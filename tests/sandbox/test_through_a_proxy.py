"""SOCKS5 on the way to the sandbox: who is asked for what, what a refusal means, and what becomes of the proxy's password."""

import json
from typing import Any

import pytest

import probe
from probe.profile import ProfileError, load_mapping
from probe.report import Report
from probe.report.as_json import report_to_json
from probe.sandbox import Sandbox
from probe.tasks.audit import audit
from probe.tasks.certificates import look
from probe.tasks.plan import make_plan, plugins
from probe.tasks.prepare import Session
from tests.servers.mail import free_port
from tests.servers.socks import Scripted, scripted

USER, PASSWORD = b"bob", b"jump-Horse9battery"


def settings(sandbox: Sandbox, port: int, monkeypatch: pytest.MonkeyPatch, *, user: str = "", password: str = "") -> dict[str, Any]:
    monkeypatch.setenv("PW", sandbox.password)
    monkeypatch.setenv("PROXYPW", password)
    way: dict[str, Any] = {"connect": f"socks5://{user}127.0.0.1:{port}"}
    way |= {"proxy_password": {"env": "PROXYPW"}} if user else {}
    ports = sandbox.addresses
    readers = {name: {"port": ports[f"{name}s" if name == "imap" else "pop3s"].port, **way} for name in ("imap", "pop3")}
    return {
        "submission": {"host": "mail.sandbox.test", "port": ports["submission"].port, **way},
        "account": {"username": sandbox.username, "password": {"env": "PW"}},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        "readback": readers,
    }


async def ran(data: dict[str, Any]) -> Report:
    return await probe.run(data, raise_bugs=True)


def found(report: Report) -> dict[str, str]:
    return {one.stage: one.id for one in report.findings if one.severity == "critical"}


async def test_the_proxy_is_asked_for_the_name_and_its_password_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox, scripted(Scripted(password=(USER, PASSWORD))) as proxy:
        report = await ran(settings(sandbox, proxy.port, monkeypatch, user="bob@", password=PASSWORD.decode()))
        assert report.verdict == "ok", report.findings
        # mail.sandbox.test is in no DNS: the proxy alone could know it.
        assert {host for host, _ in proxy.asked} == {"mail.sandbox.test"} and len(proxy.asked) >= 3
        assert set(proxy.logons) == {(USER, PASSWORD)}
        assert PASSWORD.decode() not in json.dumps(report_to_json(report))
        remarks = "".join(entry.text for entry in report.transcript)
        assert f"through the proxy 127.0.0.1:{proxy.port}, which looks names up itself" in remarks


async def test_a_wrong_password_is_tried_once_and_left_alone_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox, scripted(Scripted(password=(USER, PASSWORD))) as proxy:
        data = settings(sandbox, proxy.port, monkeypatch, user="bob@", password="wrong-Horse9battery")
        report = await ran(data)
        assert set(found(report).values()) == {"proxy.auth-refused"} and report.verdict == "unknown"
        assert len(proxy.logons) == 1
        again = await ran(data)
        assert set(found(again).values()) == {"proxy.auth-refused"} and len(proxy.logons) == 1
        assert "logon at the proxy as bob not tried" in again.findings[0].summary
        done = await audit(load_mapping(data, plugins=plugins()), ("audit.old-tls", "audit.open-relay"))
        assert {item.facts.outcome for item in done} == {"undecided"} and len(proxy.logons) == 1
        monkeypatch.setenv("PROXYPW", PASSWORD.decode())
        assert (await ran(data)).verdict == "ok"


async def test_only_a_plain_refusal_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox, scripted(Scripted(reply=2, password=(USER, PASSWORD))) as proxy:
        data = settings(sandbox, proxy.port, monkeypatch, user="bob@", password=PASSWORD.decode())
        assert set(found(await ran(data)).values()) == {"proxy.refused"}
        proxy.reply = 0
        assert (await ran(data)).verdict == "ok"


@pytest.mark.parametrize(
    ("reply", "finding", "verdict"),
    [
        (1, "proxy.failed", "unknown"),
        (2, "proxy.refused", "unknown"),
        (3, "connect.unreachable", "critical"),
        (4, "connect.unreachable", "critical"),
        (5, "connect.refused", "critical"),
        (6, "connect.timeout", "critical"),
        (7, "proxy.failed", "unknown"),
        (99, "proxy.failed", "unknown"),
    ],
)
async def test_what_the_proxy_says_of_the_server_and_what_of_itself(
    monkeypatch: pytest.MonkeyPatch, reply: int, finding: str, verdict: str
) -> None:
    async with Sandbox() as sandbox, scripted(Scripted(reply=reply)) as proxy:
        report = await ran(settings(sandbox, proxy.port, monkeypatch))
        assert set(found(report).values()) == {finding} and report.verdict == verdict, report.findings


async def test_a_proxy_that_wants_a_logon_and_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox:
        async with scripted(Scripted(password=(USER, PASSWORD))) as proxy:
            report = await ran(settings(sandbox, proxy.port, monkeypatch))
            assert set(found(report).values()) == {"proxy.refused"} and "none is set" in report.findings[0].summary
        report = await ran(settings(sandbox, free_port(), monkeypatch))
        assert set(found(report).values()) == {"proxy.unreachable"} and report.verdict == "unknown"
        assert "connection refused" in report.findings[0].summary


async def test_a_server_that_is_silent_behind_the_proxy_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox, scripted(Scripted(silent=True, password=(USER, PASSWORD))) as proxy:
        data = settings(sandbox, proxy.port, monkeypatch, user="bob@", password=PASSWORD.decode())
        report = await ran(
            {**data, "limits": {"per_connection": "1s", "timeout": "9s", "delivery_critical": "9s", "delivery_warning": "9s"}}
        )
        assert set(found(report).values()) == {"connect.timeout"} and len(proxy.asked) == 3


async def test_certificates_are_looked_at_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox, scripted(Scripted(password=(USER, PASSWORD))) as proxy:
        data = settings(sandbox, proxy.port, monkeypatch, user="bob@", password=PASSWORD.decode())
        profile = load_mapping(data, plugins=plugins())
        looked, _ = await look([profile], Session(), at_once=4, every_address=False)
        assert len(proxy.asked) == 3 and all("ok" in [stage.status for stage in one.record.stages] for one in looked)
        monkeypatch.setenv("PROXYPW", "wrong-Horse9battery")
        before = len(proxy.logons)
        for _ in range(2):
            await look([profile], Session(), at_once=4, every_address=False)
        assert len(proxy.logons) == before + 1


@pytest.mark.parametrize(
    ("connect", "text"),
    [
        ("socks5://bob:hunter22@jump", "a proxy's password may not stand in a profile"),
        ("http://bob:hunter22@jump:3128", "a proxy's password may not stand in a profile"),
        ("socks4://jump:1080", "there is no other kind of proxy here"),
        (["socks5://one", "socks5://two"], "expected one proxy at most"),
        ("socks5://bob@jump", "proxy_password: missing"),
        ("socks5://jump:99999", r"expected socks5://\[USER@\]HOST"),
    ],
)
def test_a_proxy_is_named_without_its_password(connect: Any, text: str) -> None:
    with pytest.raises(ProfileError, match=text) as refused:
        load_mapping(_named(connect), plugins=plugins())
    assert "hunter22" not in str(refused.value)


def _named(connect: Any) -> dict[str, Any]:
    message = {"sender": "a@example.test", "recipient": "a@example.test"}
    return {"submission": {"host": "mail.contoso.com", "connect": connect}, "message": message}


@pytest.mark.parametrize(
    ("connect", "proxy", "nodes"),
    [
        ("socks5://jump", "socks5://jump:1080", ()),
        ("socks5h://jump:9050", "socks5://jump:9050", ()),
        (["socks5://[2001:db8::1]", "10.0.0.5"], "socks5://[2001:db8::1]:1080", ("10.0.0.5",)),
    ],
)
def test_nodes_may_stand_beside_it(connect: Any, proxy: str, nodes: tuple[str, ...]) -> None:
    side = make_plan(load_mapping(_named(connect), plugins=plugins())).submission
    assert (str(side.proxy), side.connect) == (proxy, nodes)
