"""Postfix + Courier, with habits of its own: it drops what is sent behind AUTH, and without authdaemond the reader says BYE."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_round_trip import NEIGHBOUR, Bench
from tests.servers.courier import Courier, why_not

READERS = {"imap": ("imap",), "pop3": ("pop3",), "both": ("imap", "pop3")}


@pytest.fixture(scope="module")
def stack(mail: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Courier]]:
    if reason := why_not():
        pytest.skip(reason)
    bench = Bench(tmp_path_factory.mktemp("courier"), mail, user="courier-user")
    mail.deliver(bench.user, NEIGHBOUR)
    with Courier(mail, bench.user, bench.password) as courier:
        yield bench, courier


def run(stack: tuple[Bench, Courier], readers: str, *options: str, security: str = "starttls", **more: Any) -> Any:
    bench, courier = stack
    tables: dict[str, Any] = {
        f"readback__{name}": {"port": courier.ports[f"{name}s"], "security": "tls"} if name in READERS[readers] else None
        for name in ("imap", "pop3")
    }
    account = {"username": bench.address, "password": {"env": "PROBE_TEST_PASSWORD"}, "mechanism": more.pop("mechanism", "auto")}
    # Courier wants 10 s between two POP3 logons: on a slow machine the second look is allowed to find it.
    limits = {"timeout": "50s", "delivery_warning": "30s", "delivery_critical": "40s"}
    return bench.run(bench.profile(security=security, account=account, limits=limits, **tables), *options, **more)


@pytest.mark.parametrize("mechanism", ["auto", "PLAIN", "LOGIN"])
@pytest.mark.parametrize("readers", sorted(READERS))
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_the_message_is_read_and_nothing_of_ours_stays(
    stack: tuple[Bench, Courier], security: str, readers: str, mechanism: str
) -> None:
    ran = run(stack, readers, security=security, mechanism=mechanism)
    assert (ran.code, ran.report["failed_stage"]) == (0, None), ran.printed
    left = stack[0].mail.messages(stack[0].user)
    assert len(left) == 1 and b"lunch?" in left[0]


def test_a_wrong_password_is_refused_and_the_next_run_leaves_it_alone(stack: tuple[Bench, Courier], tmp_path: Path) -> None:
    own = Bench.__new__(Bench)
    own.__dict__.update(stack[0].__dict__, folder=tmp_path)
    mine = (own, stack[1])
    first = run(mine, "imap", "--light", password="wrong-Horse7battery")
    assert {item["id"] for item in first.report["findings"] if item["stage"] == "imap.login"} == {"auth.refused"}, first.printed
    second = run(mine, "imap", "--light", password="wrong-Horse7battery")
    assert "auth.suspended" in {item["id"] for item in second.report["findings"] if item["stage"] == "imap.login"}


def test_without_its_authentication_daemon_it_is_no_wrong_password(stack: tuple[Bench, Courier]) -> None:
    """The last test of the module: nothing starts it again."""
    stack[1].stop_authentication()
    ran = run(stack, "both")
    found = {item["stage"]: item["id"] for item in ran.report["findings"] if item["severity"] == "critical"}
    assert found == {"imap.login": "auth.temporary", "pop3.login": "auth.temporary"}, ran.printed
    again = run(stack, "both")
    assert "auth.suspended" not in {item["id"] for item in again.report["findings"]}, again.printed
