"""The certificates of many servers: one entry each, what ends next first, which port was forgotten, and every output of it."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import icalendar
import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from probe.cli import entry
from probe.judge._fleet import fleet
from probe.judge.certificate_ports import forgotten
from probe.output import _certificates
from probe.output._calendar import calendar
from probe.output._certificates_page import page
from probe.profile import load_mapping
from probe.report import Finding
from probe.report.changes import Renewal
from probe.report.drift import Leaf, Service, Span
from probe.report.fleet import Fleet, NotSeen, Sighting, fleet_to_json
from probe.runs.share.fleet import shared_fleet
from probe.state import history
from probe.tasks import certificates as task
from probe.tasks.plan import plugins
from tests.output.runs import saved

NOW = "2026-11-27T12:00:00.000000Z"
OLD = Leaf(
    "AA" * 20, "aa" * 32, "CN=mail.contoso.com", "CN=R11, O=Let's Encrypt", "03A1", "2026-09-08T00:00:00Z", "2026-12-07T00:00:00Z"
)
NEW = replace(
    OLD, sha1="BB" * 20, sha256="bb" * 32, serial="03A2", not_before="2026-11-20T00:00:00Z", not_after="2027-02-18T00:00:00Z"
)
FOREVER = replace(NEW, sha1="CC" * 20, sha256="cc" * 32, subject="CN=printer", not_after="9999-12-31T23:59:59Z")
UNREAD = Leaf("DD" * 20, subject="", not_after="31 Feb 20261")


def port(protocol: str, leaf: Leaf, machine: str = "10.0.0.1", software: str = "", earlier: tuple[str, ...] = ()) -> Sighting:
    number = {"smtp": 587, "imap": 993, "pop3": 995}[protocol]
    return Sighting(
        ("contoso",), protocol, "mail.contoso.com", number, f"{machine}:{number}", None, software, NOW, leaf, earlier, 18.0, 7.0
    )  # fmt: skip


def made(*sightings: Sighting, not_seen: tuple[NotSeen, ...] = (), renewals: tuple[Renewal, ...] = ()) -> Fleet:
    return fleet("look", sightings, not_seen, [], renewals, started=NOW, seconds=1.0, interrupted=False)


def test_each_certificate_once_what_ends_next_first() -> None:
    found = made(
        port("smtp", FOREVER), port("imap", NEW), port("pop3", NEW), port("imap", OLD, "10.0.0.9"), port("smtp", UNREAD, "10.0.0.7")
    )
    assert [one.sha1[:2] for one in found.certificates] == ["DD", "AA", "BB", "CC"]
    assert [len(one.ports) for one in found.certificates] == [1, 1, 2, 1]
    ends = found.certificates[1]
    assert (ends.days_left, ends.share_left, ends.name) == (9.5, round(9.5 / 90, 4), "mail.contoso.com")
    assert found.certificates[0].days_left is None


def test_profiles_of_one_port_are_one_port() -> None:
    found = made(port("smtp", NEW), replace(port("smtp", NEW), profiles=("other",), warning=21.0))
    (one,) = found.certificates
    assert [shown.profiles for shown in one.ports] == [("contoso", "other")] and one.warning_days == 21.0


def test_the_port_that_was_forgotten_is_found_and_its_service_named() -> None:
    dovecot = "Dovecot (Debian) ready"
    found = made(
        port("smtp", NEW, software="ESMTP Postfix"), port("imap", OLD, software=dovecot), port("pop3", OLD, software=dovecot)
    )
    (finding,) = found.findings
    assert (finding.id, finding.severity, found.verdict, found.exit_code) == ("certificate.not-reloaded", "warning", "warning", 1)
    assert finding.places == ("imap mail.contoso.com:993", "pop3 mail.contoso.com:995") and finding.summary.endswith(
        "; reload Dovecot"
    )
    assert finding.remedy[0].startswith("Dovecot: doveadm reload") and "Exchange" not in " ".join(finding.remedy)
    assert [shown.renewed_as for shown in found.certificates[0].ports] == [NEW.sha1] * 2
    assert "OLD at imap mail.contoso.com:993" in _certificates.text(found)


@pytest.mark.parametrize(
    ("earlier", "other", "count"),
    [
        ((), "10.0.0.2", 0),  # two machines that renew each by itself
        ((OLD.sha1,), "10.0.0.2", 1),  # they had the same certificate before
        ((), "10.0.0.1", 1),
    ],
)
def test_another_machine_is_forgotten_only_where_both_had_the_old_one(earlier: tuple[str, ...], other: str, count: int) -> None:
    assert len(forgotten([port("smtp", NEW, earlier=earlier), port("imap", OLD, other)])) == count


def test_certificates_for_other_names_are_no_renewal() -> None:
    assert forgotten([port("smtp", NEW), port("imap", replace(OLD, subject="CN=webmail"))]) == {}
    nameless = [replace(leaf, subject="", names=(name,)) for leaf, name in ((NEW, "a"), (OLD, "b"))]
    assert forgotten([port("smtp", nameless[0]), port("imap", nameless[1])]) == {}
    alike = [replace(leaf, names=("a",)) for leaf in nameless]
    assert len(forgotten([port("smtp", alike[0]), port("imap", alike[1])])) == 1


def test_what_could_not_be_seen_counts_and_what_is_not_to_be_does_not() -> None:
    plain = NotSeen("smtp", "h", 25, None, ("p",), None, "the profile says plaintext")
    dead = replace(plain, finding="connect.refused", text="refused")
    assert made(not_seen=(plain,)).verdict == "unknown"
    assert made(port("smtp", NEW), not_seen=(plain,)).verdict == "ok"
    assert made(port("smtp", NEW), not_seen=(dead,)).verdict == "critical"
    assert made(port("smtp", NEW), not_seen=(replace(dead, finding="probe.no-descriptors"),)).verdict == "unknown"
    ended = fleet("look", [port("smtp", NEW)], [], [], [], started=NOW, seconds=1.0, interrupted=True)
    assert (ended.verdict, ended.exit_code) == ("unknown", 130)


def test_a_finding_of_one_certificate_at_many_ports_is_one() -> None:
    soon = Finding("certificate.expires-soon", "critical", "smtp.certificate", "ends soon")
    ports = [replace(port("smtp", OLD), host=f"h{n}", address=f"10.0.{n}.1:587") for n in range(200)]
    found = fleet(
        "look", ports, [], [(soon, one.label, OLD.sha1) for one in ports], [], started=NOW, seconds=1.0, interrupted=False
    )
    (finding,) = found.findings
    assert len(finding.places) == 200 and found.certificates[0].status == "critical"
    assert len(_certificates.text(found).splitlines()) < 20


EVIL = replace(
    OLD, sha1="EE" * 20, sha256="ee" * 32, subject='CN=<script>alert(1)</script>"\n\x1b[31m', issuer="=cmd|' /C calc'!A0",
    names=("\u202eevil",),
)  # fmt: skip
RENEWED = Renewal(NOW, "contoso", "smtp", "mail.contoso.com", "10.0.0.1:587", OLD.sha1, NEW.sha1, OLD.not_after, NEW.not_after)
WHOLE = made(
    port("smtp", NEW), port("imap", OLD, software="Dovecot ready"), port("pop3", EVIL, "10.0.0.3"),
    port("smtp", FOREVER, "10.0.0.4"), port("smtp", UNREAD, "10.0.0.5"),
    not_seen=(NotSeen("pop3", "gone", 995, None, ("p",), "connect.refused", "refused\x1b[0m"),), renewals=(RENEWED,),
)  # fmt: skip


def test_text_shows_no_character_that_a_terminal_acts_on() -> None:
    shown = _certificates.text(WHOLE)
    assert "\x1b" not in shown and "\u202e" not in shown and "9999-12-31" in shown
    assert "2026-11-27 12:00  smtp  mail.contoso.com (10.0.0.1:587)  AAAAAAAAAAAA… → BBBBBBBBBBBB…, until 2027-02-18" in shown


def test_what_is_shared_names_nobody_and_keeps_the_dates() -> None:
    secret = replace(NEW, subject="CN=mail.fabrikam-zyxwvut.com, O=Fabrikam Zyxwvut Ltd", names=("mail.fabrikam-zyxwvut.com",))
    sightings = [
        replace(port("smtp", secret), host="mail.fabrikam-zyxwvut.com", node="EX01.fabrikam-zyxwvut.com", profiles=("fabrikam",)),
        replace(port("imap", replace(secret, sha1=OLD.sha1, not_before=OLD.not_before)), host="mail.fabrikam-zyxwvut.com"),
    ]  # fmt: skip
    renewal = replace(RENEWED, host="mail.fabrikam-zyxwvut.com", profile="fabrikam")
    missing = NotSeen(
        "pop3", "mail.fabrikam-zyxwvut.com", 995, None, ("fabrikam",), "connect.refused", "connect to 10.0.0.77 port 995"
    )
    shown = shared_fleet(made(*sightings, not_seen=(missing,), renewals=(renewal,)))
    told = json.dumps(fleet_to_json(shown)).lower()
    assert not [word for word in ("fabrikam", "zyxwvut", "10.0.0.", "ex01", NEW.sha1, OLD.sha1, "03a2") if word.lower() in told], (
        told
    )
    (finding,) = shown.findings
    assert shown.certificates[0].ports[0].host in finding.summary and NEW.not_after in told.upper()
    assert shown.certificates[0].ports[0].renewed_as == shown.certificates[1].sha1 or shown.certificates[1].ports[0].renewed_as


def test_csv_is_a_table_and_no_formula() -> None:
    head, *rows = csv.reader(io.StringIO(_certificates.table(WHOLE)))
    assert head[0] == "name" and len(rows) == WHOLE.ports and {len(row) for row in rows} == {len(head)}
    assert not any(cell[:1] in "=+-@" for row in rows for cell in row if cell and not cell.lstrip("-").replace(".", "").isdigit())


def test_metrics_are_one_series_a_certificate() -> None:
    families = {family.name: family.samples for family in text_string_to_metric_families(_certificates.metrics(WHOLE))}
    ends = families["submission_probe_certificates_not_after_timestamp_seconds"]
    assert {sample.labels["sha1"]: sample.value for sample in ends}[NEW.sha1] == 1802908800
    assert len(ends) == len(WHOLE.certificates) - 1  # one has no end that can be read
    (missing,) = families["submission_probe_certificates_ports_not_seen"]
    assert missing.value == 1
    old = {sample.labels["sha1"]: sample.value for sample in families["submission_probe_certificates_ports_not_reloaded"]}
    assert old[OLD.sha1] == 1


def test_an_exporter_s_series_are_not_doubled_by_profiles() -> None:
    (report,) = saved("ok").reports
    told = _certificates.series([report, replace(report, profile="other")])
    families = {family.name: family.samples for family in text_string_to_metric_families(told)}
    (ends,) = families["submission_probe_certificates_not_after_timestamp_seconds"]
    (ports,) = families["submission_probe_certificates_ports"]
    assert ends.labels["sha1"] == ports.labels["sha1"] and ports.value == 3


def test_json_is_as_its_schema_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry(["schema", "certificates"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(json.dumps(fleet_to_json(WHOLE))), schema)
    assert entry(["schema", "changes"]) == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))
    assert entry(["schema", "nothing"]) == 3


def test_the_page_is_escaped_and_loads_nothing() -> None:
    shown = page(WHOLE)
    assert "<script" not in shown and "&lt;script&gt;" in shown and "\x1b" not in shown
    assert "default-src &#39;none&#39;" in shown and not any(word in shown for word in (" src=", " href=", "url(http", "@import"))


def test_a_calendar_has_an_event_a_certificate_with_alarms() -> None:
    told = calendar(WHOLE)
    assert told == calendar(WHOLE) and all(len(line.encode()) <= 75 for line in told.split("\r\n"))
    events = icalendar.Calendar.from_ical(told).walk("VEVENT")
    by_uid = {str(event["UID"]).partition("@")[0]: event for event in events}
    assert set(by_uid) == {leaf.sha256 for leaf in (OLD, NEW, FOREVER, EVIL)}
    event = by_uid[NEW.sha256]
    assert event.decoded("DTSTART") == datetime(2027, 2, 18, tzinfo=UTC)
    assert [alarm.decoded("TRIGGER") for alarm in event.walk("VALARM")] == [timedelta(days=-18), timedelta(days=-7)]
    assert by_uid[FOREVER.sha256].decoded("DTSTART").year == 9999
    assert "Still the old one at imap mail.contoso.com:993" in str(by_uid[OLD.sha256]["DESCRIPTION"])


def _service(leg: str, sha1: str, last: str) -> Service:
    leaf = {OLD.sha1: OLD, NEW.sha1: NEW}[sha1]
    span = Span({sha1: last}, "2026-09-10T00:00:00Z", last, 9, last)
    return Service("contoso", leg, "mail.contoso.com", "10.0.0.1:1", {"certificate": (span,), "software": ()}, {sha1: leaf})


def test_from_history_knows_what_the_latest_runs_saw_and_leaves_out_what_is_no_more() -> None:
    default = load_mapping({"submission": {"host": "h"}, "message": {"sender": "a@b", "recipient": "a@b"}}, plugins=plugins())
    services = [
        _service("smtp", NEW.sha1, NOW),
        _service("imap", OLD.sha1, NOW),
        _service("pop3", OLD.sha1, "2026-10-01T00:00:00Z"),
    ]
    now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    found = task.remembered(services, {}, default, now)
    assert (found.source, [len(one.ports) for one in found.certificates]) == ("history", [1, 1])
    assert {finding.id for finding in found.findings} == {"certificate.not-reloaded", "certificate.expires-soon"}
    later = task.remembered(services, {}, default, now + timedelta(days=20))
    assert (later.verdict, later.certificates[0].days_left) == ("critical", pytest.approx(-10.5))
    assert task.remembered([], {}, default, now).exit_code == 3


def test_the_command_from_a_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.sqlite"
    assert entry(["certificates", "--from-history", "--history", str(file)]) == 3
    assert "no history yet" in capsys.readouterr().err
    (report,) = saved("ok").reports
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert history.add(file, [replace(report, started=now)]) is None
    entry(["certificates", "--from-history", "--history", str(file), "-o", "json", "--report", f"csv={tmp_path / 'x.csv'}"])
    found = json.loads(capsys.readouterr().out)
    assert [len(one["ports"]) for one in found["certificates"]] == [3] and found["source"] == "history"
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 4
    assert entry(["certificates", "--from-history", "--history", str(file), "-o", "nagios"]) == 3
    assert entry(["certificates", "--from-history", "--history", str(file), "--report", "csv"]) == 3
    assert entry(["certificates"]) == 3
