"""A message of a chosen size through real Postfix and Dovecot: sent and read piece by piece, refused where the server says so."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_round_trip import ROOT, Bench

MANY = 25 * 2**20
TIME = "50s"
# Prints how much memory the process had at most, in KiB, behind what it prints itself.
MEASURED = (
    "import resource, runpy, sys\ntry:\n runpy.run_module('probe', run_name='__main__')\nfinally:\n"
    " print('most', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
)


@pytest.fixture(scope="module")
def roomy(authority: Any) -> Any:
    from tests.servers.mail import MailServers

    wide = {"message_size_limit": str(64 * 2**20), "mailbox_size_limit": "0"}
    with MailServers(authority, extra_postfix=wide) as servers:
        yield servers


@pytest.fixture
def bench(tmp_path: Path, roomy: Any, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path, roomy, user=f"u{abs(hash(request.node.name)) % 10**9}")


def test_25_megabytes_are_read_whole_by_both_readers(bench: Bench) -> None:
    ran = bench.run(bench.profile(limits={"timeout": TIME}), "--size", "25M")
    assert (ran.code, ran.report["verdict"]) == (0, "ok"), ran.printed[:3000]
    submitted = ran.stage("smtp.submit")["facts"]
    assert submitted["octets"] == MANY and submitted["size_limit"] == 64 * 2**20
    assert f"SIZE={MANY}" in submitted["replies"][0]["command"]
    for reader in ("imap", "pop3"):
        seen = ran.stage(f"{reader}.verify")["facts"]
        assert (seen["filling"], seen["text"]) == ("intact", "intact")
        assert seen["filling_same"] > 18_000_000 and seen["octets"] >= MANY
    assert bench.mail.messages(bench.user) == []
    sent = [line["text"] for line in ran.report["transcript"] if line["connection"] == "smtp" and line["direction"] == ">"]
    assert len(sent) < 20 and max(map(len, sent)) < 500


def test_a_large_message_takes_no_more_memory_than_a_small_one(bench: Bench) -> None:
    profile = bench.profile(limits={"timeout": TIME})

    def most(size: str) -> int:
        env = {**os.environ, "PROBE_TEST_PASSWORD": bench.password, "SUBMISSION_PROBE_STATE": str(bench.folder / "state")}
        command = [sys.executable, "-c", MEASURED, "run", str(profile), "-o", "json", "--size", size]
        done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT, timeout=90)
        assert '"verdict": "ok"' in done.stdout, done.stdout[:2000] + done.stderr
        return int(done.stderr.rpartition("most ")[2])

    small, large = most("64K"), most("25M")
    # A third of the message would already show that somebody holds it.
    assert large - small < 8 * 1024, f"{small} KiB, then {large} KiB"


def test_a_message_above_the_advertised_size_is_not_even_begun(bench: Bench) -> None:
    ran = bench.run(bench.profile(), "--size", "100M")
    assert (ran.code, ran.report["failed_stage"]) == (2, "smtp.submit")
    assert "submit.too-large" in ran.findings
    assert not any(line["text"].startswith("MAIL ") for line in ran.report["transcript"])
    assert "postfix" in ran.printed.lower() and "message_size_limit" in ran.printed


def test_a_server_that_hides_its_limit_refuses_by_its_own_words(mail_servers: Callable[..., Any], tmp_path: Path) -> None:
    """Without SIZE in its EHLO, Postfix looks at the message itself: 552 behind the final dot."""
    hides = {"message_size_limit": "60000", "smtpd_discard_ehlo_keywords": "size, silent-discard"}
    bench = Bench(tmp_path, mail_servers(extra_postfix=hides))
    ran = bench.run(bench.profile(), "--size", "500K")
    assert ran.code == 2 and ran.report["failed_stage"] == "smtp.submit", ran.printed[:2000]
    assert "submit.refused" in ran.findings and "552 5.3.4" in ran.printed
    replies = ran.stage("smtp.submit")["facts"]["replies"]
    assert "SIZE=" not in replies[0]["command"] and replies[-1]["command"] == "message"
    assert bench.mail.messages(bench.user) == []


def test_the_profile_says_the_size_and_a_later_run_removes_what_was_left(bench: Bench) -> None:
    profile = bench.profile(message={"size": "6M"})
    left = bench.run(profile, "--no-delete")
    assert left.code == 0 and len(bench.mail.messages(bench.user)) == 1, left.printed[:2000]
    code, said = bench.sweep(bench.profile(readback__imap=None), "--older-than", "0s")
    assert code == 0 and len(said["deleted"]) == 1, said
    assert bench.mail.messages(bench.user) == []
