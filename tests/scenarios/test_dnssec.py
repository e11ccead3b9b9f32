"""DANE with DNSSEC as it is: a zone that is signed or not, a validating unbound, Postfix and Dovecot behind the ports."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.zone
import pytest

import probe
from probe.facts import Certified
from probe.report import Report
from tests.servers.unbound import UNBOUND, resolving, signed, zone

pytestmark = pytest.mark.skipif(not UNBOUND, reason="needs unbound (apt-get install unbound)")
# A name that the system's resolver knows, too.
HOST = "localhost"
PORTS = {"smtp": "submission", "imap": "imaps", "pop3": "pop3s"}
LEGS = [f"{leg}.certificate" for leg in PORTS]
WRONG = f"3 1 1 {'ab' * 32}"


@pytest.fixture(scope="module")
def right(mail: Any) -> dict[int, str]:
    """By selector, the record of the certificate that both serve, as OpenSSL's program and sha256sum make it."""
    whole = f"openssl x509 -in {mail.certificate.cert_file}"
    commands = (f"{whole} -outform der", f"{whole} -noout -pubkey | openssl pkey -pubin -outform der")
    made = [subprocess.run(f"{one} | sha256sum", shell=True, check=True, capture_output=True, text=True).stdout for one in commands]
    return {selector: f"3 {selector} 1 {text.split()[0]}" for selector, text in enumerate(made)}


def zone_of(mail: Any, *values: str) -> dns.zone.Zone:
    records = {"@ A": "127.0.0.1"}
    records |= {f"_{mail.ports[port]}._tcp TLSA": value for port in PORTS.values() for value in values}
    return zone(f"{HOST}.", records)


@contextmanager
def resolver(folder: Path, mail: Any, *values: str, sign: bool = True, trust: bool = True) -> Iterator[str]:
    made = zone_of(mail, *values)
    anchor = signed(made) if sign else ""
    with resolving(folder, made, anchor if trust else "") as address:
        yield address


async def run(mail: Any, monkeypatch: pytest.MonkeyPatch, resolver: str, *, expected: bool) -> Report:
    monkeypatch.setenv("PW", "correct-Horse7battery")
    tables: Mapping[str, Any] = {
        "submission": {"host": HOST, "port": mail.ports["submission"], "family": "ipv4"},
        "account": {"username": mail.add_user("dane", "correct-Horse7battery"), "password": {"env": "PW"}},
        "readback": {name: {"port": mail.ports[f"{name}s"], "family": "ipv4"} for name in ("imap", "pop3")},
        "tls": {"ca_file": str(mail.ca_file)},
        "dns": {"resolvers": {"unbound": resolver}},
        "expect": {"dane": expected},
    }
    return await probe.run(tables, raise_bugs=True)


def found(report: Report) -> list[str]:
    return sorted(f"{finding.severity} {finding.id} {finding.stage}" for finding in report.findings)


def on_each(words: str) -> list[str]:
    return sorted(f"{words} {stage}" for stage in LEGS)


def said(report: Report) -> Certified:
    return next(stage.record.seen(Certified) for stage in report.stages if stage.name == "smtp.certificate")


@pytest.mark.parametrize("selector", [0, 1])
async def test_the_right_record_in_a_signed_zone(
    selector: int, mail: Any, right: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with resolver(tmp_path, mail, right[selector]) as address:
        report = await run(mail, monkeypatch, address, expected=True)
    assert found(report) == [] and report.verdict == "ok"
    answer = said(report).tlsa["unbound"]
    assert (answer["authenticated"], answer["signed"], answer["records"][0]["mismatch"]) == (True, True, None)


@pytest.mark.parametrize(("expected", "severity"), [(False, "warning"), (True, "critical")])
async def test_a_wrong_record(
    expected: bool, severity: str, mail: Any, right: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with resolver(tmp_path, mail, WRONG) as address:
        report = await run(mail, monkeypatch, address, expected=expected)
    assert found(report) == on_each(f"{severity} dane.no-match")
    assert report.findings[0].remedy[0] == f"Publish: _{mail.ports['submission']}._tcp.{HOST}. IN TLSA {right[1]}"
    assert report.verdict == severity and report.delivery_seconds is not None


async def test_a_zone_that_is_not_signed(mail: Any, right: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with resolver(tmp_path, mail, right[1], sign=False) as address:
        told = await run(mail, monkeypatch, address, expected=False)
        strict = await run(mail, monkeypatch, address, expected=True)
    assert found(told) == on_each("warning dane.not-signed") and found(strict) == on_each("critical dane.not-signed")


async def test_a_signed_zone_that_nobody_vouches_for(
    mail: Any, right: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with resolver(tmp_path, mail, right[1], trust=False) as address:
        report = await run(mail, monkeypatch, address, expected=False)
    assert found(report) == on_each("info dane.not-validated") and report.verdict == "ok"
    assert (said(report).tlsa["unbound"]["authenticated"], said(report).tlsa["unbound"]["signed"]) == (False, True)


async def test_no_record_in_a_signed_zone(mail: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with resolver(tmp_path, mail) as address:
        told = await run(mail, monkeypatch, address, expected=False)
        strict = await run(mail, monkeypatch, address, expected=True)
    assert found(told) == [] and found(strict) == on_each("critical dane.missing")


async def test_a_record_changed_behind_its_signature(
    mail: Any, right: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver refuses it, and so do those that use DANE: nothing may be concluded from the record itself."""
    made, other = zone_of(mail, right[1]), zone_of(mail, WRONG)
    anchor = signed(made)
    for port in PORTS.values():
        name = f"_{mail.ports[port]}._tcp.{HOST}."
        made.replace_rdataset(name, other.find_rdataset(name, "TLSA"))
    with resolving(tmp_path, made, anchor) as address:
        report = await run(mail, monkeypatch, address, expected=True)
    assert found(report) == on_each("critical dane.lookup-failed")
    assert "SERVFAIL" in said(report).tlsa["unbound"]["text"]
