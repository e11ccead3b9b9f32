"""Round trips and start-up cost, guarded without a clock: flights in the transcript, imports by name, contexts built."""

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

import probe
from probe.observe.connection import trust
from probe.report import Report
from probe.sandbox import Sandbox

ROOT = Path(__file__).parent.parent.parent


def profile(sandbox: Sandbox, *readers: str, mechanism: str = "PLAIN") -> dict:
    return {
        "submission": {"host": "127.0.0.1", "port": sandbox.addresses["submission"].port},
        "account": {"username": sandbox.username, "password": {"env": "PW"}, "mechanism": mechanism},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        "readback": {name: {"port": sandbox.addresses[f"{name}s"].port} for name in readers},
    }


def flights(report: Report, connection: str) -> list[list[str]]:
    """What was sent together, each flight answered before the next: one round trip each."""
    lines = [line for line in report.transcript if line.connection == connection and line.direction != "*"]
    return [[line.text for line in group] for way, group in groupby(lines, lambda line: line.direction) if way == ">"]


async def run(monkeypatch: pytest.MonkeyPatch, *readers: str, chunking: bool = False, **options: object) -> Report:
    async with Sandbox(chunking=chunking) as sandbox:
        monkeypatch.setenv("PW", sandbox.password)
        report = await probe.run(profile(sandbox, *readers), raise_bugs=True, **options)
    assert report.verdict == "ok", report.findings
    return report


async def test_submission_takes_six_flights_and_a_good_bye(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = flights(await run(monkeypatch), "smtp")
    verbs = [[text.split()[0] for text in flight] for flight in sent]
    assert verbs == [["EHLO"], ["STARTTLS"], ["EHLO"], ["AUTH"], ["MAIL", "RCPT", "DATA"], ["[message"], ["QUIT"]]


async def test_with_chunking_the_message_goes_with_its_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = flights(await run(monkeypatch, chunking=True), "smtp")
    verbs = [[text.split()[0] for text in flight] for flight in sent]
    assert verbs == [["EHLO"], ["STARTTLS"], ["EHLO"], ["AUTH"], ["MAIL", "RCPT", "BDAT", "[message"], ["QUIT"]]


async def test_imap_takes_two_flights_after_the_message_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    report = await run(monkeypatch, "imap")
    verbs = [[text.split(" ", 1)[1] for text in flight] for flight in flights(report, "imap")]
    # The LOGOUT waits for nothing, and nobody waits for its answer.
    assert len(verbs) == 5 and verbs[4] == ["LOGOUT"]
    assert verbs[0][0].startswith("AUTHENTICATE PLAIN ")
    assert verbs[2][0] == 'SELECT "INBOX"' and verbs[2][1].startswith("UID FETCH ")
    assert [text.split()[0:2] for text in verbs[3]] == [["UID", "STORE"], ["UID", "EXPUNGE"]]


async def test_pop3_takes_three_flights_after_the_message_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = flights(await run(monkeypatch, "pop3"), "pop3")
    verbs = [[text.split()[0] for text in flight] for flight in sent]
    # Nothing goes along with AUTH: Courier and Cyrus drop what they read together with it.
    assert verbs == [["CAPA"], ["AUTH"], ["STAT", "TOP", "TOP"], ["DELE", "QUIT"]]


async def test_without_pipelining_each_command_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    report = await run(monkeypatch, "pop3", pipelining=False, chunking=True)
    assert [flight[0].split()[0] for flight in flights(report, "smtp")][4:] == ["MAIL", "RCPT", "DATA", "[message", "QUIT"]
    assert [flight[0].split()[0] for flight in flights(report, "pop3")] == ["CAPA", "AUTH", "STAT", "TOP", "RETR", "DELE", "QUIT"]
    assert all(len(flight) == 1 for name in ("smtp", "pop3") for flight in flights(report, name))


async def test_one_tls_context_a_trust_set(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[trust.Trust] = []
    build = trust.new_context
    monkeypatch.setattr(trust, "new_context", lambda wanted: built.append(wanted) or build(wanted))
    await run(monkeypatch, "imap", "pop3")
    assert len(built) == 1


def test_a_run_that_sends_nothing_imports_no_speaker_of_a_protocol() -> None:
    code = (
        "import sys; from probe.cli import entry\n"
        "entry(['run', 'generic', '--host', 'mail.x.test', '--user', 'a@x.test', '--dry-run'])\n"
        "print(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert not {"aiosmtplib", "imapclient", "cryptography.x509", "rich", "aiosmtpd", "dns"} & loaded


async def test_an_international_address_needs_smtputf8(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as sandbox:
        monkeypatch.setenv("PW", sandbox.password)
        data = profile(sandbox, "imap") | {"message": {"recipient": "jürgen@sandbox.test"}}
        report = await probe.run(data, raise_bugs=True)
    assert report.failed_stage == "smtp.submit"
    assert {finding.id for finding in report.findings} == {"submit.smtputf8-missing"}


async def test_a_run_without_a_signature_loads_nothing_to_verify_one(tmp_path: Path) -> None:
    """What came back is read all the same; with a signature dnspython and the arithmetic are loaded, after the deletion."""
    code = (
        "import asyncio, os, sys\n"
        "import probe\n"
        "from probe.sandbox import Sandbox\n"
        "from tests.unit.test_flights import profile\n"
        "async def main():\n"
        "    async with Sandbox() as sandbox:\n"
        "        os.environ['PW'] = sandbox.password\n"
        "        report = await probe.run(profile(sandbox, 'imap'), raise_bugs=True)\n"
        "    facts = next(stage.record.facts for stage in report.stages if stage.name == 'imap.verify')\n"
        "    print(facts.evidence, report.verdict)\n"
        "    print(' '.join(name for name in sys.modules if name.startswith(('dns.', 'dkim', 'authres'))))\n"
        "asyncio.run(main())\n"
    )
    environ = {**os.environ, "SUBMISSION_PROBE_STATE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environ)
    assert done.stdout.splitlines() == ["whole ok", ""]
