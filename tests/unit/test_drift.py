"""What servers showed over time: each change once, values in turn as one entry, nothing lost by runs that failed, bounded."""

import json
import random
import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from probe.cli import entry
from probe.output._drift import lines
from probe.report.as_json import report_to_json
from probe.report.changes import Change, changes, renewals
from probe.report.drift import MOST_SPANS, MOST_VALUES, Leaf, Service, Shown, from_json, noted, software_of, to_json
from probe.state import history, shown
from probe.version import __version__
from tests.output.runs import saved

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def at(**since: float) -> str:
    return (BEGAN + timedelta(**since)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seen(when: str, node: str = "10.0.0.1:587", **values: str) -> Shown:
    return Shown("contoso", "smtp", "mail.contoso.com", node, when, values)


def after(sights: Iterable[Shown]) -> list[Service]:
    services: dict[str, Service] = {}
    for sight in sights:
        services[sight.node] = noted(services.get(sight.node) or Service("contoso", "smtp", "mail.contoso.com", sight.node), sight)
    return list(services.values())


def listed(services: list[Service]) -> list[str]:
    nodes = {("contoso", "smtp", "mail.contoso.com")} if len(services) > 1 else set()
    return list(lines(changes(services), profiles=False, several=nodes))


def test_a_change_is_one_line_with_its_time_and_a_downgrade_is_marked() -> None:
    days = [seen(at(days=day, hours=10, minutes=15), tls="TLSv1.3" if day < 62 else "TLSv1.2") for day in range(365)]
    assert listed(after(days)) == ["2026-03-04 10:15  smtp  TLS 1.3 → 1.2  DOWNGRADE"]


@pytest.mark.parametrize(
    ("key", "before", "then", "line", "worse"),
    [
        ("tls", "TLSv1.2", "TLSv1.3", "TLS 1.2 → 1.3", False),
        ("tls", "TLSv1", "SSLv3", "TLS 1 → SSLv3", True),
        ("group", "X25519MLKEM768", "x25519", "key exchange X25519MLKEM768 → x25519", True),
        ("group", "x25519", "X25519MLKEM768", "key exchange x25519 → X25519MLKEM768", False),
        ("mechanisms", "PLAIN\nSCRAM-SHA-256", "LOGIN\nPLAIN", "mechanisms -SCRAM-SHA-256, +LOGIN", True),
        ("mechanisms", "LOGIN\nPLAIN", "PLAIN", "mechanisms -LOGIN", False),
        ("mechanisms", "PLAIN", "", "mechanisms -PLAIN", False),
        ("dkim", "contoso.com", "", "DKIM stopped: contoso.com signed before", True),
        ("dkim", "", "contoso.com", "DKIM none → contoso.com", False),
        ("dkim", "contoso.com", "contoso.com\nfabrikam.com", "DKIM contoso.com → contoso.com, fabrikam.com", False),
        ("cipher", "ECDHE-RSA-AES256-GCM-SHA384", "AES256-SHA", "cipher ECDHE-RSA-AES256-GCM-SHA384 → AES256-SHA", True),
        ("cipher", "ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256", None, False),
        ("ehlo", "SIZE 100\nCHUNKING", "SIZE 200\nCHUNKING", "EHLO -SIZE 100, +SIZE 200", False),
        ("software", "ESMTP Postfix", "ESMTP Exim 4.96", "software ESMTP Postfix → ESMTP Exim 4.96", False),
    ],
)
def test_what_each_change_is_called(key: str, before: str, then: str, line: str | None, worse: bool) -> None:
    found = after([seen(at(hours=0), **{key: before}), seen(at(hours=1), **{key: then})])
    (change,) = changes(found)
    assert change.downgrade == worse
    expected = line or f"cipher {before} → {then}"
    assert listed(found) == [f"2026-01-01 01:00  smtp  {expected}{'  DOWNGRADE' if worse else ''}"]


def test_failed_runs_erase_nothing_and_the_time_they_hide_is_said() -> None:
    """Two weeks in which nothing answered: no line for them, and the change after them says since when it may be."""
    before = [seen(at(days=day), tls="TLSv1.3", software="ESMTP Postfix") for day in range(10)]
    half = [seen(at(days=day), software="ESMTP Postfix") for day in range(10, 12)]  # reached, and the handshake failed
    then = [seen(at(days=day), tls="TLSv1.2", software="ESMTP Postfix") for day in range(24, 30)]
    assert listed(after([*before, *half, *then])) == [
        "2026-01-25 00:00  smtp  TLS 1.3 → 1.2  DOWNGRADE  (the run before: 2026-01-10 00:00)"
    ]
    again = [seen(at(days=day), tls="TLSv1.3", software="ESMTP Postfix") for day in range(24, 30)]
    assert listed(after([*before, *half, *again])) == []


def test_two_nodes_behind_one_address_alternate_in_one_line_and_it_is_said_when_they_no_longer_do() -> None:
    chance = random.Random(7)
    runs = [seen(at(minutes=5 * n), tls="TLSv1.3") for n in range(500)]
    runs += [seen(at(minutes=5 * n), tls=chance.choice(["TLSv1.3", "TLSv1.2"])) for n in range(500, 9000)]
    runs += [seen(at(minutes=5 * n), tls="TLSv1.3") for n in range(9000, 11000)]
    (service,) = after(runs)
    assert len(service.spans["tls"]) == 3
    found = listed([service])
    assert len(found) == 2
    assert found[0].startswith("2026-01-02 ") and found[0].endswith("smtp  TLS alternates between 1.2 and 1.3  DOWNGRADE")
    assert found[1].startswith("2026-02-01 ") and found[1].endswith("smtp  TLS 1.3, alternates no longer")


def test_a_change_that_was_undone_and_made_again_is_three_changes() -> None:
    runs = [seen(at(days=day), tls=f"TLSv1.{version}") for day, version in enumerate("3333232222")]
    assert [line[18:] for line in listed(after(runs))] == [
        "smtp  TLS 1.3 → 1.2  DOWNGRADE", "smtp  TLS 1.2 → 1.3", "smtp  TLS 1.3 → 1.2  DOWNGRADE",
    ]  # fmt: skip


def test_many_values_in_turn_stay_bounded() -> None:
    chance = random.Random(11)
    runs = [seen(at(minutes=5 * n), software=f"ESMTP node{chance.randrange(50)}") for n in range(3000)]
    (service,) = after(runs)
    assert all(
        len(spans) <= MOST_SPANS and all(len(span.values) <= MOST_VALUES for span in spans) for spans in service.spans.values()
    )
    assert len(listed([service])) < MOST_SPANS and len(json.dumps(to_json(service))) < 60_000


def test_two_addresses_with_two_certificates_change_nothing_and_each_is_followed_by_itself() -> None:
    pool = {"10.0.0.1:587": "AA", "10.0.0.2:587": "BB"}
    runs = [seen(at(hours=n), list(pool)[n % 2], certificate=pool[list(pool)[n % 2]]) for n in range(500)]
    runs += [seen(at(hours=n), "10.0.0.2:587", certificate="CC") for n in range(500, 520)]
    assert [line[18:] for line in listed(after(runs))] == [
        "smtp  address 10.0.0.2:587 too, beside 10.0.0.1:587",
        "smtp  certificate AA → BB (10.0.0.2:587)",
        "smtp  certificate BB → CC (10.0.0.2:587)",
    ]


def test_a_move_to_another_machine_shows_what_is_other_there() -> None:
    runs = [seen(at(days=n), tls="TLSv1.3", software="ESMTP Postfix") for n in range(10)]
    runs += [seen(at(days=n), "10.0.0.9:587", tls="TLSv1.2", software="ESMTP Postfix") for n in range(10, 20)]
    assert [line[18:] for line in listed(after(runs))] == [
        "smtp  address 10.0.0.1:587 → 10.0.0.9:587",
        "smtp  TLS 1.3 → 1.2 (10.0.0.9:587)  DOWNGRADE",
    ]


def test_what_renewed_when() -> None:
    def leaf(sha1: str, ends: str) -> Leaf:
        return Leaf(sha1, not_after=ends)

    runs = [seen(at(days=n), certificate="AA") for n in range(0)]
    runs = [
        Shown("contoso", "smtp", "mail.contoso.com", "n", at(days=n), {"certificate": "AA"}, leaf("AA", "e1")) for n in range(3)
    ]
    runs += [Shown("contoso", "smtp", "mail.contoso.com", "n", at(days=3), {"certificate": "BB"}, leaf("BB", "e2"))]
    (renewal,) = renewals(after(runs))
    assert (renewal.at, renewal.before, renewal.after, renewal.before_not_after, renewal.not_after) == (
        at(days=3),
        "AA",
        "BB",
        "e1",
        "e2",
    )


def test_it_goes_through_json() -> None:
    runs = [seen(at(minutes=n), tls=f"TLSv1.{n % 2 + 2}", ehlo="A\nB") for n in range(30)]
    (service,) = after(runs)
    assert from_json("contoso", "smtp", "mail.contoso.com", service.node, json.loads(json.dumps(to_json(service)))) == service
    assert shown.read_row("contoso", "smtp", "h", "n", '{"spans": 3}') == Service("contoso", "smtp", "h", "n")


@pytest.mark.parametrize(
    ("greeting", "software"),
    [
        (
            "220 EX01.contoso.com Microsoft ESMTP MAIL Service ready at Fri, 27 Nov 2026 11:21:54 +0000",
            "Microsoft ESMTP MAIL Service",
        ),
        ("220 mail.contoso.com ESMTP Postfix (Debian/GNU)", "ESMTP Postfix (Debian/GNU)"),
        ("220 mx ESMTP Exim 4.96 Fri, 27 Nov 2026 11:21:54 +0000", "ESMTP Exim 4.96"),
        ("* OK [CAPABILITY IMAP4rev1 SASL-IR] Dovecot (Debian) ready.", "Dovecot (Debian) ready"),
        ("+OK Dovecot (Debian) ready. <18a.1.5bd0c1f2@mail>", "Dovecot (Debian) ready"),
        ("* OK The Microsoft Exchange IMAP4 service is ready. [RQBYADAAMQA=]", "The Microsoft Exchange IMAP4 service is ready"),
        ("220 smtp.example.com ESMTP a640c23a62f3a-abcdef.12 - gsmtp", "ESMTP - gsmtp"),
        ("+OK Gpop ready for requests from 192.0.2.1 a640c23a62f3amb123", "Gpop ready for requests from"),
        ("", ""),
    ],
)
def test_software_is_without_what_is_another_each_time(greeting: str, software: str) -> None:
    assert software_of(greeting) == software


def test_an_older_history_loads_and_what_its_runs_saw_is_read_from_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As version 1 wrote it: the table of runs alone."""
    file = tmp_path / "history.sqlite"
    (report,) = saved("ok").reports
    data = report_to_json(report)
    changed = json.loads(json.dumps(data).replace("TLSv1.3", "TLSv1.2"))
    rows = [({**data, "id": "1", "started": at(days=1)}), ({**changed, "id": "2", "started": at(days=2)})]
    with sqlite3.connect(file) as database:
        database.executescript(history._TABLE + "pragma user_version = 1;")
        for row in rows:
            packed = zlib.compress(json.dumps(row).encode())
            values = (row["id"], row["profile"], row["started"], "ok", None, 1.0, None, "h", None, packed)
            database.execute("insert into run values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    assert [row.id for row in history.rows(file)] == ["1", "2"]
    assert entry(["history", "--changes", "--history", str(file)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("  ", 2)[2].strip() for line in printed] == [
        f"{leg:<4}  TLS 1.3 → 1.2  DOWNGRADE" for leg in ("imap", "pop3", "smtp")
    ]
    # Read once: what the runs of a later version add is added to it.
    assert {one.last for one in history.services(file)} == {at(days=2)}


def test_what_is_known_outlives_the_runs(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    (report,) = saved("ok").reports
    for n in range(3):
        assert history.add(file, [replace(report, id=str(n), started=at(days=n - 700))]) is None
    assert history.add(file, [replace(report, id="now", started=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))]) is None
    services = history.services(file)
    assert {service.first for service in services} == {at(days=-700)} and {service.leg for service in services} == {
        "smtp",
        "imap",
        "pop3",
    }


def test_an_address_too_many_makes_the_one_seen_longest_ago_go(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    with history._opened(file) as database, database:
        for n in range(shown.MOST_NODES + 5):
            service = noted(Service("p", "smtp", "h", f"10.0.0.{n}:587"), seen(at(hours=n), tls="TLSv1.3"))
            database.execute(shown._PUT, shown.row(service))
            shown._forget(database, Shown("p", "smtp", "h", service.node, "", {}))
    kept = {service.node for service in history.services(file)}
    assert len(kept) == shown.MOST_NODES and "10.0.0.0:587" not in kept and f"10.0.0.{shown.MOST_NODES + 4}:587" in kept


def test_json_and_wrong_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.sqlite"
    assert history.add(file, saved("ok").reports) is None
    assert entry(["history", "--changes", "-o", "json", "--history", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "submission-probe/changes/1", "version": __version__, "left_out": 0, "changes": [],
    }  # fmt: skip
    assert entry(["history", "-o", "json", "--history", str(file)]) == 3
    assert "--changes" in capsys.readouterr().err


def test_a_hostile_server_s_words_are_data() -> None:
    (change,) = changes(after([seen(at(hours=0), ehlo="A"), seen(at(hours=1), ehlo="A\n\x1b[31mEVIL\u202e")]))
    assert isinstance(change, Change)
    (line,) = lines([change])
    assert "\x1b" not in line and "\u202e" not in line and "EVIL" in line
