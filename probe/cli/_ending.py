"""Ended early: the line that a monitoring plugin owes is said at once, since its scheduler kills soon after it asks.

Icinga sends SIGKILL half a second after SIGTERM, which is less than a clean-up may take: so the line goes out first, and the
clean-up goes on behind it; what it does not get to do is left to the next run, or to `probe sweep`.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probe.observe.journal import Watch
    from probe.record import StageRecord, Target

# What is said, and how long the run had been under way, in seconds; None: not at all.
Words = tuple[str, float | None]
BEFORE = "the run was interrupted before it began"
# Ctrl-C; what schedulers and systemd send; Ctrl-Break, which exists on Windows only.
STOPPING = tuple(number for name in ("SIGINT", "SIGTERM", "SIGBREAK") if (number := getattr(signal, name, None)) is not None)


class LastWord:
    """What stdout is owed when this process is asked to end: said at most once."""

    def __init__(self) -> None:
        self._words: Callable[[], Words] | None = None
        self.said = False

    def owe(self, words: "Callable[[], Words] | None") -> None:
        """From now on these words; None: nothing."""
        self._words, self.said = words, False

    def instead(self, words: "Callable[[], Words]") -> None:
        """These words in place of those before, where any are owed."""
        if self._words is not None:
            self._words = words

    def settle(self) -> bool:
        """Whether the result is to be written: it was not said instead. From now on nothing is owed."""
        self._words = None
        return not self.said

    @property
    def is_owed(self) -> bool:
        return self._words is not None

    def say(self) -> None:
        if self._words is None or self.said:
            return
        from probe.cli._out import data
        from probe.output.nagios import complaint

        self.said = True
        data(complaint(*self._words()))


LAST = LastWord()


class UnderWay:
    """The stages under way, by target."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._begun = clock, clock()
        self._stages: dict[str, dict[str, None]] = {}

    def watch(self, target: "Target", other: "Watch | None") -> "Watch":
        """A watch that notes the target's stages, and passes on what it hears."""
        stages = self._stages.setdefault(f"{target.host}:{target.port}", {})

        def heard(stage: str, ended: "StageRecord | None") -> None:
            if ended is None:
                stages[stage] = None
            else:
                stages.pop(stage, None)
            if other is not None:
                other(stage, ended)

        return heard

    def words(self) -> Words:
        seconds = self._clock() - self._begun
        text = f"the run was interrupted after {seconds:.1f} s"
        waiting = [f"{', '.join(stages)} of {target}" for target, stages in self._stages.items() if stages]
        # With many targets, which of them have ended is not known here.
        where = f"during {'; '.join(waiting)}" if waiting else f"between two stages of {' or '.join(self._stages)}"
        return f"{text}, {where}", seconds


def raise_on_signals() -> None:
    """While no event loop listens: a request to end is KeyboardInterrupt, and the line that is owed goes out first."""
    for number in STOPPING:
        # asyncio.run takes Ctrl-C over, more gently, where this is its handler.
        gentle = number == signal.SIGINT and not LAST.is_owed
        _on(number, signal.default_int_handler if gentle else _ended)


def hold_signals() -> None:
    """While the result is written: the first request to end is not heeded, since the run has ended."""
    mask = getattr(signal, "pthread_sigmask", None)
    before = mask(signal.SIG_BLOCK, STOPPING) if mask else None
    for number in STOPPING:
        _leave_loop(number)
        _on(number, lambda *_: raise_on_signals())
    if mask:
        mask(signal.SIG_SETMASK, before)


def _leave_loop(number: int) -> None:
    """A loop that ends would have the signal kill."""
    import asyncio
    import contextlib

    with contextlib.suppress(RuntimeError, NotImplementedError):
        asyncio.get_running_loop().remove_signal_handler(number)


def _on(number: int, act: Callable[[int, FrameType | None], object]) -> None:
    # Ignored by whoever started us (nohup, a shell's background): so it stays. None: a handler that is not Python's.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(number) not in (signal.SIG_IGN, None):
        signal.signal(number, act)


def _ended(number: int, frame: FrameType | None) -> None:
    LAST.say()
    raise KeyboardInterrupt
