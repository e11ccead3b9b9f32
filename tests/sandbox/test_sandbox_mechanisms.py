"""Every mechanism that the sandbox speaks, over every protocol: the whole round trip, one logon each."""

import json
from pathlib import Path
from typing import Any

import pytest

import probe
from probe.report.as_json import report_to_json
from probe.sandbox import Sandbox
from probe.state.place import files
from tests.marks import unlike

PASSWORDS = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "NTLM"]
PASSWORDS += ["SCRAM-SHA-512", "SCRAM-SHA-512-PLUS"]
TOKENS = ["XOAUTH2", "OAUTHBEARER"]
STAGES = ("smtp.auth", "imap.login", "pop3.login")


def profile(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **account: Any) -> dict[str, Any]:
    monkeypatch.setenv("PW", sandbox.password)
    monkeypatch.setenv("TOKEN", sandbox.token)
    monkeypatch.setenv("SUBMISSION_PROBE_STATE", str(tmp_path / "state"))
    side = {name: {"port": address.port, "connect": ["127.0.0.1"]} for name, address in sandbox.addresses.items()}
    return {
        "submission": {"host": sandbox.fqdn, **side["submission"]},
        "account": {"username": sandbox.username, **account},
        "readback": {"imap": side["imaps"], "pop3": side["pop3s"]},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        "limits": {"timeout": 15},
    }


def account_for(mechanism: str) -> dict[str, Any]:
    if mechanism in TOKENS:
        return {"token": {"env": "TOKEN"}, "mechanism": mechanism}
    return {"password": {"env": "PW"}, "mechanism": mechanism}


@pytest.mark.parametrize("mechanism", PASSWORDS + TOKENS)
async def test_round_trip(mechanism: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox(mechanisms=[mechanism]) as sandbox:
        report = await probe.run(profile(sandbox, monkeypatch, tmp_path, **account_for(mechanism)), raise_bugs=True)
        shown = json.dumps(report_to_json(report), indent=1)
        facts = {stage.name: stage.record.facts for stage in report.stages}
        assert report.verdict == "ok", shown
        for stage in STAGES:
            assert (facts[stage].mechanism, facts[stage].attempts) == (mechanism, 1)
        assert [logon.ok for logon in sandbox.logons] == [True] * 3
        assert sandbox.password not in shown and sandbox.token not in shown
        assert sandbox.username in shown  # the user's name is no secret, though LOGIN sends it as a response


@pytest.mark.parametrize("mechanism", PASSWORDS + TOKENS)
async def test_refused_after_one_attempt(mechanism: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox(mechanisms=[mechanism], fault="wrong-password") as sandbox:
        data = profile(sandbox, monkeypatch, tmp_path, **account_for(mechanism))
        data["readback"].pop("pop3")
        if mechanism != "NTLM":
            monkeypatch.setenv("PW", "not-the-password")
            monkeypatch.setenv("TOKEN", "not-the-token")
        report = await probe.run(data, raise_bugs=True)
        assert (report.verdict, report.failed_stage) == ("critical", "smtp.auth")
        assert {finding.id for finding in report.findings} == {"auth.refused"}, report.findings
        assert sorted((logon.protocol, logon.ok) for logon in sandbox.logons) == [("imap", False), ("smtp", False)]
        if mechanism in TOKENS:
            # The reason in the JSON challenge is answered, decoded and shown.
            assert "schemes: Bearer" in report.findings[0].summary


async def test_a_client_certificate_logs_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox(mechanisms=["EXTERNAL"]) as sandbox:
        data = profile(sandbox, monkeypatch, tmp_path)
        data["tls"]["client_certificate"] = str(sandbox.client_certificate)
        report = await probe.run(data, raise_bugs=True)
        facts = {stage.name: stage.record.facts for stage in report.stages}
        assert report.verdict == "ok", report
        assert all(facts[stage].mechanism == "EXTERNAL" for stage in STAGES)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["LOGIN", "PLAIN", "NTLM"], "PLAIN"),
        (["GSSAPI", "NTLM", "LOGIN"], "LOGIN"),
        (["PLAIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"], "PLAIN"),
        (["CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"], "SCRAM-SHA-256"),
        (["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-512-PLUS"], "SCRAM-SHA-512"),
        (["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"], "SCRAM-SHA-256"),
        (["XOAUTH2", "NTLM"], "NTLM"),
    ],
)
async def test_auto_takes_what_mail_programs_take(
    offered: list[str], chosen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with Sandbox(mechanisms=offered) as sandbox:
        report = await probe.run(profile(sandbox, monkeypatch, tmp_path, password={"env": "PW"}), raise_bugs=True)
        facts = {stage.name: stage.record.facts for stage in report.stages}
        assert report.verdict == "ok", report
        assert facts["smtp.auth"].mechanism == chosen
        assert chosen not in facts["smtp.auth"].alternatives


async def test_a_mechanism_that_is_not_offered_names_those_that_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox(mechanisms=["PLAIN", "NTLM"]) as sandbox:
        data = profile(sandbox, monkeypatch, tmp_path, password={"env": "PW"}, mechanism="SCRAM-SHA-256")
        report = await probe.run(data, raise_bugs=True)
        finding = next(item for item in report.findings if item.stage == "smtp.auth")
        assert finding.id == "auth.mechanism-not-offered"
        assert "wanted SCRAM-SHA-256, offered PLAIN NTLM" in finding.summary
        assert sandbox.logons == []


async def test_a_list_tries_each_on_its_own_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox(mechanisms=["LOGIN", "NTLM", "SCRAM-SHA-256"]) as sandbox:
        wanted = ["LOGIN", "NTLM", "CRAM-MD5", "SCRAM-SHA-256"]
        data = profile(sandbox, monkeypatch, tmp_path, password={"env": "PW"}, mechanism=wanted)
        report = await probe.run(data, raise_bugs=True)
        status = {stage.name: stage.status for stage in report.stages}
        facts = {stage.name: stage.record.facts for stage in report.stages}
        for first in STAGES:
            assert status[first] == status[f"{first}.ntlm"] == status[f"{first}.scram-sha-256"] == "ok", report
            assert status[f"{first}.cram-md5"] == "failed"
            assert facts[f"{first}.ntlm"].mechanism == "NTLM"
        assert {finding.id for finding in report.findings} == {"auth.mechanism-not-offered"}
        assert len(sandbox.logons) == 9 and all(logon.ok for logon in sandbox.logons)
        assert report.failed_stage == "smtp.auth.cram-md5"


async def test_a_list_ends_with_the_first_refusal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox(mechanisms=["LOGIN", "PLAIN"]) as sandbox:
        data = profile(sandbox, monkeypatch, tmp_path, password={"env": "PW"}, mechanism=["LOGIN", "PLAIN"])
        data["readback"] = {}
        monkeypatch.setenv("PW", "not-the-password")
        report = await probe.run(data, raise_bugs=True)
        assert [logon.ok for logon in sandbox.logons] == [False]
        skipped = next(stage for stage in report.stages if stage.name == "smtp.auth.plain")
        assert skipped.status == "skipped" and "not tried again" in str(skipped.record.reason)


@pytest.mark.parametrize("proof", ["v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", None], ids=["wrong", "missing"])
async def test_a_list_ends_with_a_server_that_does_not_prove_itself(
    proof: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever cannot prove to know the password is not given it in clear by the next mechanism."""
    async with Sandbox(mechanisms=["SCRAM-SHA-256", "PLAIN"]) as sandbox:
        if proof is None:
            monkeypatch.setattr("probe.sasl.Answers.server_is_proven", property(lambda self: self.mechanism.name == "PLAIN"))
        else:
            monkeypatch.setattr("scramp.core.ScramServer.get_server_final", lambda _: proof)
        data = profile(sandbox, monkeypatch, tmp_path, password={"env": "PW"}, mechanism=["SCRAM-SHA-256", "PLAIN"])
        data["readback"] = {}
        report = await probe.run(data, raise_bugs=True)
        assert "auth.server-unproven" in {finding.id for finding in report.findings}
        skipped = next(stage for stage in report.stages if stage.name == "smtp.auth.plain")
        assert skipped.status == "skipped" and "did not prove" in str(skipped.record.reason)


async def test_the_same_wrong_password_is_not_tried_in_the_next_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox() as sandbox:
        data = profile(sandbox, monkeypatch, tmp_path, password={"env": "PW"})
        key, _ = files().key()
        wrong = unlike(key, sandbox.password, "not-the-password", "nor-this")
        monkeypatch.setenv("PW", wrong)
        first = await probe.run(data, light=True, raise_bugs=True)
        assert {finding.id for finding in first.findings} == {"auth.refused"}
        assert len(sandbox.logons) == 3
        second = await probe.run(data, light=True, raise_bugs=True)
        assert {finding.id for finding in second.findings} == {"auth.suspended"} and second.exit_code == 2
        assert len(sandbox.logons) == 3
        # Somebody who looks on may try again; a password that changed is tried, and success ends the back-off.
        await probe.run(data, light=True, try_again=True, raise_bugs=True)
        assert len(sandbox.logons) == 6
        monkeypatch.setenv("PW", sandbox.password)
        assert (await probe.run(data, light=True, raise_bugs=True)).verdict == "ok"
        assert len(sandbox.logons) == 9
