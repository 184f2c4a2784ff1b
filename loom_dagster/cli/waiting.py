"""``loom run --wait``: until the batches that runs wait for have ended, and the runs after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.ended import Ended
from loom_dagster.errors import LoomError, Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.cli.progress import Watch

__all__ = ["Timeout", "Wait", "timeout_of", "until_settled"]

Wait = Annotated[bool, typer.Option("--wait", help="Wait for batches (`mode: batch`) until they have ended.")]
Timeout = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="With --wait: no longer than 30m, 2h, 1d.")
]
Start = Callable[[Mapping[str, Sequence[str]]], list[Ended]]


def timeout_of(text: str | None, *, wait: bool) -> float | None:
    """Seconds. Raises Misconfigured."""
    if text is None:
        return None
    if not wait:
        raise Misconfigured("--timeout belongs to --wait", fix="give both")
    from pydantic import TypeAdapter

    from loom_dagster.spec.blocks import Duration

    try:
        found: timedelta = TypeAdapter(Duration).validate_python(text)
    except ValueError as error:
        raise Misconfigured(
            f"--timeout takes a time, not `{text}`", fix="write 90s, 30m, 2h or 1d"
        ) from error
    return found.total_seconds()


def until_settled(
    loom: Loom, start: Start, keys: Mapping[str, Sequence[str]], timeout: float | None, watch: Watch
) -> list[Ended]:
    """Start what ``keys`` names, and start again, after its batches, what waited for them or for one that did. Ends
    early on Ctrl-C: the batches go on at the provider."""
    from loom_dagster.cli.interrupts import interruptible
    from loom_dagster.pipeline import Stop

    began, found = loom.clock.monotonic(), dict[tuple[str, str], Ended]()
    todo = keys
    while todo:
        found |= {(each.name, each.partition): each for each in start(todo)}
        waiting = {at: each for at, each in found.items() if each.waits}
        batches = {b.batch for each in waiting.values() if each.outcome for b in each.outcome.batches}
        if not batches:
            break
        left = None if timeout is None else timeout - (loom.clock.monotonic() - began)
        stop = Stop()
        work = partial(loom.batching.wait, batches, stop, timeout=left, say=watch.say)
        try:
            if not interruptible(work, stop, lambda _: watch.say("The batches go on at the provider.")):
                if stop.requested:
                    found |= {at: replace(each, stopped=True) for at, each in waiting.items()}
                break
        except LoomError as error:
            found |= {(n, p): Ended(name=n, partition=p, error=error) for n, p in waiting}
            break
        todo = _again(keys, found)
    return list(found.values())


def _again(keys: Mapping[str, Sequence[str]], found: Mapping[tuple[str, str], Ended]) -> dict[str, list[str]]:
    """What waited, and what was not run because of it."""
    again: dict[str, list[str]] = {}
    for name, partitions in keys.items():
        some = [p for p in partitions if (each := found.get((name, p))) is None or each.not_begun]
        if some:
            again[name] = some
    return again
