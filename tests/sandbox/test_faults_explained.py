"""Each fault of the sandbox yields its own finding, at its own stage, with the right likely cause (Exchange's personality)."""

from pathlib import Path
from typing import Any

import pytest

import probe
from probe.cli.demo import _demo
from probe.sandbox import FAULTS, TEACHES, Sandbox, personality_of

# Fault → stage, finding, a word of its cause. `late` takes its three seconds, so it stands here like the others.
TABLE: dict[str, tuple[str, str, str]] = {
    "no-starttls": ("smtp.starttls", "starttls.not-offered", "event 12014"),
    "no-certificate": ("smtp.starttls", "starttls.not-offered", "event 12014"),
    "wrong-name": ("smtp.certificate", "certificate.name-mismatch", "Fqdn"),
    "expired": ("smtp.certificate", "certificate.expired", "renewed"),
    "untrusted": ("smtp.certificate", "certificate.unknown-issuer", "private"),
    "client-only": ("smtp.certificate", "certificate.wrong-usage", "usage"),
    "self-signed": ("smtp.certificate", "certificate.self-signed", "default certificate"),
    "wrong-password": ("smtp.auth", "auth.refused", "password is likely wrong"),
    "mailbox-full": ("smtp.submit", "submit.refused", "likely full"),
    "chunking-refused": ("smtp.submit", "submit.chunking-broken", "RFC 3030"),
    "chunking-broken": ("smtp.submit", "submit.chunking-broken", "RFC 3030"),
    "never-delivers": ("imap.find", "delivery.missing", "queued"),
    "junk": ("imap.find", "delivery.other-folder", "spam filter"),
    "late": ("imap.find", "delivery.late", "queue"),
    "twice": ("imap.find", "delivery.duplicate", "Two deliveries"),
    "footer": ("imap.verify", "message.altered", "disclaimer"),
    "no-uidplus": ("imap.delete", "cleanup.failed", "UIDPLUS"),
    "in-use": ("pop3.login", "auth.mailbox-in-use", "POP3 session"),
    "auth-before-tls": ("smtp.ehlo", "auth.cleartext-before-tls", "before TLS"),
    "proxy-failure": ("smtp.submit", "submit.temporary", "Front End"),
    "maintenance": ("smtp.greeting", "smtp.unavailable", "maintenance"),
    "back-pressure": ("smtp.submit", "submit.temporary", "Back pressure"),
    "send-as-denied": ("smtp.submit", "submit.refused", "send as this sender"),
    "smtp-auth-disabled-tenant": ("smtp.auth", "auth.not-allowed", "whole organisation"),
    "smtp-auth-disabled-mailbox": ("smtp.auth", "auth.not-allowed", "this mailbox"),
    "basic-auth-disabled": ("smtp.auth", "auth.not-allowed", "authentication policy"),
    "conditional-access": ("smtp.auth", "auth.not-allowed", "Conditional Access"),
    "security-defaults": ("smtp.auth", "auth.not-allowed", "Security defaults"),
    "credentials-incorrect": ("smtp.auth", "auth.refused", "app password"),
    "imap-not-connected": ("imap.login", "imap.refused", "password is right"),
    "imap-disabled": ("imap.login", "auth.refused", "IMAP4 is likely switched off"),
    "pop3-disabled": ("pop3.login", "auth.refused", "POP3 is likely switched off"),
    "administrator": ("imap.login", "auth.refused", "Administrator"),
    "new-message-id": ("imap.verify", "message.altered", "gateway"),
}
# Nothing is wrong with a server that offers no PIPELINING.
HEALTHY = {"no-pipelining"}


def test_no_fault_is_left_out() -> None:
    assert set(TABLE) | HEALTHY == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(TABLE))
async def test_fault(fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with Sandbox(personality="exchange-2016", fault=fault, tarpit=0) as sandbox:
        given = profile(sandbox, monkeypatch)
        if fault == "no-uidplus":
            # Where POP3 deletes the message, nothing is left that UIDPLUS would be needed for.
            del given["readback"]["pop3"]
        report = await probe.run(given, raise_bugs=True)
    stage, name, word = TABLE[fault]
    # Whichever reader saw the message first judges its delay.
    stages = {stage, "pop3.find"} if fault == "late" else {stage}
    found = next((item for item in report.findings if item.stage in stages and item.id == name), None)
    assert found is not None, report.findings
    assert word in found.cause and found.remedy, found.cause
    # Only what the fault is about: another leg may say the same, nothing says something else.
    assert {item.id for item in report.findings} <= {name, "certificate.missing-intermediate"}


def test_the_list_says_what_each_fault_teaches() -> None:
    """By the finding that the table above expects of the same fault."""
    assert list(TEACHES) == list(FAULTS)
    for fault, (_, name, _) in TABLE.items():
        assert TEACHES[fault].startswith((f"{name}: ", f"{name}, ")), fault


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_the_demo_shows_what_the_list_says(
    fault: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """And no library says anything: no traceback stands above the report."""
    report = await _demo(personality_of(fault), fault, None)
    assert {TABLE[fault][1]} <= {item.id for item in report.findings} if fault in TABLE else report.verdict == "ok"
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "") and [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []


def profile(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("PW", sandbox.password)
    side = {name: {"port": address.port, "connect": ["127.0.0.1"]} for name, address in sandbox.addresses.items()}
    return {
        "submission": {"host": sandbox.fqdn, **side["submission"]},
        "account": {"username": sandbox.username, "password": {"env": "PW"}},
        "readback": {"imap": side["imaps"], "pop3": side["pop3s"]},
        "tls": {"ca_file": str(sandbox.ca_file), "expires_warning": "0s", "expires_critical": "0s"},
        "limits": {"timeout": 8, "delivery_warning": 1, "delivery_critical": 5},
    }
