"""Whoever has every report of a run, its transcript and the state directory cannot test a single guess of the password."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from scramp import ScramClient, ScramMechanism

from probe.output import formats
from probe.sandbox import Sandbox
from probe.state.directory import installation_key
from probe.state.refusals import fingerprint, note_refused
from tests.cracker import crack, crack_state
from tests.scenarios.test_canary import run_with_secret, written
from tests.scenarios.test_round_trip import Bench
from tests.servers.mail import MailServers

WORDS = ["p4ssw0rd!", "qwerty12345", "Summer2026!", "letmein", "hunter2"]
MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512", "NTLM"]


@pytest.mark.parametrize("right", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_no_guess_can_be_tested(mechanism: str, right: bool, tmp_path: Path) -> None:
    async with Sandbox(mechanisms=[mechanism]) as sandbox:
        profile = tmp_path / "cracked.toml"
        text = re.sub(r"password = \{ file = .* \}", 'password = { env = "CANARY" }', sandbox.profile())
        profile.write_text(text.replace("[account]", f'[account]\nmechanism = "{mechanism}"'))
        given = sandbox.password if right else "Summer2026!"
        shown, command_lines = await run_with_secret(profile, tmp_path, given)
        left = [*shown, *command_lines, *written(tmp_path, profile)]
        assert crack(left, sandbox.username, [*WORDS, sandbox.password]) is None


@pytest.mark.parametrize("mechanism", ["DIGEST-MD5", "APOP", "SCRAM-SHA-256"])
def test_no_guess_can_be_tested_on_a_real_server(mechanism: str, tmp_path: Path, mail_servers: Callable[..., MailServers]) -> None:
    mail = mail_servers(auth_mechanisms="plain digest-md5 apop scram-sha-256")
    bench = Bench(tmp_path, mail)
    submission = {"mechanism": "PLAIN" if mechanism == "APOP" else mechanism}
    readers = {"readback__imap": None} if mechanism == "APOP" else {}
    profile = bench.profile(account=submission, readback__pop3__account={"mechanism": mechanism}, **readers)
    reports = [option for name in formats() for option in ("--report", f"{name}={tmp_path / name}")]
    ran = bench.run(profile, "-v", *reports)
    assert ran.code == 0 and ran.stage("pop3.login")["facts"]["mechanism"] == mechanism, ran.printed
    files = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file() and path != profile]
    assert crack([ran.printed, *files], bench.address, [*WORDS, bench.password]) is None


def test_the_cracker_cracks_what_it_should() -> None:
    """Else the test above proves nothing."""
    mechanism = ScramMechanism("SCRAM-SHA-256")
    salt, stored, server_key, iterations = mechanism.make_auth_info("Summer2026!", iteration_count=4096)
    client = ScramClient(["SCRAM-SHA-256"], "ann", "Summer2026!")
    server = mechanism.make_server(lambda _: (salt, stored, server_key, iterations))
    server.set_client_first(client.get_client_first())
    first = server.get_server_first()
    client.set_server_first(first)
    server.set_client_final(client.get_client_final())
    final = server.get_server_final()
    wire = [base64.b64encode(text.encode()).decode() for text in (first, final)]
    assert crack([f"334 {wire[0]}", f"334 {wire[1]}"], "ann", WORDS) == "Summer2026!"
    assert crack([f"334 {wire[0]}"], "ann", WORDS) is None
    stamp = "<1896.697170952@postoffice.example>"
    digest = hmac.new(b"Summer2026!", stamp.encode(), "md5").hexdigest()
    assert crack([base64.b64encode(stamp.encode()).decode(), base64.b64encode(f"ann {digest}".encode()).decode()], "ann", WORDS)
    assert crack([f"+OK {stamp}", hashlib.md5(f"{stamp}Summer2026!".encode()).hexdigest()], "ann", WORDS)


def test_the_state_directory_confirms_no_refused_password(tmp_path: Path) -> None:
    """The key lies beside the fingerprints. What earlier versions kept falls to a word list; what is kept now does not."""
    key, _ = installation_key(tmp_path)
    for leg in ("smtp", "imap", "pop3"):
        note_refused(tmp_path, f"{leg}://mail.example.test", "ann", fingerprint(key, "Summer2026!"))
    assert crack_state(tmp_path, WORDS) is None
    old = hmac.digest(key, b"refused\0Summer2026!", "sha256").hex()
    note_refused(tmp_path, "smtp://old.example.test", "ann", old)
    assert crack_state(tmp_path, WORDS) == "Summer2026!"
