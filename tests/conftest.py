"""Fixtures every test may use. Tests that need real servers are skipped aloud where those cannot be had."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests import platforms
from tests.servers.mail import MailServers, available
from tests.servers.pki import Authority
from tests.skips import pytest_addoption, pytest_make_collect_report, pytest_runtest_makereport, pytest_terminal_summary

__all__ = ["pytest_addoption", "pytest_make_collect_report", "pytest_runtest_makereport", "pytest_terminal_summary"]

_SERVER_FIXTURES = {"mail", "mail_servers", "everything"}
# Whole folders that start programs of Debian's: monitors, PostgreSQL, Prometheus, other mail servers.
_SERVER_FOLDERS = {"deploy", "fleet", "monitors", "stacks", *({"serve"} if sys.platform != "win32" else set())}


# Needs the bench that scripts/test-windows sets up.
collect_ignore = [] if os.environ.get("PROBE_TEST_WINDOWS") else ["windows"]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(platforms)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores it, and so would every program that the tests start.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # after -k and -m have taken their pick
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs real servers where there are none."""
    reason = available() if sys.platform != "win32" else "not_on_windows: Debian's servers; tests/windows probes them from Windows"
    for item in items:
        if reason and _needs_servers(item):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what needs real servers, or a browser, before -m takes its pick."""
    if _needs_servers(item):
        item.add_marker(pytest.mark.servers)
    if "browser" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.browser)


def _needs_servers(item: pytest.Item) -> bool:
    return item.path.parent.name in _SERVER_FOLDERS or bool(_SERVER_FIXTURES & set(getattr(item, "fixturenames", ())))


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
    """The servers that most tests share; a test that looks at a mailbox adds a user of its own."""
    with MailServers(authority) as servers:
        yield servers


@pytest.fixture
def mail_servers(authority: Authority) -> Iterator[Callable[..., MailServers]]:
    """Servers set up for one test: `mail_servers(starttls=False)`."""
    with ExitStack() as started:
        yield lambda **options: started.enter_context(MailServers(authority, **options))
