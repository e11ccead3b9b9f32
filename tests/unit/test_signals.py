"""Being asked to stop, as each system does it."""

import asyncio
import signal
import sys
import threading
from typing import Any

import pytest

from probe.cli import _signals
from probe.cli._signals import console_handler, interrupt_on_signals, on_hangup

CTRL_C, CLOSE, LOGOFF, SHUTDOWN = 0, 2, 5, 6


@pytest.fixture
def handlers_kept() -> Any:
    known = [number for name in ("SIGINT", "SIGTERM", "SIGBREAK") if (number := getattr(signal, name, None))]
    before = {number: signal.getsignal(number) for number in known}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers_kept")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGBREAK"])
@pytest.mark.parametrize("loop_has_handlers", [True, False])
async def test_every_request_to_stop_is_heard(name: str, loop_has_handlers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    if not hasattr(signal, "SIGBREAK"):
        # Linux has none: a signal that it has plays it.
        monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR2, raising=False)
    if not loop_has_handlers:
        monkeypatch.setattr(loop, "add_signal_handler", _none)
    interrupt = interrupt_on_signals()
    if loop_has_handlers or sys.platform == "win32":
        await asyncio.to_thread(signal.raise_signal, getattr(signal, name))
    else:
        # Nothing wakes a loop of Linux that is kept from installing its handlers.
        signal.raise_signal(getattr(signal, name))
    await asyncio.wait_for(interrupt.wait(), 60)


def _none(*_: object) -> None:
    raise NotImplementedError


async def test_a_system_without_hangup_has_no_reload_by_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    on_hangup(lambda: None)


@pytest.mark.parametrize("event", [CLOSE, LOGOFF, SHUTDOWN])
async def test_the_end_of_the_console_waits_for_the_clean_up(event: int) -> None:
    """Windows ends the process when the handler returns: it must not return before we have ended."""
    loop, stopped, ended = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    handle = console_handler(loop, stopped.set, is_service=False, ended=ended)
    answered = asyncio.ensure_future(asyncio.to_thread(handle, event))
    await asyncio.wait_for(stopped.wait(), 60)
    assert not answered.done()
    ended.set()
    assert await answered is True


async def test_a_service_outlives_a_users_logoff_and_heeds_the_shutdown() -> None:
    loop, stopped, ended = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    ended.set()
    handle = console_handler(loop, stopped.set, is_service=True, ended=ended)
    assert handle(LOGOFF) is True
    await asyncio.sleep(0)
    assert not stopped.is_set()
    assert handle(SHUTDOWN) is True
    await asyncio.wait_for(stopped.wait(), 60)


async def test_keys_are_left_to_the_signals() -> None:
    handle = console_handler(asyncio.get_running_loop(), _none, is_service=False, ended=threading.Event())
    assert handle(CTRL_C) is False


async def test_a_request_after_the_end_is_no_error() -> None:
    loop, ended = asyncio.new_event_loop(), threading.Event()
    loop.close()
    ended.set()
    assert console_handler(loop, _none, is_service=False, ended=ended)(CLOSE) is True


def test_grace_covers_what_a_run_may_take_to_clean_up() -> None:
    from probe.tasks.run import INTERRUPT_SECONDS

    # Windows gives 5 seconds after the window was closed.
    assert INTERRUPT_SECONDS < 5 < _signals.GRACE_SECONDS
