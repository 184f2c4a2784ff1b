"""Which partition of a pipeline is meant."""

from __future__ import annotations

from datetime import datetime

from loom_dagster.errors import Misconfigured
from loom_dagster.partitions import Partitioning
from loom_dagster.spec.models import Pipeline

__all__ = ["chosen_partition", "partitioning_of"]


def partitioning_of(spec: Pipeline) -> Partitioning | None:
    """What partitions a pipeline has; None without any."""
    block = spec.extract.partitions
    return None if block is None else block.partitioning()


def chosen_partition(spec: Pipeline, key: str, now: datetime) -> str:
    """``key``, which is one of the pipeline's; "" where it has none. Raises Misconfigured for one that is not there or
    not over, and where one is missing."""
    parts = partitioning_of(spec)
    if parts is None:
        if key:
            what = f"`{spec.name}` has no partitions, so there is no `{key}`"
            raise Misconfigured(what, fix="leave --partition out")
        return ""
    if not key:
        raise Misconfigured(
            f"`{spec.name}` is run partition by partition, and none is named",
            why=f"its partitions are {parts.words}",
            fix=f"--partition {parts.newest(now) or parts.first}",
        )
    parts.check(key, now, of=spec.name)
    return key
