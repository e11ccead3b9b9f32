"""Fixtures every test may use. Tests that need real servers are skipped aloud where those cannot be had."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.servers.mail import MailServers, available
from tests.servers.pki import Authority

_SERVER_FIXTURES = {"mail", "mail_servers"}
_SKIPPED: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real servers; skip it where there are none."""
    reason = available()
    for item in items:
        if _SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))
                _SKIPPED.append(item.nodeid)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _SKIPPED:
        terminalreporter.write_line(f"{len(_SKIPPED)} tests that need real servers were SKIPPED: {available()}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that did not run is a failure."""
    if _SKIPPED and os.environ.get("CI") == "true" and session.exitstatus == 0:
        session.exitstatus = 1


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's own state or profiles."""
    monkeypatch.setenv("SUBMISSION_PROBE_STATE", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("pki")
    return Authority(folder)


@pytest.fixture(scope="session")
def mail(authority: Authority) -> Iterator[MailServers]:
    """The servers that most tests share; each test adds a user of its own."""
    with MailServers(authority) as servers:
        yield servers


@pytest.fixture
def mail_servers(authority: Authority) -> Iterator[Callable[..., MailServers]]:
    """Servers set up for one test: `mail_servers(starttls=False)`."""
    started: list[MailServers] = []

    def start(**options: Any) -> MailServers:
        servers = MailServers(authority, **options)
        started.append(servers)
        servers.start()
        return servers

    yield start
    for servers in started:
        servers.stop()
