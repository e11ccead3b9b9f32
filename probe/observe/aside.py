"""Slow work (a KDC, a source of secrets, many iterations) beside the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def beside(work: Callable[[], T], name: str) -> T:
    """What `work` returns or raises, done in a daemon thread of its own.

    Not in the loop's pool: that is everybody's, and whatever hangs in it holds up the exit. Who stops waiting leaves the thread
    behind.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def carry_out() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=carry_out, name=name, daemon=True).start()
    return await done
