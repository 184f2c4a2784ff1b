"""The workers of a run as Ray actors, and the till that they share."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loom_dagster.cluster.actors import TillActor, Tills, WorkerActor
from loom_dagster.cluster.blocks import Block, Made
from loom_dagster.cluster.connect import place_of, silent
from loom_dagster.cluster.cut import aside, is_connected, until_cut
from loom_dagster.cluster.hands import Gone, Hand
from loom_dagster.cluster.news import News
from loom_dagster.cluster.worker import Kits
from loom_dagster.errors import LoomError, Misconfigured, Outage

__all__ = ["RayCrew"]

_SHORT = 10.0  # seconds between two looks at whether there is a place for every worker
_PLACE, _START = 60.0, 300.0  # seconds for the first to find a place, and to start there
_LOOK = 2.0  # seconds between two looks at till and cluster
_SILENT = 20.0  # seconds without an answer after which till or cluster are gone


@dataclass(eq=False)
class RayHand:
    """One worker."""

    name: str
    actor: Any
    ray: Any

    async def settle(self, block: Block) -> Made | None:
        made: Made | None = await _reply(self.ray, self.actor, "settle", block)
        return made

    async def news(self) -> News:
        news: News = await _reply(self.ray, self.actor, "news")
        return news

    async def halt(self, error: Misconfigured) -> None:
        await _reply(self.ray, self.actor, "halt", error)

    async def stop(self) -> None:
        await _reply(self.ray, self.actor, "stop")

    async def leave(self) -> None:
        await _reply(self.ray, self.actor, "leave")

    def kill(self) -> None:
        _kill(self.ray, self.actor)


class RayCrew:
    """Hires workers for one run; ``till`` is open. ``outside``: the driver is no part of the cluster."""

    def __init__(
        self,
        ray: Any,
        *,
        run_id: str,
        wanted: int,
        address: str,
        kits: Kits,
        tills: Tills,
        bundle: bytes,
        environ: Mapping[str, str],
        pinned: bool,
    ) -> None:
        self.wanted = wanted
        self._ray, self._address, self._kits, self._tills = ray, address, kits, tills
        self._environ = dict(environ)
        self._bundle = ray.put(bundle)
        self._names = itertools.count(1)
        self._crew = f"{run_id}-{uuid.uuid4().hex[:6]}"
        self._placed, self._lost = 0, False
        self._hands: set[Hand] = set()
        self._till = self._place_till(run_id, pinned=pinned)

    def _place_till(self, run_id: str, *, pinned: bool) -> Any:
        options: dict[str, Any] = {
            "name": f"loom-till-{run_id}-{self._crew[-6:]}",
            "num_cpus": 0,
            "max_restarts": -1,
            "max_task_retries": -1,
            "max_concurrency": 100_000,  # exchanges of all workers may wait for `open`, which must not wait for them
        }
        if pinned:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            here = self._ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=False)
        return self._ray.remote(TillActor).options(**options).remote()

    async def open(self) -> None:
        """Open the till. Raises what it raises."""
        try:
            async with asyncio.timeout(_START):
                await _reply(self._ray, self._till, "open", self._tills)
        except TimeoutError:
            raise _gone("the run's till cannot be opened", f"no answer in {_START:.0f} seconds") from None

    async def hire(self) -> RayHand:
        name = f"{self._crew}-{next(self._names)}"
        options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}

        async def place() -> Any:
            return self._ray.remote(WorkerActor).options(**options).remote(name)

        actor = await until_cut(place(), self._ray)
        hand = RayHand(name, actor, self._ray)
        self._hands.add(hand)
        await _reply(self._ray, actor, "here")
        self._placed += 1
        await _reply(self._ray, actor, "begin", self._kits, self._bundle, self._environ, self._till)
        return hand

    async def lost(self, hand: Hand) -> None:
        self._hands.discard(hand)
        await _reply(self._ray, self._till, "lost", hand.name)

    async def books(self) -> Any:
        """See ``Till.books``."""
        return await _reply(self._ray, self._till, "books")

    async def close(self) -> None:
        """End all that is left of it."""
        if self._lost:
            return
        for hand in self._hands:
            hand.kill()
        try:
            async with asyncio.timeout(_SILENT):
                await _reply(self._ray, self._till, "close")
        except (Gone, LoomError, TimeoutError):
            pass  # its books are on disk, and whoever opens them next counts what was in flight
        _kill(self._ray, self._till)

    async def watch(self, note: Callable[[str], None]) -> None:
        try:
            await asyncio.gather(self._watch_places(note), self._watch_till(), self._watch_cluster())
        except Outage:
            self._lost = True
            raise

    async def _watch_places(self, note: Callable[[str], None]) -> None:
        """Whether there are CPUs for those who wait for one. Who has one, and is slow to start, is waited for."""
        waited, told = 0.0, False
        while self._placed < self.wanted and waited < _START:
            await asyncio.sleep(_SHORT)
            waited += _SHORT
            free = await until_cut(aside(self._free), self._ray)
            missing = self.wanted - self._placed
            if missing and free < 1 and not told:
                told = True
                note(
                    f"{missing} of {self.wanted} workers wait for a CPU: each takes one, and the cluster has none free"
                )
            if not self._placed and (waited >= _START or (waited >= _PLACE and free < 1)):
                raise Misconfigured(
                    f"no worker found a place on the cluster in {waited:.0f} seconds",
                    why=f"{self.wanted} are wanted, each takes one CPU, and {free:g} are free",
                    fix="add nodes, or wait until others have ended",
                    kind="cluster",
                )

    async def _watch_till(self) -> None:
        """Opens it again when it was started anew."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                async with asyncio.timeout(_SILENT):
                    await _reply(self._ray, self._till, "open", self._tills)
            except TimeoutError:
                raise _gone("the run's till cannot be reached", None) from None
            except Gone as gone:
                raise _gone(
                    "the run's till is gone, and there is no place to start it again", gone.why
                ) from None

    async def _watch_cluster(self) -> None:
        """Ray ends a process that has lost its cluster for a minute, without a word: we are gone before that."""
        host, port = (
            place_of(self._address) or place_of(self._ray.get_runtime_context().gcs_address) or ("", 0)
        )
        away = 0.0
        while True:
            await asyncio.sleep(_LOOK)
            if not await aside(lambda: is_connected(self._ray)):
                raise _gone(f"the connection to the Ray cluster at `{self._address}` is lost", None)
            why = await aside(lambda: silent(host, port))
            away = away + _LOOK if why else 0.0
            if why and away >= _SILENT:
                raise _gone(f"the Ray cluster at `{self._address}` is gone", why)

    def _free(self) -> float:
        return float(self._ray.available_resources().get("CPU", 0.0))


def _gone(what: str, why: str | None) -> Outage:
    return Outage(
        what,
        why=why,
        fix="start the run again when it is back; answers already paid for are kept",
        kind="cluster",
    )


def _kill(ray: Any, actor: Any) -> None:
    """Whatever has become of it, or of the cluster."""
    with contextlib.suppress(Exception):
        ray.kill(actor)


async def _reply(ray: Any, actor: Any, method: str, *given: Any) -> Any:
    """What an actor's method gave or raised. Raises Gone when its process has died, and Misconfigured when its node has
    no loom_dagster that could begin. Returns never when the connection to the cluster is cut."""

    async def reply() -> Any:
        return await asyncio.wrap_future(getattr(actor, method).remote(*given).future())

    try:
        return await until_cut(reply(), ray)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, LoomError) else error) from None
    except ray.exceptions.RayError as error:
        if missing := re.search(r"(ModuleNotFoundError|ImportError): (.*)", str(error)):
            raise Misconfigured(
                "a node of the cluster has not what a worker needs",
                why=missing[2].strip(),
                fix="install the same version of 'loom-dagster[ray]', and what it needs, on every node",
                kind="cluster",
            ) from None
        raise Gone(_cause(error)) from None


def _cause(error: Exception) -> str:
    """The part of Ray's words that says why; what might have been the reason is left out."""
    said = " ".join(str(error).split())
    if "OUT_OF_MEMORY" in said or "OutOfMemory" in type(error).__name__ or "low on memory" in said:
        return "its node ran out of memory, and Ray ended it"
    if found := re.search(
        r"Worker exit type: (\w+) Worker exit detail: (.*?)(?: Some common| There are some|$)", said
    ):
        return f"its process ended ({found[1]}: {found[2].rstrip('. ')})"
    if found := re.search(r"The actor (?:is dead|died) because .*?\.", said):
        return found[0].rstrip(".")
    return said[:300]
