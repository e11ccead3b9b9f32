"""Being asked to stop: signals, and on Windows what its console reports, which is more than signals can."""

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

# Ctrl-C; what schedulers and systemd send; Ctrl-Break, which exists on Windows only.
_STOPPING = ("SIGINT", "SIGTERM", "SIGBREAK")
# Windows ends a process whose window was closed 5 seconds later (HandlerRoutine callback function, Microsoft).
GRACE_SECONDS = 10.0
BEAT_SECONDS = 0.2
_CLOSE, _LOGOFF, _SHUTDOWN = 2, 5, 6
_kept: list[Any] = []


def interrupt_on_signals(first: Callable[[], None] = lambda: None) -> asyncio.Event:
    """The event that is set when somebody asks us to stop: runs then end early, clean-up included, and are still reported.

    `first` is called before."""
    interrupt = asyncio.Event()

    def stop() -> None:
        first()
        interrupt.set()

    on_stop(stop)
    return interrupt


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` in the running event loop at each request to end. The loop must run in the main thread."""
    for name in _STOPPING:
        _on(name, stop)
    _beat()
    watch_console(asyncio.get_running_loop(), stop)


def on_hangup(reload: Callable[[], object]) -> None:
    """Call `reload` at SIGHUP, where there is such a thing."""
    _on("SIGHUP", reload)


def _on(name: str, act: Callable[[], object]) -> None:
    number = getattr(signal, name, None)
    if number is None:
        return
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, act)
    except NotImplementedError:  # Windows' event loops have no signal handlers
        signal.signal(number, lambda *_: _tell(loop, act))


def _tell(loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
    # After the end of the loop there is nothing left to stop.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(act)


def _beat() -> None:
    """Windows' selector loop (`probe worker`) sleeps through signals: wake it, so that Python gets to their handlers."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32" and isinstance(loop, asyncio.SelectorEventLoop):

        def again() -> None:
            loop.call_later(BEAT_SECONDS, again)

        again()


def console_handler(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], *, is_service: bool, ended: threading.Event
) -> Callable[[int], bool]:
    """What Windows calls, in a thread of its own, when the console is closed, its user logs off, or the machine shuts down.

    Windows ends the process as soon as this returns, whatever the process is doing: so it waits until `ended` (which nobody sets
    in earnest: the process ends first). A service hears of every user's logoff and goes on.
    """

    def handle(event: int) -> bool:
        if event == _LOGOFF and is_service:
            return True
        if event not in (_CLOSE, _LOGOFF, _SHUTDOWN):
            return False
        _tell(loop, stop)
        ended.wait(GRACE_SECONDS)
        return True

    return handle


def watch_console(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Have Windows call `console_handler`; elsewhere nothing."""
    if sys.platform != "win32":
        return
    import ctypes
    import os

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    session = ctypes.c_ulong(1)
    kernel.ProcessIdToSessionId(os.getpid(), ctypes.byref(session))
    handle = console_handler(loop, stop, is_service=session.value == 0, ended=threading.Event())
    routine = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_ulong)(handle)
    # Windows keeps the address only; the object must live as long as the process.
    _kept.append(routine)
    kernel.SetConsoleCtrlHandler(routine, True)
