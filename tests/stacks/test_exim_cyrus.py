"""Exim + Cyrus, with saslauthd and sasldb: whole runs by each mechanism, a wrong password, saslauthd gone, what cannot be done."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.test_round_trip import Bench
from tests.servers.exim_cyrus import EximCyrus, why_not
from tests.servers.pki import Authority
from tests.stacks import stories

MECHANISMS = ("auto", "PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512")


@pytest.fixture(scope="module")
def stack(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if reason := why_not():
        pytest.skip(reason)
    with EximCyrus(authority) as servers:
        yield stories.neighbour(Bench(tmp_path_factory.mktemp("exim-cyrus"), servers, user="probe"))


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("readers", sorted(stories.READERS))
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_the_message_is_read_and_nothing_of_ours_stays(stack: Bench, security: str, readers: str, mechanism: str) -> None:
    stories.reads_and_leaves_nothing(stack, security, readers, mechanism)


def test_exim_takes_the_message_with_its_envelope(stack: Bench) -> None:
    ran = stories.run(stack, "--readback", "imap")
    replies = ran.stage("smtp.submit")["facts"]["replies"]
    assert [reply["command"].split()[0] for reply in replies] == ["MAIL", "RCPT", "BDAT"], stories.said(ran)


def test_exim_refuses_what_stands_behind_a_refused_recipient(stack: Bench) -> None:
    profile = stack.profile(message={"recipient": f"refused@{stack.mail.domain}"})
    ran = stack.run(profile, "--readback", "imap")
    replies = ran.stage("smtp.submit")["facts"]["replies"]
    assert [reply["reply"][-1][:1] for reply in replies] == ["2", "5", "5"], replies
    assert "submit.recipient-refused" in ran.findings and ran.stage("imap.find")["status"] == "skipped"


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_refused_and_the_next_run_leaves_it_alone(stack: Bench, tmp_path: Path, mechanism: str) -> None:
    stories.refuses_and_is_left_alone(tmp_path, stack.mail, f"wrong-{mechanism.lower()}", mechanism)


def test_exims_ntlm_is_of_the_first_version_and_gets_no_answer(stack: Bench) -> None:
    """`spa` sends a challenge without TargetInfo: it can do NTLMv1 only."""
    for _ in range(2):
        ran = stories.run(stack, "--readback", "none", mechanism="NTLM")
        assert stories.found(ran) == {"smtp.auth": "auth.mechanism-failed"}, stories.said(ran)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"])
def test_what_cyrus_lists_and_cannot_do_is_no_wrong_password(stack: Bench, mechanism: str) -> None:
    """Cyrus 3.6 lists the -PLUS forms and knows no channel binding. Exim, which is not asked here, does not list them."""
    stories.is_no_wrong_password(stack, "starttls", mechanism, {"auth.mechanism-failed"}, stories.READER_LOGONS)


@pytest.mark.parametrize("mechanism", ["auto", "PLAIN", "LOGIN"])
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_without_saslauthd_it_is_no_wrong_password(stack: Bench, saslauthd_gone: None, security: str, mechanism: str) -> None:
    stories.is_no_wrong_password(stack, security, mechanism, {"auth.temporary", "auth.server-failure"})


def test_without_saslauthd_a_challenge_goes_on(stack: Bench, saslauthd_gone: None) -> None:
    """Cyrus SASL reads sasldb itself for it: the same account logs on."""
    ran = stories.run(stack, "--light", mechanism="SCRAM-SHA-256")
    assert (ran.code, ran.report["verdict"]) == (0, "ok"), stories.said(ran)


@pytest.fixture(scope="module")
def saslauthd_gone(stack: Bench) -> None:
    """For the last tests of the module: nothing starts it again."""
    stack.mail.stop_authentication()
