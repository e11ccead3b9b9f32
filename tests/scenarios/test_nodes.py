"""Several nodes behind one name: told apart, named, and compared; an address that does not answer costs little and is reported."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.facts import from_json
from probe.observe.protocol import exchange
from probe.profile import load_mapping
from probe.record import Record, StageRecord, Target
from tests.scenarios.test_round_trip import ROOT, Bench
from tests.servers.pki import Authority


@pytest.fixture
def two_nodes(mail_servers: Callable[..., Any], authority: Authority) -> tuple[Any, Any]:
    """One name, two nodes: the second has another certificate and offers fewer keywords."""
    first = mail_servers()
    other = authority.leaf(first.fqdn, "localhost", file_stem="second-node")
    settings = {"smtpd_discard_ehlo_keywords": "dsn, vrfy", "myhostname": "node2.example.test"}
    second = mail_servers(certificate=other, extra_postfix=settings)
    return first, second


def nodes_profile(bench: Bench, nodes: tuple[Any, Any], **tables: Any) -> Path:
    first, second = nodes
    connect = {
        name: {"connect": [f"127.0.0.1:{first.ports[name]}", f"127.0.0.2:{second.ports[name]}"]}
        for name in ("submission", "imap", "pop3")
    }
    tables = {"submission": connect["submission"], "readback__imap": connect["imap"], "readback__pop3": connect["pop3"], **tables}
    second.add_user(bench.user, bench.password)
    return bench.profile(**tables)


def test_two_nodes_are_told_apart_and_named(tmp_path: Path, two_nodes: tuple[Any, Any]) -> None:
    first, second = two_nodes
    bench = Bench(tmp_path, first, user="nodes")
    done = run(bench, nodes_profile(bench, two_nodes), "-o", "json", "--every-address")
    reports = json_of(done)["reports"]
    assert [report["target"]["address"] for report in reports] == [
        f"127.0.0.1:{first.ports['submission']}", f"127.0.0.2:{second.ports['submission']}",
    ]  # fmt: skip
    assert [report["target"]["node"] for report in reports] == ["mail.example.test", "node2.example.test"]
    assert reports[0]["verdict"] == "ok" and reports[0]["delivery_seconds"] is not None, done.stdout
    found = {finding["id"]: finding for finding in reports[1]["findings"]}
    assert set(found) == {"nodes.ehlo-differs", "nodes.certificate-differs"}, done.stdout
    assert found["nodes.ehlo-differs"]["evidence"].count("DSN") == 1
    assert first.certificate.thumbprint in found["nodes.certificate-differs"]["evidence"]
    assert second.certificate.thumbprint in found["nodes.certificate-differs"]["evidence"]
    # At the second node: logged on over all three protocols, nothing sent.
    status = {stage["name"]: stage["status"] for stage in reports[1]["stages"]}
    assert [status[name] for name in ("smtp.auth", "imap.login", "pop3.login")] == ["ok"] * 3
    (unsent,) = [stage["reason"] for stage in reports[1]["stages"] if stage["name"] == "smtp.submit"]
    assert status["smtp.submit"] == "skipped" and 'submission.every_address = "deliver" sends through each' in unsent
    assert done.returncode == 1


def test_the_matrix_for_people(tmp_path: Path, two_nodes: tuple[Any, Any]) -> None:
    bench = Bench(tmp_path, two_nodes[0], user="matrix")
    done = run(bench, nodes_profile(bench, two_nodes), "--every-address")
    assert "profile: 2 nodes" in done.stdout and "node2.example.test" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["smtp.certificate"])
    assert row.split() == ["smtp.certificate", "ok", "warn"]


def test_delivery_at_each_node_where_the_profile_asks(tmp_path: Path, two_nodes: tuple[Any, Any]) -> None:
    bench = Bench(tmp_path, two_nodes[0], user="each")
    profile = nodes_profile(bench, two_nodes)
    done = run(bench, profile, "-o", "json", "--set", "submission.every_address=deliver")
    assert all(report["delivery_seconds"] is not None for report in json_of(done)["reports"]), done.stdout


def test_a_password_refused_at_one_node_is_not_tried_at_the_other(tmp_path: Path, two_nodes: tuple[Any, Any]) -> None:
    first, second = two_nodes
    bench = Bench(tmp_path, first, user="refusednode")
    done = run(bench, nodes_profile(bench, two_nodes), "-o", "json", "--every-address", password="wrong-Horse7battery")
    reports = json_of(done)["reports"]
    assert "auth.refused" in {finding["id"] for finding in reports[0]["findings"]}
    assert "auth.suspended" in {finding["id"] for finding in reports[1]["findings"]}
    assert "auth failed" not in second.log() and "authentication failed" not in second.log()


def test_a_node_that_is_down_is_a_report_of_its_own(tmp_path: Path, mail: Any) -> None:
    bench = Bench(tmp_path, mail, user="onedown")
    connect = [f"127.0.0.1:{mail.ports['submission']}", "127.0.0.3:1"]
    done = run(bench, bench.profile(submission={"connect": connect}), "-o", "json", "--every-address")
    verdicts = [(report["verdict"], report["failed_stage"]) for report in json_of(done)["reports"]]
    assert verdicts == [("ok", None), ("critical", "smtp.connect")] and done.returncode == 2
    down = json_of(done)["reports"][1]
    assert down["target"]["address"] == "127.0.0.3:1"
    (refused,) = [finding for finding in down["findings"] if finding["severity"] == "critical"]
    assert f"Only node 127.0.0.3:1 fails; 127.0.0.1:{mail.ports['submission']} went well in this run." in refused["cause"]
    shown = run(bench, bench.profile(submission={"connect": connect}), "--every-address")
    assert shown.stdout.startswith("CRITICAL  profile: 2 nodes")
    assert " at 127.0.0.3:1 " in shown.stdout and "None" not in shown.stdout


def test_a_black_hole_costs_little_and_is_reported(tmp_path: Path, mail: Any) -> None:
    """A listener whose queue is full drops SYNs: the first address never answers (RFC 8305: the next is tried 250 ms later)."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.4", 0))
        hole.listen(0)
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
            fillers.append(filler)
        bench = Bench(tmp_path, mail, user="blackhole")
        connect = [f"127.0.0.4:{hole.getsockname()[1]}", f"127.0.0.1:{mail.ports['submission']}"]
        ran = bench.run(bench.profile(submission={"connect": connect}), "--readback", "none")
        for filler in fillers:
            filler.close()
    (finding,) = (one for one in ran.report["findings"] if one["id"] != "cleanup.left-behind")
    assert (finding["id"], finding["stage"], ran.code) == ("connect.address-dead", "smtp.connect", 1), ran.printed
    dead, alive = ran.stage("smtp.connect")["facts"]["attempts"]
    assert "127.0.0.4" in dead["address"] and alive["error"] is None
    # Not wall clock against a limit of ours, but of the dead attempt against the live one: the stagger that it cost.
    assert 0.2 <= dead["seconds"] - alive["seconds"] <= 0.3


@pytest.mark.parametrize(
    ("address", "error", "severity"),
    [
        ("10.0.0.12:587", "connection refused: nothing listens there", "warning"),
        ("10.0.0.12:587", None, "warning"),
        ("[2001:db8::1]:587", "network unreachable", "info"),
        ("[::1]:587", "connection refused: nothing listens there", "info"),
    ],
)
def test_whose_fault_a_dead_address_is(address: str, error: str | None, severity: str) -> None:
    from probe.judge.nodes import judge

    message = {"sender": "p@contoso.com", "recipient": "p@contoso.com"}
    profile = load_mapping({"submission": {"host": "mail.contoso.com"}, "message": message}, plugins={})
    attempts = [
        {"address": address, "seconds": 0.25, "error": error},
        {"address": "127.0.0.1:587", "seconds": 0.01, "error": None},
    ]
    stage = StageRecord("smtp.connect", "ok", facts=from_json("smtp.connect", {"remote": "127.0.0.1:587", "attempts": attempts}))
    record = Record("id", "p", Target("mail.contoso.com", 587, "starttls"), "2026-01-01T00:00:00Z", 0.0, (stage,))
    found = judge(record, profile)
    assert [(item.id, item.severity) for item in found] == [("connect.address-dead", severity)]


def test_what_exchange_writes_at_the_end_of_its_greeting() -> None:
    assert exchange.node("The Microsoft Exchange IMAP4 service is ready. [RQBYADAAMQA=]") == "EX01"
    for other in ("ready.", "[CAPABILITY IMAP4rev1] Dovecot ready.", "ready [AAAA]", "ready [!!!!]", "ready. [4pyT4pyT]"):
        assert exchange.node(other) is None


def test_dns_expectations_name_a_resolver_that_exists() -> None:
    from probe.profile import ProfileError
    from probe.tasks.plan import plugins

    data = {
        "submission": {"host": "mail.contoso.com"}, "account": {"username": "p@contoso.com", "password": {"env": "X"}},
        "dns": {"resolvers": {"internal": "10.0.0.53"}, "addresses": {"public": ["203.0.113.5"]}},
    }  # fmt: skip
    with pytest.raises(ProfileError, match=r"dns\.addresses: 'public' is none of the resolvers"):
        load_mapping(data, plugins=plugins())


def run(bench: Bench, profile: Path, *options: str, password: str | None = None) -> subprocess.CompletedProcess[str]:
    state = {"SUBMISSION_PROBE_STATE": str(bench.folder / "state")}
    environ = {**os.environ, "PROBE_TEST_PASSWORD": password or bench.password, **state}
    command = [sys.executable, "-m", "probe", "run", str(profile), *options]
    return subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT, timeout=90)


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    import json

    assert done.stdout, done.stderr
    return json.loads(done.stdout)
