"""Odd but healthy servers: each habit in a .dialogue, and what may follow from one run for the next."""

from pathlib import Path

import pytest

import probe
from probe.sandbox import Sandbox
from probe.sandbox.authority import make_context
from probe.state.place import Files
from tests.hostile.server import HostileServer, message_changes
from tests.hostile.story import Play, plays
from tests.hostile.test_hostile import _profile, perform

PLAYS = plays(Path(__file__).parent)
PASSWORD, NOT_NOW = "auth.refused", "auth.temporary"


@pytest.mark.parametrize("play", PLAYS, ids=str)
async def test_habit(play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    outcome = await perform(play, monkeypatch, tmp_path)
    report = outcome.report
    assert (report.exit_code, report.failed_stage) == (play.exit_code, play.failed_stage), report.findings
    grave = {finding.id for finding in report.findings if finding.severity != "info"}
    assert play.findings == grave


@pytest.mark.parametrize(
    ("protocol", "answer", "suspended"),
    [
        ("smtp", "535 5.7.8 Error: authentication failed:", True),
        ("smtp", "454 4.7.0 Temporary authentication failure", False),
        ("smtp", "503 5.5.1 Already authenticated", False),
        ("smtp", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.", False),
        ("imap", "{tag} NO [AUTHENTICATIONFAILED] Authentication failed.", True),
        ("imap", "{tag} BAD User is authenticated but not connected.", False),
        ("pop3", "-ERR [AUTH] Username and password not accepted.", True),
        ("pop3", "-ERR Server Unavailable. 21", False),
    ],
)
async def test_only_a_wrong_password_keeps_the_next_run_from_logging_on(
    protocol: str, answer: str, suspended: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play = Play("two-runs", "", protocol, 0, None, frozenset(), {"auth": [answer]})
    async with Sandbox() as sandbox:
        monkeypatch.setenv("PW", sandbox.password)
        context, ca_file, _ = make_context(tmp_path, "mail.hostile.test", None)
        async with HostileServer(play, sandbox, context, message_changes()[""]) as server:
            profile, place = _profile(play, sandbox, server, ca_file, tmp_path), Files(tmp_path / "state")
            first = await probe.run(profile, place=place)
            play.steps.clear()
            second = await probe.run(profile, place=place)
    assert first.exit_code == 2
    assert ("auth.suspended" in {finding.id for finding in second.findings}) is suspended
    assert (second.exit_code == 0) is not suspended


async def test_a_refusal_that_cannot_be_stored_counts_for_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the state directory's place")
    place = Files(tmp_path / "file" / "state")
    async with Sandbox(fault="wrong-password") as sandbox:
        monkeypatch.setenv("PW", sandbox.password)
        profile = {
            "submission": {"host": "127.0.0.1", "port": sandbox.addresses["submission"].port},
            "account": {"username": sandbox.username, "password": {"env": "PW"}},
            "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        }
        first, second = await probe.run(profile, place=place), await probe.run(profile, place=place)
    assert {"auth.refused", "auth.backoff-not-stored"} <= {finding.id for finding in first.findings}
    assert "auth.suspended" in {finding.id for finding in second.findings}


async def test_a_missing_message_costs_few_logons(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox(fault="never-delivers") as sandbox:
        monkeypatch.setenv("PW", sandbox.password)
        report = await probe.run(
            {
                "submission": {"host": "127.0.0.1", "port": sandbox.addresses["submission"].port},
                "account": {"username": sandbox.username, "password": {"env": "PW"}},
                "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
                "readback": {"pop3": {"port": sandbox.addresses["pop3s"].port}},
                "limits": {"delivery_warning": "2s", "delivery_critical": "4s"},
            }
        )
    sent = [line.text for line in report.transcript if line.connection == "pop3" and line.direction == ">"]
    assert [finding.id for finding in report.findings] == ["delivery.missing"]
    assert 2 <= sum(text.startswith("AUTH ") for text in sent) <= 8
