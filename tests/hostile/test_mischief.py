"""A healthy server that makes random but bounded mischief: whatever it does, the promises hold."""

import base64
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.report.as_json import report_to_json
from tests.hostile.story import Play
from tests.hostile.test_hostile import NEIGHBOUR, Outcome, perform

STEPS = {
    "smtp": ["greeting", "ehlo", "starttls", "tls", "ehlo-tls", "auth", "mail", "rcpt", "data", "message", "quit"],
    "imap": ["greeting", "starttls", "tls", "capability-tls", "auth", "status", "select", "fetch", "store", "expunge", "logout"],
    "pop3": ["greeting", "capa", "stls", "tls", "capa-tls", "auth", "stat", "top", "retr", "dele", "quit"],
}
LINES = [
    "220 ok", "250 ok", "250-more", "235 ok", "334 ", "354 go", "421 bye", "451 later", "550 no",
    "{tag} OK done", "{tag} NO [UNAVAILABLE] no", "{tag} BAD what", "* 1 FETCH (UID 1 BODY[]<0> {3}", "* 5 EXISTS", "* BYE gone",
    "* CAPABILITY IMAP4rev1 UIDPLUS AUTH=PLAIN", "+ ", "+OK", "+OK 3 1000", "-ERR [IN-USE] no", "-ERR no", ".", "", "hello",
    "! healthy", "! close", "! reset", "! half-close", "! garbage", "! secret 535 {secret}", "! secret64 535 {secret}",
    "! raw \\x00\\xff\\r\\n", "! raw 250-a\\r\\n250 STARTTLS\\r\\n", "! lines 300 250-x", "! lines 300 * OK x", "! drip x",
]  # fmt: skip


@st.composite
def plays(draw: st.DrawFn) -> Play:
    protocol = draw(st.sampled_from(sorted(STEPS)))
    names = draw(st.lists(st.sampled_from(STEPS[protocol]), min_size=1, max_size=3, unique=True))
    steps = {name: draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=3)) for name in names}
    return Play("mischief", "", protocol, 0, None, frozenset(), steps, {"timeout": "0.6"})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(play=plays())
def test_the_promises_hold(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    with tempfile.TemporaryDirectory() as folder:
        outcome: Outcome = asyncio.run(perform(play, monkeypatch, Path(folder)))
    report, secret = outcome.report, outcome.sandbox.password
    shown = json.dumps(report_to_json(report))
    blob = base64.b64encode(f"\0{outcome.sandbox.username}\0{secret}".encode()).decode()
    assert secret not in shown and blob not in shown
    assert secret.encode() not in outcome.server.clear and blob.encode() not in outcome.server.clear
    assert outcome.seconds < 0.6 + 1.5
    assert report.verdict != "ok" or report.failed_stage is None
    inbox = outcome.sandbox.mailboxes[outcome.sandbox.username].folders["INBOX"].messages
    assert [message.raw for message in inbox].count(NEIGHBOUR) == 1
