"""Many questions on their way at once; the first error ends them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["at_once"]

_WIDTH = 256  # the gateway's own limits are narrower
T = TypeVar("T")
R = TypeVar("R")


async def at_once(work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """What ``work`` makes of each of ``items``, in their order."""
    found: dict[int, R] = {}
    todo = iter(enumerate(items))

    async def worker() -> None:
        for index, item in todo:
            found[index] = await work(item)

    workers = [asyncio.create_task(worker()) for _ in range(min(_WIDTH, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [found[index] for index in range(len(items))]
