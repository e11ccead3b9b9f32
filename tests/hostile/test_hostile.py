"""Every story, on every protocol it is for: the outcome it must have, no secret in the wrong place, ended in time."""

import asyncio
import base64
import json
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import probe
from probe.report import Report
from probe.report.as_json import report_to_json
from probe.sandbox import Sandbox
from probe.sandbox.authority import make_context
from tests.canary import leaks, told
from tests.hostile.server import HostileServer, message_changes
from tests.hostile.story import PROTOCOLS, Play, plays

FOLDER = Path(__file__).parent
PLAYS = plays(FOLDER)
PORTS = {"smtp": "submission", "imap": "imaps", "pop3": "pop3s"}
NEIGHBOUR = b"From: friend@x.test\r\nSubject: lunch?\r\n\r\nAt noon.\r\n"


@dataclass
class Outcome:
    report: Report
    server: HostileServer
    sandbox: Sandbox
    seconds: float


async def perform(play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Outcome:
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(fault=play.settings.get("sandbox"), chunking="chunking" in play.settings))
        monkeypatch.setenv("PW", sandbox.password)
        sandbox._world.mailbox(sandbox.username).folders["INBOX"].add(NEIGHBOUR)
        certificate = play.settings.get("certificate")
        context, *_ = make_context(tmp_path, "mail.hostile.test", certificate)
        if certificate is None:
            context, ca_file, _ = make_context(tmp_path, "mail.hostile.test", None)
        else:
            (tmp_path / "trusted").mkdir()
            _, ca_file, _ = make_context(tmp_path / "trusted", "mail.hostile.test", None)
            ca_file = ca_file if certificate == "untrusted" else tmp_path / "root.pem"
        if play.settings.get("tls") == "old":
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            context.set_ciphers("ALL:@SECLEVEL=0")
        change = message_changes()[play.settings.get("message", "")]
        server = await stack.enter_async_context(HostileServer(play, sandbox, context, change))
        profile = _profile(play, sandbox, server, ca_file, tmp_path)
        loop = asyncio.get_running_loop()
        began = loop.time()
        report = await probe.run(profile, raise_bugs=True)
        return Outcome(report, server, sandbox, loop.time() - began)


def _profile(play: Play, sandbox: Sandbox, server: HostileServer, ca_file: Path, tmp_path: Path) -> dict:
    """Only the leg that the story is about talks to the hostile server; the others talk to the sandbox itself."""
    both = tmp_path / "both.pem"
    both.write_bytes(ca_file.read_bytes() + sandbox.ca_file.read_bytes())
    security = "tls" if "implicit" in play.settings else "starttls"
    hostile = {"host": "localhost", "port": server.port, "connect": ["127.0.0.1"], "security": security}
    healthy = {
        name: {"host": "localhost", "port": sandbox.addresses[service].port, "connect": ["127.0.0.1"]}
        for name, service in PORTS.items()
    }
    default = "imap" if play.protocol == "smtp" else play.protocol
    readers = play.settings.get("readers", default).split()
    return {
        "submission": hostile if play.protocol == "smtp" else healthy["smtp"],
        "account": {"username": sandbox.username, "password": {"env": "PW"}, "mechanism": "PLAIN"},
        "tls": {"ca_file": str(both), "expires_warning": "0s", "expires_critical": "0s"},
        "readback": {name: hostile if name == play.protocol else healthy[name] for name in readers if name != "none"},
        "limits": {"timeout": float(play.settings.get("timeout", "10"))},
    }


@pytest.mark.parametrize("play", PLAYS, ids=str)
async def test_story(play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcome = await perform(play, monkeypatch, tmp_path)
    report = outcome.report
    shown = json.dumps(report_to_json(report), indent=1)
    found = {finding.id for finding in report.findings}
    assert (report.exit_code, report.failed_stage) == (play.exit_code, play.failed_stage), shown
    assert play.findings <= found, (play.findings - found, shown)
    # No secret in clear, none to a peer that was not verified, none in any output.
    secret = outcome.sandbox.password
    blob = base64.b64encode(f"\0{outcome.sandbox.username}\0{secret}".encode())
    assert secret.encode() not in outcome.server.clear and blob not in outcome.server.clear
    if "certificate" in play.settings:
        assert blob not in outcome.server.received
    assert leaks([shown, *told(report)], secret, outcome.sandbox.username) == []
    # Ended in time, foreign mail untouched.
    assert outcome.seconds <= float(play.settings.get("timeout", "10")) + 1
    inbox = outcome.sandbox.mailboxes[outcome.sandbox.username].folders["INBOX"].messages
    assert [message.raw for message in inbox].count(NEIGHBOUR) == 1
    # One attempt.
    tried = [logon.protocol for logon in outcome.sandbox.logons]
    assert all(tried.count(protocol) <= 1 for protocol in ("smtp", "imap"))


def test_the_catalogue_is_large_enough() -> None:
    stories = {play.name for play in PLAYS}
    matrix = {protocol: sum(play.protocol == protocol for play in PLAYS) for protocol in PROTOCOLS}
    print(f"\n{len(stories)} stories, {len(PLAYS)} plays: {matrix}")
    assert len(stories) >= 140 and len(PLAYS) >= 250


BIG = ("endless-line", "endless-lines", "endless-lines-after-tls", "endless-retr", "huge-literal", "many-keywords", "deep-brackets")


@pytest.mark.parametrize("play", [play for play in PLAYS if play.name in BIG], ids=str)
async def test_memory_is_bounded(play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At most 32 MiB more, the scripted server's own buffers included, however much is sent."""
    import tracemalloc

    tracemalloc.start()
    try:
        await perform(play, monkeypatch, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * 2**20
