"""Several nodes behind one name: what is advised is for the node that failed, and nothing is concluded from two machines."""

from dataclasses import replace
from typing import Any

import pytest

from probe.facts import Certified, Connected, from_json
from probe.judge import findings, nodes
from probe.judge.certificate_ports import judge as compare_ports
from probe.output import Context, output
from probe.profile import Profile, load_mapping
from probe.record import Record, StageRecord, Target, Trouble
from probe.report import Report
from probe.tasks.each_address import _following, compared
from probe.tasks.plan import make_plan, plugins
from tests.output.runs import saved

DEAD, ALIVE = "127.0.0.3:1", "127.0.0.1:34587"
REFUSED = Trouble("connect.refused", "connection refused: nothing listens there")


def profile(**submission: Any) -> Profile:
    readers = {"imap": {"port": 993, "security": "tls"}}
    data = {
        "submission": {"host": "mail.contoso.com", "port": 34587, **submission},
        "account": {"username": "probe@contoso.com", "password": {"env": "X"}},
        "readback": readers,
    }
    return load_mapping(data, plugins=plugins())


def record(address: str, *stages: StageRecord) -> Record:
    target = Target("mail.contoso.com", 34587, "starttls", address=address, node="mail.contoso.com")
    return Record("0" * 16, "p", target, "2026-11-27T00:00:00Z", 1.0, stages)


def connect(address: str, trouble: Trouble | None = None) -> StageRecord:
    attempt = {"address": address, "seconds": 0.1, "error": trouble and trouble.text}
    facts = from_json("smtp.connect", {"remote": None if trouble else address, "attempts": [attempt]})
    return StageRecord("smtp.connect", "failed" if trouble else "ok", facts=facts, trouble=trouble)


def refused_certificate(address: str) -> Record:
    trouble = Trouble("certificate.not-accepted", "certificate not accepted")
    made = next(report for report in saved("failed-smtp-certificate").reports).seen("smtp.certificate", Certified)
    seen = replace(made, name_matches=False, openssl_code=20, trusted=False)
    return record(address, connect(address), StageRecord("smtp.certificate", "failed", facts=seen, trouble=trouble))


def at_nodes(*records: Record) -> list[Record]:
    return compared(records)


def remedies(one: Record, **submission: Any) -> str:
    return "\n".join(step for finding in findings(one, profile(**submission)) for step in finding.remedy)


def test_the_commands_are_for_the_node_that_does_not_answer() -> None:
    dead, _ = at_nodes(record(DEAD, connect(DEAD, REFUSED)), record(ALIVE, connect(ALIVE)))
    text = remedies(dead, connect=[ALIVE, DEAD])
    assert "'sport = :1'" in text and "Test-NetConnection 127.0.0.3 -Port 1" in text, text
    assert "34587" not in text and "NetConnection mail.contoso.com" not in text


def test_a_certificate_is_looked_at_on_its_node_under_the_name_that_users_type() -> None:
    wrong, _ = at_nodes(refused_certificate("[2001:db8::2]:1587"), record(ALIVE, connect(ALIVE)))
    text = remedies(wrong, connect=[ALIVE, "[2001:db8::2]:1587"])
    assert "openssl s_client -connect [2001:db8::2]:1587 -servername mail.contoso.com -starttls smtp" in text, text
    assert "mail.contoso.com:34587" not in text


def test_a_single_connect_is_looked_at_too_and_a_plain_run_by_its_name() -> None:
    assert "-connect 127.0.0.3:1 -servername mail.contoso.com" in remedies(refused_certificate(DEAD), connect=[DEAD])
    assert "-connect mail.contoso.com:34587 -starttls" in remedies(refused_certificate(DEAD))


def test_the_first_step_is_what_to_do_and_the_node_is_said_once() -> None:
    wrong, _ = at_nodes(refused_certificate(DEAD), record(ALIVE, connect(ALIVE)))
    found = findings(wrong, profile(connect=[ALIVE, DEAD]))
    here = [one for one in found if one.stage == "smtp.certificate"]
    assert len(here) > 1 and not any("this node first" in step for one in here for step in one.remedy)
    said = " ".join(one.cause for one in here)
    assert said.count(f"Only node {DEAD} (mail.contoso.com) fails; {ALIVE} went well in this run.") == 1, said


def test_not_only_this_node_where_two_of_three_fail() -> None:
    others = (record("127.0.0.4:1", connect("127.0.0.4:1", REFUSED)), record(ALIVE, connect(ALIVE)))
    dead, *_ = at_nodes(record(DEAD, connect(DEAD, REFUSED)), *others)
    (found,) = findings(dead, profile(connect=[ALIVE, DEAD, "127.0.0.4:1"]))
    assert found.cause.endswith(f"Node {DEAD} (mail.contoso.com) fails; {ALIVE} went well in this run."), found.cause


def shown(leg: str, remote: str, thumbprint: str, since: str) -> tuple[StageRecord, StageRecord]:
    link = {"subject": "CN=mail", "issuer": "CN=CA", "sha256": thumbprint, "not_before": since}
    seen = Certified(chain=[link], thumbprint=thumbprint, not_before=since)  # type: ignore[list-item]
    return (
        StageRecord(f"{leg}.connect", "ok", facts=Connected(remote=remote)),
        StageRecord(f"{leg}.certificate", "ok", facts=seen),
    )


def two_ports(smtp: str, imap: str) -> Record:
    old, new = ("A" * 40, "2026-01-01T00:00:00Z"), ("B" * 40, "2026-11-01T00:00:00Z")
    return record(smtp, *shown("smtp", smtp, *new), *shown("imap", imap, *old))


@pytest.mark.parametrize(
    ("smtp", "imap", "concluded"),
    [
        ("10.0.0.2:587", "10.0.0.2:993", True),
        ("10.0.0.2:587", "10.0.0.1:993", False),
        ("[2001:db8::2]:587", "[2001:db8::2]:993", True),
    ],
)
def test_only_ports_of_one_address_are_compared(smtp: str, imap: str, concluded: bool) -> None:
    found = {one.id for one in compare_ports(two_ports(smtp, imap), profile())}
    assert found == ({"certificate.differs-between-ports", "certificate.not-reloaded"} if concluded else set())


def test_nodes_that_differ_by_their_port_alone_are_not_told_apart_by_address() -> None:
    one, other = at_nodes(two_ports("127.0.0.1:1587", "127.0.0.1:993"), two_ports("127.0.0.1:2587", "127.0.0.1:993"))
    assert [*compare_ports(one, profile()), *compare_ports(other, profile())] == []


def reports(*verdicts: tuple[str, str]) -> list[Report]:
    """The same recorded run at several nodes that greet with one name."""
    (one,) = saved("failed-smtp-certificate").reports
    made = []
    for address, verdict in verdicts:
        bad = {} if verdict == "critical" else {"failed_stage": None, "findings": (), "stages": saved("ok").reports[0].stages}
        target = replace(one.target, address=address, node="mail.contoso.com")
        made.append(replace(one, kind="node", target=target, verdict=verdict, **bad))
    return made


def told(format: str) -> str:
    return output(format).write(reports((ALIVE, "ok"), (DEAD, "critical")), Context("2026-11-27T00:00:00Z", 1.0))


def test_the_worst_verdict_and_the_nodes_come_first() -> None:
    first, addresses, *rest = told("text").splitlines()
    assert first.startswith("CRITICAL  ") and first.endswith(": 2 nodes")
    assert addresses.split() == [ALIVE, DEAD]
    assert next(line for line in rest if line.startswith(("OK  ", "CRITICAL  "))).startswith("OK  ")


@pytest.mark.parametrize("format", ["nagios", "github", "markdown"])
def test_a_line_about_one_node_names_it(format: str) -> None:
    text = told(format).replace("`", "")
    assert f"at {DEAD} smtp.certificate failed" in text or (f"at {DEAD}" in text and format != "nagios"), text


def test_a_single_address_is_said_to_be_one() -> None:
    one = record(ALIVE, connect(ALIVE))
    (found,) = nodes.judge(one, profile(every_address="logon"))
    assert (found.id, found.severity) == ("nodes.only-one", "info") and "nothing to compare" in found.summary
    assert list(nodes.judge(one, profile())) == []
    assert list(nodes.judge(record(DEAD, connect(DEAD, REFUSED)), profile(every_address="logon"))) == []


def test_what_the_second_node_gets_is_said_with_the_key_that_changes_it() -> None:
    plan = make_plan(profile())
    first = record(ALIVE, connect(ALIVE))
    assert 'submission.every_address = "deliver" sends through each' in _following(plan, first).conduct.unsent
    light = make_plan(profile(), light=True)
    assert _following(light, first).conduct.unsent == "nothing is sent in light mode"
