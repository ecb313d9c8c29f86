"""All calls to models behind an API run in one event loop, which has a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextvars import Context
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop in which the calls run.

    There is one for the process: the providers' clients keep connections, and Inspect keeps semaphores, that belong to
    a loop.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="steadfast-calls", daemon=True).start()
    return loop


def start_apart(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin a coroutine in the loop, whether or not the caller runs in a loop already.

    It starts from an empty context: within an Inspect eval the calls would otherwise take the evaluated model's
    settings, count against its limits and stand in its transcript.
    """
    return Context().run(asyncio.run_coroutine_threadsafe, work, _loop())


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Wait for the result of a coroutine that `start_apart` begins; it is cancelled if the wait is broken off."""
    future = start_apart(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
