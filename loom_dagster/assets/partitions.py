"""The partitions of a pipeline in Dagster: their definition, and which of them a run is asked for."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import dagster as dg

from loom_dagster.assets.graph import Node
from loom_dagster.partitions import Calendar, Listed, Partitioning

__all__ = ["PARTITION", "RANGE_START", "asked_keys", "mapping_of", "partitioning_of", "partitions_definition"]

PARTITION, RANGE_START, _RANGE_END = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


def partitioning_of(node: Node) -> Partitioning | None:
    """The partitions of an asset of a pipeline; None without any."""
    block = None if node.file is None else node.file.spec.extract.partitions
    return None if block is None else block.partitioning()


@functools.lru_cache(maxsize=256)
def partitions_definition(parts: Partitioning) -> dg.PartitionsDefinition[str]:
    """The same partitions, of the same names, as Dagster knows them. One for all who have the same: Dagster compares them
    again and again."""
    if isinstance(parts, Listed):
        return dg.StaticPartitionsDefinition(list(parts.values))
    return dg.TimeWindowPartitionsDefinition(
        start=parts.start, end=parts.end, fmt=parts.form, timezone=parts.timezone, cron_schedule=parts.cron
    )


def mapping_of(node: Node, reads: Node) -> dg.PartitionMapping | None:
    """Which partitions of ``reads`` one of ``node`` depends on: the same one, and all where it reads all of them; None:
    as Dagster does by itself."""
    ours, theirs = partitioning_of(node), partitioning_of(reads)
    if theirs is None or ours is None:
        return None
    if ours.within(theirs) is not None:
        return dg.AllPartitionMapping()
    return dg.TimeWindowPartitionMapping() if isinstance(ours, Calendar) else dg.IdentityPartitionMapping()


def asked_keys(definition: dg.PartitionsDefinition[str] | None, tags: Mapping[str, str]) -> Sequence[str]:
    """Which partitions a run with these tags is of, in order; of none: an empty text where there are no partitions, else
    nothing."""
    if definition is None:
        return [""]
    if PARTITION in tags:
        return [tags[PARTITION]]
    if RANGE_START in tags:
        return definition.get_partition_keys_in_range(
            dg.PartitionKeyRange(tags[RANGE_START], tags[_RANGE_END])
        )
    return []
