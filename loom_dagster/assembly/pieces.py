"""The partitions of a pipeline: which one is meant, what of another pipeline belongs to it, and what there is to say of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.partitions import Partitioning
from loom_dagster.release import Releases
from loom_dagster.spec import PipelineFile
from loom_dagster.spec.models import Load, Pipeline

__all__ = [
    "check_partitions",
    "chosen_partition",
    "load_to_check",
    "partitioning_of",
    "released_table",
    "said_of",
]


def partitioning_of(spec: Pipeline) -> Partitioning | None:
    """What partitions a pipeline has; None without any."""
    block = spec.extract.partitions
    return None if block is None else block.partitioning()


def chosen_partition(spec: Pipeline, key: str, now: datetime, *, validating: bool = False) -> str:
    """``key``, which is one of the pipeline's; "" where it has none. ``validating``: one that stands for all. Raises
    Misconfigured for one that is not there or not over, and where one is missing."""
    parts = partitioning_of(spec)
    if parts is None:
        if key:
            what = f"`{spec.name}` has no partitions, so there is no `{key}`"
            raise Misconfigured(what, fix="leave --partition out")
        return ""
    if not key:
        newest = parts.newest(now) or parts.first
        if validating:
            return newest
        raise Misconfigured(
            f"`{spec.name}` is run partition by partition, and none is named",
            why=f"its partitions are {parts.words}",
            fix=f"--partition {newest}",
        )
    parts.check(key, now, of=spec.name)
    return key


def released_table(releases: Releases, above: Pipeline, partition: str, now: datetime) -> Path:
    """What a pipeline reads of ``above``: the table of its own ``partition``; without one, all partitions as one table.
    Raises Misconfigured when nothing is released."""
    parts = partitioning_of(above)
    if parts is None or partition:
        return releases.read_transformed(above.name, partition if parts is not None else "")
    return releases.read_together(above.name, parts.keys(now), keyed=bool(above.extract.key))


def check_partitions(file: PipelineFile, now: datetime) -> list[Problem]:
    """What time has to say of them."""
    parts = partitioning_of(file.spec)
    if parts is None or parts.count(now):
        return []
    return [
        Problem(
            what=f"there is no complete partition yet: the first one, {parts.first}, is not over",
            where=file.where("extract", "partitions"),
            fix="if that is not meant, see `start` and `timezone`",
            level="warning",
        )
    ]


def load_to_check(spec: Pipeline) -> Load:
    """How a destination is checked: beside one partition there are others, as beside what is appended."""
    return spec.load if spec.extract.partitions is None else spec.load.model_copy(update={"mode": "append"})


def said_of(spec: Pipeline, now: datetime) -> list[str]:
    """For people: how many, from which to which."""
    parts = partitioning_of(spec)
    if parts is None:
        return []
    count, newest = parts.count(now), parts.newest(now)
    if newest is None:
        return [f"{parts.words}: none is complete yet, the first is {parts.first}"]
    return [f"{parts.words}: {count:,} complete, from {parts.first} to {newest}"]
