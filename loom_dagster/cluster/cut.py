"""A connection to a cluster may be cut while somebody asks: nobody waits in a way that would keep the process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["aside", "is_connected", "until_cut"]

T = TypeVar("T")


def is_connected(ray: Any) -> bool:
    """Ray's client raises its own where there is no connection any more."""
    try:
        return bool(ray.is_initialized())
    except Exception:  # noqa: BLE001
        return False


async def until_cut(work: Awaitable[T], ray: Any) -> T:
    """What ``work`` gives. Without a connection there is nothing more to wait for than who watches it, and says so."""
    try:
        return await work
    except Exception as error:
        # exactly: what a worker raised is of its cause's class, too
        if type(error) is ConnectionError or not await aside(lambda: is_connected(ray)):
            await asyncio.Event().wait()
        raise


async def aside(work: Callable[[], T]) -> T:
    """In a thread that nobody waits for at the end: what asks a cluster that is gone may take a minute."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        def settle_once() -> None:
            if not done.done():
                settle()

        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle_once)

    def run() -> None:
        try:
            found = work()
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            tell(functools.partial(done.set_exception, error))
        else:
            tell(functools.partial(done.set_result, found))

    threading.Thread(target=run, name="loom-ask-ray", daemon=True).start()
    return await done
