"""What came to a pipeline since a run last read its source: told without reading it.

A run notes how its source looks just before it opens it (``taken``). Whoever looks later compares: what came
after that note is new, also when it came while that run was reading. So nothing is missed; at worst something
is looked at twice, and answers are never paid for twice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loom_dagster.assembly.increments import start_of
from loom_dagster.assembly.places import source_place
from loom_dagster.connectors import State, Wanted, Watchable, Window, source_at
from loom_dagster.errors import Misconfigured
from loom_dagster.extract import discreetly
from loom_dagster.prompts import Prompt
from loom_dagster.records import digest
from loom_dagster.release import Releases
from loom_dagster.settings import RunOptions, Settings
from loom_dagster.spec.models import Pipeline
from loom_dagster.watermark import Cursor, Watermark

__all__ = ["Arrived", "Looking", "arrived", "prompt_version", "taken_now"]

Taken = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """``version`` is equal as long as nothing comes; ``new``: something is there that no run has read; ``empty``:
    nothing is there at all. ``highest`` and ``taken`` are for the note of a run."""

    version: str
    new: bool
    empty: bool = False
    highest: Cursor = None
    taken: Taken | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """What it takes to look at the source of a pipeline, or at a ``partition`` of it. ``taken``: the newest run's note
    of it; ``watermark``: how far its loads came; ``above``: the pipeline it reads."""

    spec: Pipeline
    partition: str
    above: Pipeline | None
    settings: Settings
    releases: Releases
    watermark: Watermark | None
    taken: Taken | None


def arrived(looking: Looking) -> Arrived:
    """How the source looks now. Raises Misconfigured for one that cannot be watched, Transient while it is away."""
    if looking.above is not None:
        return _of_pipeline(looking, looking.above)
    since: Cursor = None
    if looking.taken is not None and "since" in looking.taken:
        since = Watermark.from_dict(looking.taken["since"]).cursor
    now = _state(looking, since)
    if looking.partition and not now.files:
        return _plain(looking, digest("partition:1", _counts(now)), empty=now.rows == 0)
    if _cursor(looking.spec) is not None and not now.files:
        return _of_table(looking, now, since)
    files = sorted((name, list(state)) for name, state in now.files.items())
    return _plain(looking, digest("files:1", files), empty=not files)


def taken_now(looking: Looking) -> Taken:
    """The note of a run that is about to open the source. Raises like ``arrived``."""
    now = arrived(looking)
    if not now.new and looking.taken is not None:
        return looking.taken
    note: dict[str, Any] = {"version": now.version}
    if now.highest is not None:
        # rows that come late count from where the next run will read on
        since = _late(looking.spec, now.highest)
        note |= {"since": Watermark(cursor=since).as_dict(), **_counts(_state(looking, since))}
    return note


def prompt_version(prompt: Prompt) -> str:
    """Changes with the prompt's file and with its contexts."""
    return digest("prompt:1", prompt.digest, prompt.context_digest).hex()[:16]


def _of_pipeline(looking: Looking, above: Pipeline) -> Arrived:
    """A new batch is one that was released, by its gate or by a person. Increments add to what is there; another
    whole batch is new when it differs."""
    partition: str | None = looking.partition if above.extract.partitions else ""
    if above.extract.partitions and not looking.partition:
        partition = None  # all of them are read
    newest: dict[str, Any] = {}
    for snapshot in looking.releases.snapshots(above.name, partition):
        if snapshot.released_at is not None and not snapshot.partition.startswith("~"):
            which = snapshot.id if snapshot.increment else ""
            newest.setdefault(snapshot.partition, [snapshot.data_version, which])
    return _plain(looking, digest("released:1", newest), empty=not newest)


def _of_table(looking: Looking, now: State, since: Cursor) -> Arrived:
    if looking.taken is not None and _counts(now) == {k: looking.taken.get(k) for k in _counts(now)}:
        return Arrived(version=looking.taken["version"], new=False, highest=now.highest)
    came = [_counts(now), Watermark(cursor=since).as_dict()]
    version = digest("table:1", came).hex()[:16]
    nothing = now.rows == 0
    return Arrived(version=version, new=not nothing, empty=nothing, highest=now.highest)


def _plain(looking: Looking, found: bytes, *, empty: bool = False) -> Arrived:
    version = found.hex()[:16]
    known = looking.taken is not None and looking.taken["version"] == version
    return Arrived(version=version, new=not known and not empty, empty=empty)


def _counts(state: State) -> dict[str, Any]:
    """As JSON gives it back."""
    highest = Watermark(cursor=state.highest).as_dict()["cursor"]
    return {"rows": state.rows, "values": state.values, "highest": highest}


def _cursor(spec: Pipeline) -> str | None:
    return spec.extract.incremental.cursor if spec.extract.incremental else None


def _state(looking: Looking, since: Cursor = None) -> State:
    spec = looking.spec
    place = source_place(spec, looking.settings, looking.partition)
    source = source_at(place)
    if not isinstance(source, Watchable):
        raise Misconfigured(
            f"`{place.scheme}://` cannot be watched: it does not tell what is new without being read",
            fix="run at set times: `trigger: {cron: ...}`",
        )
    start = start_of(spec, RunOptions(), looking.watermark, partition=looking.partition)
    window = start.window
    if not looking.partition:  # from where on rows may still come, which is not where a run reads on
        cursor = _cursor(spec)
        window = None if since is None or cursor is None else Window(column=cursor, start=since)
    look = functools.partial(
        source.state, place, Wanted(extract=spec.extract, values=start.values, window=window)
    )
    return discreetly(look) if spec.extract.redact else look()


def _late(spec: Pipeline, highest: Cursor) -> Cursor:
    assert spec.extract.incremental is not None  # noqa: S101 - only asked for where there is a cursor
    try:
        return Watermark(cursor=highest).start(spec.extract.incremental.lag)
    except TypeError as error:
        raise Misconfigured("`incremental.lag` cannot be taken from the cursor", why=str(error)) from error
