"""Postfix + Dovecot that keeps passwords only hashed, and lists mechanisms that need them in clear: the set-up of most guides."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.test_round_trip import Bench
from tests.servers.hashed import HashedMailServers
from tests.servers.pki import Authority
from tests.stacks import stories

MECHANISMS = ("auto", "PLAIN", "LOGIN")


@pytest.fixture(scope="module")
def stack(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with HashedMailServers(authority, auth_mechanisms="plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256") as servers:
        yield stories.neighbour(Bench(tmp_path_factory.mktemp("hashed"), servers, user="probe"))


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("readers", sorted(stories.READERS))
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_the_message_is_read_and_nothing_of_ours_stays(stack: Bench, security: str, readers: str, mechanism: str) -> None:
    stories.reads_and_leaves_nothing(stack, security, readers, mechanism)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_refused_and_the_next_run_leaves_it_alone(stack: Bench, tmp_path: Path, mechanism: str) -> None:
    stories.refuses_and_is_left_alone(tmp_path, stack.mail, f"wrong-{mechanism.lower()}", mechanism)


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_a_challenge_that_it_cannot_do_suspends_the_challenge_only(stack: Bench, tmp_path: Path, mechanism: str) -> None:
    own = Bench(tmp_path, stack.mail, user=f"own-{mechanism.lower()}")
    stories.suspends_the_challenge_only(own, mechanism, stories.LOGONS)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_without_its_user_data_it_is_no_wrong_password_of_the_readers(
    stack: Bench, tmp_path: Path, security: str, mechanism: str
) -> None:
    own = Bench(tmp_path, stack.mail, user=f"unread-{security}-{mechanism.lower()}")
    stack.mail.hide_user(own.user)
    stories.is_no_wrong_password(own, security, mechanism, {"auth.temporary", "auth.server-failure"}, stories.READER_LOGONS)


def test_what_postfix_says_without_the_user_data_is_not_held_against_the_password(stack: Bench, tmp_path: Path) -> None:
    """Postfix 3.7 gives `535 5.7.8 … (reason unavailable)` for it as for a wrong password; only the readers, asked with the same
    password in the same run, say that it is temporary."""
    own = Bench(tmp_path, stack.mail, user="unread-postfix")
    stack.mail.hide_user(own.user)
    stories.is_no_wrong_password(own, "starttls", "auto", {"auth.temporary", "auth.server-failure"}, frozenset({"smtp.auth"}))


@pytest.mark.parametrize("security", stories.SECURITIES)
def test_without_dovecot_it_is_no_wrong_password_of_postfix(stack: Bench, dovecot_gone: None, security: str) -> None:
    stories.is_no_wrong_password(stack, security, "auto", {"auth.temporary", "auth.server-failure"}, frozenset({"smtp.auth"}))


@pytest.fixture(scope="module")
def dovecot_gone(stack: Bench) -> None:
    """For the last tests of the module: nothing starts it again."""
    stack.mail.stop_authentication()
