"""nginx' mail proxy before Postfix + Dovecot: one name for all, whose `auth_http` says who may log on, and what is behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.test_round_trip import Bench
from tests.servers.mail import free_port
from tests.servers.nginx import Nginx, why_not
from tests.servers.pki import Authority
from tests.stacks import stories

MECHANISMS = ("auto", "PLAIN", "LOGIN", "CRAM-MD5")


@pytest.fixture(scope="module")
def stack(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if reason := why_not():
        pytest.skip(reason)
    with Nginx(authority) as servers:
        yield stories.neighbour(Bench(tmp_path_factory.mktemp("nginx"), servers, user="probe"))


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("readers", sorted(stories.READERS))
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_the_message_is_read_and_nothing_of_ours_stays(stack: Bench, security: str, readers: str, mechanism: str) -> None:
    stories.reads_and_leaves_nothing(stack, security, readers, mechanism)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_refused_and_the_next_run_leaves_it_alone(stack: Bench, tmp_path: Path, mechanism: str) -> None:
    user = f"wrong-{mechanism.lower()}"
    stories.refuses_and_is_left_alone(tmp_path, stack.mail, user, mechanism)
    # Three wrong, three that were corrected, and nothing of the run between.
    assert stack.mail.doorkeeper.asked[f"{user}@{stack.mail.domain}"] == 2 * len(stories.LOGONS)


@pytest.mark.parametrize("mechanism", ["auto", "CRAM-MD5"])
@pytest.mark.parametrize("said", ["Temporary server problem, try again later", "Internal error, contact the administrator"])
def test_what_the_doorkeeper_cannot_say_is_no_wrong_password(
    stack: Bench, monkeypatch: pytest.MonkeyPatch, said: str, mechanism: str
) -> None:
    monkeypatch.setattr(stack.mail.doorkeeper, "says", (said, "451 4.3.0"))
    stories.is_no_wrong_password(stack, "starttls", mechanism, {"auth.temporary", "auth.server-failure"})


@pytest.mark.parametrize("mechanism", ["auto", "CRAM-MD5"])
def test_whom_the_doorkeeper_does_not_allow_has_no_wrong_password(
    stack: Bench, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    says = ("This protocol is not enabled for your account", "535 5.7.1")
    monkeypatch.setattr(stack.mail.doorkeeper, "says", says)
    stories.is_no_wrong_password(stack, "starttls", mechanism, {"auth.not-allowed"})


@pytest.mark.parametrize("security", stories.SECURITIES)
def test_nothing_behind_it_is_no_wrong_password(stack: Bench, monkeypatch: pytest.MonkeyPatch, security: str) -> None:
    """Postfix and Dovecot are down, and the doorkeeper says yes all the same."""
    monkeypatch.setattr(stack.mail.doorkeeper, "behind", {name: free_port() for name in ("smtp", "imap", "pop3")})
    stories.is_no_wrong_password(stack, security, "auto", {"auth.temporary", "auth.server-failure"})


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_without_the_doorkeeper_it_is_no_wrong_password(stack: Bench, doorkeeper_gone: None, security: str, mechanism: str) -> None:
    stories.is_no_wrong_password(stack, security, mechanism, {"auth.temporary", "auth.server-failure"})


@pytest.fixture(scope="module")
def doorkeeper_gone(stack: Bench) -> None:
    """For the last tests of the module: nothing starts it again."""
    stack.mail.stop_authentication()
