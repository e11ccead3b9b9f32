"""Postfix + Courier, both asking authdaemond. Courier drops what is sent behind AUTH, and without authdaemond says BYE."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.test_round_trip import Bench
from tests.servers.courier import PostfixCourier, why_not
from tests.servers.pki import Authority
from tests.stacks import stories

MECHANISMS = ("auto", "PLAIN", "LOGIN")


@pytest.fixture(scope="module")
def stack(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if reason := why_not():
        pytest.skip(reason)
    with PostfixCourier(authority) as servers:
        yield stories.neighbour(Bench(tmp_path_factory.mktemp("courier"), servers, user="probe"))


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("readers", sorted(stories.READERS))
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_the_message_is_read_and_nothing_of_ours_stays(stack: Bench, security: str, readers: str, mechanism: str) -> None:
    stories.reads_and_leaves_nothing(stack, security, readers, mechanism)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_refused_and_the_next_run_leaves_it_alone(stack: Bench, tmp_path: Path, mechanism: str) -> None:
    stories.refuses_and_is_left_alone(tmp_path, stack.mail, f"wrong-{mechanism.lower()}", mechanism)


def test_a_challenge_that_nobody_can_do_for_a_hashed_password_suspends_the_challenge_only(stack: Bench, tmp_path: Path) -> None:
    stories.suspends_the_challenge_only(Bench(tmp_path, stack.mail, user="hashed"), "CRAM-MD5", stories.LOGONS)


def test_a_challenge_goes_where_the_password_is_stored_for_it(stack: Bench, tmp_path: Path) -> None:
    """At both readers; Postfix' Cyrus SASL lists it and finds no password for it."""
    own = Bench(tmp_path, stack.mail, user="stored")
    stack.mail.store_for_challenges(own.user, own.password)
    stories.suspends_the_challenge_only(own, "CRAM-MD5", {"smtp.auth"})


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_reader_that_is_switched_off_for_the_account_is_no_wrong_password(stack: Bench, tmp_path: Path, mechanism: str) -> None:
    own = Bench(tmp_path, stack.mail, user=f"off-{mechanism.lower()}")
    stack.mail.set_options(own.user, "disableimap=1,disablepop3=1")
    stories.is_no_wrong_password(own, "starttls", mechanism, {"auth.not-allowed"}, stories.READER_LOGONS)


@pytest.mark.parametrize("readers", sorted(stories.READERS))
def test_what_is_expunged_into_the_trash_is_deleted_there(authority: Authority, tmp_path: Path, readers: str) -> None:
    if reason := why_not():
        pytest.skip(reason)
    with PostfixCourier(authority, trash=True) as servers:
        stack = Bench(tmp_path, servers, user="probe")
        (servers.maildir("probe") / ".Trash").mkdir()
        for name in ("", "cur", "new", "tmp"):
            folder = servers.maildir("probe") / ".Trash" / name
            folder.mkdir(exist_ok=True)
            shutil.chown(folder, *(getattr(servers.maildir("probe").stat(), key) for key in ("st_uid", "st_gid")))
        (servers.maildir("probe") / ".Trash/cur/1.M1.somebody:2,S").write_bytes(b"Subject: thrown away\r\n\r\n\r\n")
        stories.reads_and_leaves_nothing(stories.neighbour(stack), "starttls", readers, "auto")
        (kept,) = servers.messages("probe", "Trash")
        assert b"thrown away" in kept


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("security", stories.SECURITIES)
def test_without_authdaemond_it_is_no_wrong_password(stack: Bench, authdaemond_gone: None, security: str, mechanism: str) -> None:
    stories.is_no_wrong_password(stack, security, mechanism, {"auth.temporary", "auth.server-failure"})


@pytest.fixture(scope="module")
def authdaemond_gone(stack: Bench) -> None:
    """For the last tests of the module: nothing starts it again."""
    stack.mail.stop_authentication()
