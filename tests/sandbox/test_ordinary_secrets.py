"""A password that is an everyday word or number harms no report, and a report does not point at it."""

import json

import pytest

import probe
from probe.redact import MASK
from probe.sandbox import Sandbox
from tests.canary import told

ORDINARY = ["2026", "chain", "a", "1", "250", "certificate", "intact", "PLAIN", "smtp", "trusted", "INBOX", "37748736", "log on"]


@pytest.mark.parametrize("secret", ORDINARY)
async def test_an_ordinary_password_spoils_nothing(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probe.sandbox.secrets.token_urlsafe", lambda *_: secret)
    async with Sandbox() as sandbox:
        report = await probe.run(write(sandbox, "PLAIN"))
    assert report.verdict == "ok" and report.error is None, (report.error, report.findings)
    data = json.loads(told_as_json(report))["reports"][0]
    assert MASK not in str([[stage["name"], sorted(stage["facts"]), stage["reason"]] for stage in data["stages"]])
    certificate = next(stage["facts"] for stage in data["stages"] if stage["name"] == "smtp.certificate")
    assert certificate["not_after"].endswith("Z") and certificate["accepted_by"] == "verified"
    # What we say ourselves is known to everybody: a mask in it would tell the password.
    assert not [line for line in data["transcript"] if line["direction"] != "<" and MASK in line["text"]]


@pytest.mark.parametrize("secret", ["2026", "chain", "a", "password", "sandbox"])
@pytest.mark.parametrize("fault", ["untrusted", "wrong-password"])
async def test_nor_where_something_is_wrong(secret: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probe.sandbox.secrets.token_urlsafe", lambda *_: secret)
    async with Sandbox(fault=fault) as sandbox:
        report = await probe.run(write(sandbox, "PLAIN"))
    assert report.verdict == "critical" and report.error is None
    told(report)
    texts = [(finding.id, finding.summary, finding.cause) for finding in report.findings]
    assert MASK not in str(texts)


def told_as_json(report: probe.Report) -> str:
    from probe.output import Context, output

    return output("json").write([report], Context("2026-01-01T00:00:00.000000Z", 1.0, transcript=True))


def write(sandbox: Sandbox, mechanism: str) -> str:
    path = sandbox.password_file.parent / "ordinary.toml"
    path.write_text(sandbox.profile().replace("[account]", f'[account]\nmechanism = "{mechanism}"'))
    return str(path)
