"""The calendar of what ends, and the findings of a run that relies on such a thing. No server: records in, findings out."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from probe.facts import Certified, Facts, Greeted, LoggedOn, Secured, Verified
from probe.facts.parts import HopSeen, Link
from probe.judge import findings
from probe.judge._calendar import Row, rows
from probe.judge.sunset import FINDINGS, judge
from probe.profile import Profile, load_mapping
from probe.record import Record, record_from_json
from probe.report import Finding
from probe.tasks.plan import plugins

CASE = json.loads((Path(__file__).parent / "records" / "healthy.json").read_text(encoding="ascii"))
HEALTHY: Record = record_from_json(CASE["record"])
PROFILE: Profile = load_mapping(CASE["profile"], plugins=plugins())
ROWS = {row.id: row for row in rows()}
LETS_ENCRYPT = "CN=YR1,O=Let's Encrypt,C=US"
R3 = "CBB522D7B7F127AD6A0113865BDF1CD4102E7D0759AF635A7CF4720DC963C53B"


def record(on: str, host: str = "mail.contoso.com", **stages: Facts) -> Record:
    """The healthy run on that day, with these facts in the place of its own; `smtp_auth` is `smtp.auth`."""
    facts = {name.replace("_", ".", 1): kind for name, kind in stages.items()}
    bare = {"smtp.certificate", "imap.certificate", "pop3.certificate"}
    changed = tuple(
        replace(stage, facts=facts.get(stage.name, None if stage.name in bare else stage.facts)) for stage in HEALTHY.stages
    )
    return replace(HEALTHY, started=f"{on}T12:00:00Z", target=replace(HEALTHY.target, host=host), stages=changed)


def certificate(on: str, *, begins: str, days: int, issuer: str = "CN=CA,O=DigiCert Inc", root: str = "", **more: Any) -> Certified:
    """A public certificate as it is seen on that day."""
    ends = date.fromisoformat(begins) + timedelta(days)
    leaf: Link = {
        "subject": "CN=mail.contoso.com",
        "issuer": issuer,
        "extended_key_usage": more.pop("usage", ["1.3.6.1.5.5.7.3.1"]),
    }
    seen = Certified(
        trusted=True, scts=2, not_before=f"{begins}T00:00:00Z", not_after=f"{ends}T00:00:00Z", checked_at=f"{on}T12:00:00Z",
        chain=[leaf], verified_path=["AB" * 32, root or "CD" * 32],
    )  # fmt: skip
    return replace(seen, **more)


def said(seen: Record) -> list[Finding]:
    return list(judge(seen, PROFILE))


def one(seen: Record, name: str) -> Finding:
    (found,) = [finding for finding in said(seen) if finding.id == name]
    return found


def online(on: str, mechanism: str = "LOGIN", **more: Facts) -> Record:
    greeting = Greeted(lines=["220 FR4P281CA0001.outlook.office365.com Microsoft ESMTP MAIL Service ready"], name="FR4P281CA0001")
    return record(on, "smtp.office365.com", smtp_greeting=greeting, smtp_auth=LoggedOn(mechanism=mechanism, attempts=1), **more)


# -- the calendar -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_each_row_can_be_checked_by_its_reader(row: Row) -> None:
    assert re.fullmatch(r"https://[^\s]+\.[^\s]+", row.source)
    assert row.checked >= date(2026, 11, 27)
    assert isinstance(row.date, date) and row.ends and row.concerns and row.shows and row.do
    assert row.read or row.note, "say from whom the date is"
    assert row.finding is None or row.finding in FINDINGS
    assert row.remedy[-1].endswith(row.source)


def test_ids_are_unique_and_rows_come_by_date() -> None:
    assert len(ROWS) == len(rows()) and [row.date for row in rows()] == sorted(row.date for row in rows())


def test_the_dates_that_were_asked_for_are_there() -> None:
    dates = {name: str(row.date) for name, row in ROWS.items()}
    assert dates["exchange-online-passwords"] == "2026-12-31"
    assert [dates[f"certificates-{days}-days"] for days in (200, 100, 47)] == ["2026-03-15", "2027-03-15", "2029-03-15"]
    assert [dates[f"lets-encrypt-{days}-days"] for days in (64, 45)] == ["2027-02-10", "2028-02-16"]
    assert dates["exchange-2016-2019-support"] == "2025-10-14" and dates["public-client-authentication"] == "2027-03-15"
    assert {"sha-1", "rsa-1024", "rsa-2048", "old-tls", "gmail-passwords", "yahoo-passwords", "icloud-passwords"} <= set(dates)


def test_every_finding_has_a_row() -> None:
    assert {row.finding for row in rows()} - {None} == set(FINDINGS)


# -- passwords in Exchange Online ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "severity", "words"),
    [
        ("2026-09-01", "info", "ends on 2026-12-31, in 121 days"),
        ("2026-10-02", "warning", "ends on 2026-12-31, in 90 days"),
        ("2026-11-27", "warning", "ends on 2026-12-31, in 34 days"),
        ("2026-12-31", "warning", "ends on 2026-12-31, in 0 days"),
        ("2027-01-01", "info", "has ended on 2026-12-31"),
    ],
)
def test_a_password_at_exchange_online(on: str, severity: str, words: str) -> None:
    found = one(online(on), "sunset.basic-authentication")
    assert (found.severity, found.stage) == (severity, "smtp.auth") and found.summary.startswith(words)
    assert "LOGIN with a password" in found.evidence and "second half of 2027" in found.cause


def test_a_token_at_exchange_online_is_what_lasts() -> None:
    assert not said(online("2026-11-27", "XOAUTH2"))


def test_a_refused_password_is_explained_by_the_refusal() -> None:
    seen = online("2026-11-27")
    stages = tuple(replace(stage, status="failed") if stage.name == "smtp.auth" else stage for stage in seen.stages)
    assert not said(replace(seen, stages=stages))


@pytest.mark.parametrize(
    ("host", "greeting"),
    [
        ("mail.contoso.com", "220 mail.contoso.com Microsoft ESMTP MAIL Service ready at Fri, 27 Nov 2026 11:21:54 +0000"),
        ("smtp.office365.com", "220 mx.contoso.com ESMTP Postfix"),
        ("outlook.contoso.com", "220 outlook.contoso.com ESMTP Exim 4.98"),
    ],
)
def test_another_server_with_a_password_is_no_matter(host: str, greeting: str) -> None:
    seen = record("2026-11-27", host, smtp_greeting=Greeted(lines=[greeting]), smtp_auth=LoggedOn(mechanism="LOGIN"))
    assert not said(seen)


def test_old_tls_at_exchange_online() -> None:
    greeting = "* OK The Microsoft Exchange IMAP4 service is ready. [outlook.office365.com]"
    seen = Secured(version="TLSv1.1", cipher="ECDHE-RSA-AES256-SHA", sni="imap-legacy.office365.com", greeting=greeting)
    found = one(record("2026-11-27", "smtp.office365.com", imap_tls=seen), "sunset.tls-version")
    assert (found.severity, found.stage) == ("warning", "imap.tls")
    elsewhere = replace(seen, sni="mail.contoso.com", greeting="* OK Dovecot ready.")
    assert not said(record("2026-11-27", imap_tls=elsewhere))


# -- certificates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "begins", "days", "issuer", "expected"),
    [
        ("2026-11-27", "2026-11-01", 199, "", "info 2027-03-15"),
        # In the last 90 days a remark still, while it is younger than any will be …
        ("2027-01-15", "2026-12-20", 199, "", "info 2027-03-15"),
        # … and a warning where its renewal comes later than it then can.
        ("2027-01-15", "2026-09-01", 199, "", "warning 2027-03-15"),
        ("2026-09-01", "2026-04-01", 199, "", "info 2027-03-15"),
        ("2027-06-01", "2027-02-01", 199, "", "info 2027-03-15"),
        # Let's Encrypt as certbot renews it, and with a timer of 80 days.
        ("2026-11-27", "2026-09-28", 90, LETS_ENCRYPT, "info 2027-02-10"),
        ("2026-11-27", "2026-09-15", 90, LETS_ENCRYPT, "warning 2027-02-10"),
        ("2026-08-27", "2026-06-15", 90, LETS_ENCRYPT, "info 2027-02-10"),
        ("2026-11-27", "2026-11-20", 45, LETS_ENCRYPT, None),
        ("2027-06-01", "2027-05-01", 64, LETS_ENCRYPT, "info 2028-02-16"),
        # Another public CA's 90 days: the next date is too far away to speak of.
        ("2026-11-27", "2026-09-15", 90, "", None),
    ],
)
def test_the_lifetime_of_a_public_certificate(on: str, begins: str, days: int, issuer: str, expected: str | None) -> None:
    seen = certificate(on, begins=begins, days=days, **({"issuer": issuer} if issuer else {}))
    found = said(record(on, smtp_certificate=seen))
    assert [f"{item.severity} {ends[0]}" for item in found if (ends := re.findall(r"\d{4}-\d\d-\d\d", item.summary))] == (
        [expected] if expected else []
    )
    assert all(item.id == "sunset.certificate-lifetime" for item in found)


def test_a_private_ca_may_do_as_it_likes() -> None:
    seen = certificate("2027-01-15", begins="2024-01-01", days=3650, usage=["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"], scts=0)
    assert not said(record("2027-01-15", smtp_certificate=seen))


def test_one_certificate_at_three_ports_is_one_finding() -> None:
    seen = certificate("2026-11-27", begins="2026-11-01", days=199)
    found = one(
        record("2026-11-27", smtp_certificate=seen, imap_certificate=seen, pop3_certificate=seen), "sunset.certificate-lifetime"
    )
    assert found.stage == "smtp.certificate" and all(
        f"{leg}.certificate: valid for 199" in found.evidence for leg in ("smtp", "imap", "pop3")
    )


def test_client_authentication_is_a_remark_only() -> None:
    seen = certificate("2027-01-15", begins="2026-12-20", days=90, usage=["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"])
    found = one(record("2027-01-15", smtp_certificate=seen), "sunset.client-authentication")
    assert found.severity == "info" and "2027-03-15" in found.summary


@pytest.mark.parametrize(
    ("root", "on", "expected"),
    [
        (R3, "2026-11-27", "info ends on 2027-04-15"),
        (R3, "2027-02-01", "warning ends on 2027-04-15"),
        (R3, "2027-05-01", "info has ended on 2027-04-15"),
        # Go Daddy G2: the rule names no root, so it stays a remark.
        ("45140B3247EB9CC8C5B4F0D7B53091F73292089E6E5A63E2749DD3ACA9198EDA", "2027-02-01", "info ends on 2027-04-15"),
        ("E793C9B02FD8AA13E21C31228ACCB08119643B749C898964B1746D46C3D4CBD2", "2026-11-27", None),
        ("4348A0E9444C78CB265E058D5E8944B4D84F9662BD26DB257F8934A443C70161", "2026-11-27", "info has ended on 2026-04-15"),
    ],
)
def test_roots_that_are_retired(root: str, on: str, expected: str | None) -> None:
    seen = certificate(on, begins=on, days=40, root=root)
    found = [item for item in said(record(on, smtp_certificate=seen)) if item.id == "sunset.root"]
    assert [f"{item.severity} {item.summary}".startswith(expected or "") for item in found] == ([True] if expected else [])


# -- Exchange servers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        ("15.1.2507.39", "2026-10-31"),
        ("15.2.1748.10", "2026-10-31"),
        ("15.0.1497.48", "2023-04-11"),
        ("15.2.2562.17", None),
        ("15.20.9000.4", None),
    ],
)
def test_the_build_that_a_received_field_gives(build: str, expected: str | None) -> None:
    hop = HopSeen(by="EX01.contoso.com", at=None, seconds=None, exchange=build)
    found = said(record("2026-11-27", imap_verify=Verified(ours=True, hops=[hop])))
    assert [item.summary.startswith(f"has ended on {expected}") for item in found] == ([True] if expected else [])
    assert all((item.severity, item.stage) == ("info", "imap.verify") and build in item.evidence for item in found)


# -- never a false one --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in (Path(__file__).parent / "records").glob("*.json")))
@pytest.mark.parametrize("on", ["2026-11-27", "2027-03-01", "2029-03-01"])
def test_no_run_of_the_sandbox_relies_on_what_ends(name: str, on: str) -> None:
    data = json.loads((Path(__file__).parent / "records" / f"{name}.json").read_text(encoding="ascii"))
    seen = replace(record_from_json(data["record"]), started=f"{on}T00:00:00Z")
    assert not [finding for finding in judge(seen, load_mapping(data["profile"], plugins=plugins())) if finding.severity != "info"]


def test_a_run_without_a_readable_start_says_nothing() -> None:
    assert not said(replace(online("2026-11-27"), started="whenever"))


def test_the_finding_keeps_its_words_among_the_others() -> None:
    (found,) = [item for item in findings(online("2026-11-27"), PROFILE) if item.id.startswith("sunset.")]
    assert found.cause.startswith("It concerns Exchange Online") and found.remedy[-1].startswith(
        "More: probe explain sunset; https://"
    )
