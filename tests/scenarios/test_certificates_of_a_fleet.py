"""`probe certificates` on real servers: two nodes with certificates of their own, a forgotten reload, dead ports, Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_round_trip import ROOT
from tests.servers.mail import MailServers
from tests.servers.pki import Authority


def profile(folder: Path, name: str, servers: MailServers, *nodes: tuple[str, MailServers], **ports: int) -> Path:
    """A profile of these nodes (address, servers); its password cannot be had."""

    def connect(service: str) -> str:
        return json.dumps([f"{address}:{ports.get(service, node.ports[service])}" for address, node in nodes])

    path = folder / f"{name}.toml"
    path.write_text(
        f'[submission]\nhost = "{servers.fqdn}"\nport = {servers.ports["submission"]}\nconnect = {connect("submission")}\n'
        '[account]\nusername = "probe@example.test"\npassword = { env = "NOBODY_HAS_SET_THIS" }\n'
        f'[tls]\nca_file = "{servers.ca_file}"\n'
        + "".join(
            f"[readback.{leg}]\nport = {servers.ports[service]}\nconnect = {connect(service)}\n"
            for leg, service in (("imap", "imaps"), ("pop3", "pop3s"))
        )
    )
    return path


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "probe", "certificates", *map(str, words)]


def look(*words: str | Path) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(command(*words, "-o", "json"), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def ports_of(certificate: dict[str, Any]) -> set[tuple[str, str]]:
    return {(port["protocol"], port["address"].rpartition(":")[0]) for port in certificate["ports"]}


def test_two_nodes_a_forgotten_reload_and_when_it_was_made_good(
    tmp_path: Path, authority: Authority, mail_servers: Callable[..., MailServers]
) -> None:
    now = datetime.now(UTC)
    old = authority.leaf(MailServers.fqdn, "localhost", not_before=now - timedelta(days=80), not_after=now + timedelta(days=10))
    new, other = (authority.leaf(MailServers.fqdn, "localhost") for _ in range(2))
    first, second = mail_servers(certificate=old), mail_servers(certificate=other)
    nodes = (("127.0.0.1", first), ("127.0.0.2", second))
    both, one = profile(tmp_path, "both", first, *nodes), profile(tmp_path, "one", first, nodes[0])

    code, seen = look(both, one, "--every-address")
    assert [item["sha1"] for item in seen["certificates"]] == [old.thumbprint, other.thumbprint] and code == 1
    assert ports_of(seen["certificates"][0]) == {(leg, "127.0.0.1") for leg in ("smtp", "imap", "pop3")}
    assert ports_of(seen["certificates"][1]) == {(leg, "127.0.0.2") for leg in ("smtp", "imap", "pop3")}
    assert {tuple(port["profiles"]) for port in seen["certificates"][0]["ports"]} == {("both", "one")}
    # Two machines that each have their own: nobody was forgotten. Ten days of ninety are a warning.
    assert {finding["id"] for finding in seen["findings"]} == {"certificate.expires-soon"}
    assert seen["certificates"][0]["share_left"] == pytest.approx(10 / 90, abs=0.001)

    first.swap_certificate(new, readers=False)
    code, seen = look(one)
    (forgotten,) = (finding for finding in seen["findings"] if finding["id"] == "certificate.not-reloaded")
    ports = first.ports
    assert forgotten["places"] == [f"imap {first.fqdn}:{ports['imaps']}", f"pop3 {first.fqdn}:{ports['pop3s']}"]
    assert forgotten["summary"].endswith("; reload Dovecot") and forgotten["remedy"][0].startswith("Dovecot: doveadm reload")
    renewed = {port["protocol"]: port["renewed_as"] for item in seen["certificates"] for port in item["ports"]}
    assert renewed == {"imap": new.thumbprint, "pop3": new.thumbprint, "smtp": None} and code == 1
    assert [(item["protocol"], item["after"]) for item in seen["renewals"]] == [("smtp", new.thumbprint)]

    first.swap_certificate(new)
    code, seen = look(one)
    assert (code, seen["verdict"], [item["sha1"] for item in seen["certificates"]]) == (0, "ok", [new.thumbprint])
    assert {item["protocol"] for item in seen["renewals"]} == {"smtp", "imap", "pop3"}
    code, known = look("--from-history", "one")
    assert (code, [item["sha1"] for item in known["certificates"]]) == (0, [new.thumbprint])
    # Nobody logged on anywhere, and nobody tried.
    for servers in (first, second):
        assert "auth failed" not in servers.log() and "Login:" not in servers.log() and "AUTH" not in servers.log()


def test_ports_that_do_not_answer_are_reported_and_the_others_are_seen(
    tmp_path: Path, authority: Authority, mail: MailServers
) -> None:
    whole = profile(tmp_path, "whole", mail, ("127.0.0.1", mail))
    broken = profile(tmp_path, "broken", mail, ("127.0.0.1", mail), imaps=1, pop3s=mail.ports["submission"])
    code, seen = look(whole, broken, "--timeout", "5s", "--set", "limits.per_connection=2s")
    assert code == 2 and len(seen["certificates"]) == 1 and len(seen["certificates"][0]["ports"]) == 3
    assert {(item["protocol"], tuple(item["profiles"])) for item in seen["not_seen"]} == {
        ("imap", ("broken",)),
        ("pop3", ("broken",)),
    }
    assert {"connect.refused"} < {item["finding"] for item in seen["not_seen"]}


def test_five_hundred_profiles_of_one_server_are_three_looks(tmp_path: Path, mail: MailServers) -> None:
    for n in range(500):
        profile(tmp_path, f"site{n:03}", mail, ("127.0.0.1", mail))
    before = mail.log().count("]: connect from")
    code, seen = look(tmp_path / "site*.toml", "--history", "none")
    assert code == 0 and [len(port["profiles"]) for port in seen["certificates"][0]["ports"]] == [500] * 3
    assert mail.log().count("]: connect from") - before == 1


def test_ctrl_c_ends_it_with_what_was_seen(tmp_path: Path, mail: MailServers) -> None:
    """A server that takes connections and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        path = profile(tmp_path, "silent", mail, ("127.0.0.1", mail), pop3s=silent.getsockname()[1])
        running = subprocess.Popen(
            command(path, "-o", "json"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        # Held until the end: what nobody holds is closed.
        with silent.accept()[0]:
            mail.wait_log(r"disconnect from .* ehlo=2 starttls=1 quit=1")
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=60)
    seen = json.loads(out)
    assert (running.returncode, seen["interrupted"], seen["verdict"]) == (130, True, "unknown") and "Traceback" not in err
    (missing,) = (item for item in seen["not_seen"] if item["protocol"] == "pop3")
    assert (missing["finding"], missing["text"]) == (None, "not looked at: interrupted")
