"""`probe explain`: every finding there is, by id; a reply by its words; a slip answered by what is near."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from probe.cli import entry
from probe.cli._calendar import lines
from probe.cli.explain import explain
from probe.judge import kinds
from probe.judge._calendar import rows
from probe.judge._replies import entries
from probe.observe.audit import checks
from probe.profile import load_mapping


@pytest.fixture
def explained(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def run(*words: str) -> tuple[int, str, str]:
        code = entry(["explain", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_every_finding_is_listed_and_explained(explained, capsys) -> None:  # type: ignore[no-untyped-def]
    code, listed, _ = explained()
    names = [line.split()[0] for line in listed.splitlines()]
    assert code == 0
    assert set(names) == {*kinds(), *checks(), *(f"reply.{item.id}" for item in entries())}
    for name in names:
        # The command itself: its line is read in the tests below, and some hundred times here would take most of a minute.
        code, text = explain([name]), capsys.readouterr().out
        assert code == 0 and text.startswith(f"{name}: ") and "likely: " in text and "do:" in text


def test_a_slip_is_answered_by_the_nearest_ids_and_exit_3(explained) -> None:  # type: ignore[no-untyped-def]
    code, out, err = explained("certificate.name-mismach")
    assert (code, out) == (3, "")
    assert "the nearest: certificate.name-mismatch" in err
    code, _, err = explained("qqqqqqqq\x1b[2J")
    assert code == 3 and "\x1b" not in err


def test_a_reply_is_explained_by_its_words(explained) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = explained("550 5.7.60 SMTP; Client does not have permissions to send as this sender")
    assert code == 0 and out.startswith("reply.exchange-send-as:") and "message.sender" in out
    code, out, _ = explained("--", "-ERR Logon failure: unknown user name or bad password.")
    assert code == 0 and out.startswith("reply.exchange-pop3-logon-failure:")


@pytest.mark.parametrize("beginning", ["certificate", "certificate.", "certificate.ex", "auth", "reply.exchange", "exchange"])
def test_a_beginning_lists_every_id_that_begins_so(explained, beginning: str) -> None:  # type: ignore[no-untyped-def]
    everything = [line.split()[0] for line in explained()[1].splitlines()]
    code, out, _ = explained(beginning)
    listed = [line.split()[0] for line in out.splitlines()]
    wanted = f"reply.{beginning}" if beginning == "exchange" else beginning
    assert code == 0 and len(listed) > 1 and listed == [name for name in everything if name.startswith(wanted)]


def test_a_beginning_that_only_one_has_is_explained(explained) -> None:  # type: ignore[no-untyped-def]
    assert explained("certificate.name-mi")[1] == explained("certificate.name-mismatch")[1] != ""


def test_several_ids_are_explained_one_after_the_other(explained) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = explained("auth.refused", "certificate.expired")
    assert code == 0 and out == explained("auth.refused")[1] + "\n" + explained("certificate.expired")[1]


def test_the_id_of_a_reply_needs_no_reply_before_it(explained) -> None:  # type: ignore[no-untyped-def]
    assert explained("exchange-send-as") == explained("reply.exchange-send-as")
    assert explained("exchange-send-as")[1].startswith("reply.exchange-send-as: ")


@pytest.mark.parametrize("words", [("12014",), ("event", "12014"), ("EventID", "12014"), ("event id 12014",)])
def test_an_events_number_finds_what_speaks_of_it(explained, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = explained(*words)
    assert code == 0 and "starttls.not-offered" in out and "certificate" not in out
    assert "starttls.refused" in explained("12016")[1]  # it names 12014-12018
    assert explained("event", "99999")[0] == 3


def test_a_code_alone_lists_the_replies_that_are_known_by_it(explained) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = explained("5.7.139")
    with_it = [f"reply.{item.id}" for item in entries() if "5.7.139" in item.code]
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == with_it


def test_as_json(explained) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = explained("auth.refused", "-o", "json")
    (row,) = json.loads(out)["findings"]
    assert code == 0 and row["id"] == "auth.refused" and row["remedy"]
    assert explained("-o", "yaml")[0] == 3


def test_the_ids_named_in_the_contract_of_findings_are_explained() -> None:
    """What a finding's `More:` line points at exists."""
    for item in entries():
        (name,) = re.findall(r"probe explain (reply\.[a-z0-9-]+);", item.remedy[-1])
        assert name == f"reply.{item.id}"


@pytest.mark.parametrize(
    ("port", "security", "expected"),
    [(993, "starttls", "tls"), (995, "plaintext", "tls"), (143, "tls", "starttls"), (993, "tls", None), (1993, "starttls", None)],
)
def test_port_and_security_that_disagree(port: int, security: str, expected: str | None) -> None:
    from probe.judge.ports import judge
    from probe.record import Record, Target
    from probe.tasks.plan import plugins

    tables = {
        "submission": {"host": "mail.contoso.com"},
        "message": {"sender": "a@b.test", "recipient": "a@b.test"},
        "readback": {"imap": {"port": port, "security": security}},
    }
    profile = load_mapping(tables, plugins=plugins(), base=Path())
    record = Record("0" * 16, "p", Target("mail.contoso.com", 587, "starttls"), "2026-11-24T00:00:00Z", 1.0, ())
    found = list(judge(record, profile))
    assert [(item.stage, item.severity) for item in found] == ([("imap.connect", "warning")] if expected else [])
    assert all(f'security = "{expected}"' in item.summary for item in found)


def test_whoever_sits_at_windows_has_the_commands_too() -> None:
    """`nc`, `dig` and `resolvectl` are not there: the same line names what is."""
    counterpart = {"nc -vz": "Test-NetConnection", "dig ": "Resolve-DnsName", "resolvectl": "Resolve-DnsName"}
    for name, kind in kinds().items():
        for step in kind.remedy:
            for command, windows in counterpart.items():
                assert command not in step or windows in step, f"{name}: {step}"
    assert "-urlfetch" in " ".join(kinds()["certificate.unknown-issuer"].remedy)


def test_the_calendar_has_every_row_with_its_source_and_the_day_it_was_checked(explained) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = explained("sunset")
    assert code == 0 and out.count("\n  source:   https://") == len(rows())
    for row in rows():
        assert re.search(rf"^{row.date}( \(in \d+ days\))?  {re.escape(row.ends)}$", out, re.MULTILINE), row.id
        assert f"{row.source} (checked {row.checked})" in out or f"{row.source} (could not be read on {row.checked})" in out
    code, listed, _ = explained("sunset", "-o", "json")
    told = json.loads(listed)
    assert told["schema"] == "submission-probe/sunset/1" and [row["id"] for row in told["rows"]] == [row.id for row in rows()]
    assert all(row["source"].startswith("https://") and row["checked"] and row["date"] for row in told["rows"])


def test_what_is_to_come_stands_before_what_is_over() -> None:
    text = list(lines(date(2027, 1, 1)))
    dates = [date.fromisoformat(line[:10]) for line in text if re.match(r"\d{4}-\d\d-\d\d", line)]
    coming, over = [day for day in dates if day >= date(2027, 1, 1)], [day for day in dates if day < date(2027, 1, 1)]
    assert dates == [*coming, *over] and coming == sorted(coming) and over == sorted(over, reverse=True)
    assert text.index("To come:") < text.index("Over:")
