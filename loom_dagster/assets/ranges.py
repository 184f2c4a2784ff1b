"""One step, several partitions: what Dagster is told of each, and of those that failed.

Dagster makes one event a partition of a step's output, so an output is yielded only when every partition of the
step has something to show. Else the events are logged one by one, and the output is left out: what did not happen
never looks as if it had. Dagster skips every step that reads an output that was left out, checks and load included; so
what such a range has made is loaded by the next one, or by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from loom_dagster.records import digest

__all__ = ["Made", "backfill_policy", "of", "of_range", "together", "told", "without_partition"]

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Made:
    """An asset of one partition ("": there are none) that a step has made."""

    asset: dg.AssetKey
    partition: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data_version: str = ""


def backfill_policy(
    definition: dg.PartitionsDefinition[str] | None, per_run: int | None
) -> dg.BackfillPolicy | None:
    """How many partitions one run of a backfill goes through; None: all. Several runs are what run launchers spread
    over machines. None where there are no partitions."""
    if definition is None:
        return None
    return dg.BackfillPolicy.single_run() if per_run is None else dg.BackfillPolicy.multi_run(per_run)


def of(key: str) -> dict[str, str]:
    """How a partition is named to a project; nothing where there are none."""
    return {"partition": key} if key else {}


def told(context: dg.AssetExecutionContext, keys: Sequence[str], made: Sequence[Made]) -> Iterator[Any]:
    """The events for all that was made."""
    by_asset: dict[dg.AssetKey, list[Made]] = {}
    for one in made:
        by_asset.setdefault(one.asset, []).append(one)
    for asset, some in by_asset.items():
        if len(some) < len(keys):
            for one in some:
                tags = {"dagster/data_version": one.data_version} if one.data_version else None
                yield dg.AssetMaterialization(
                    asset, partition=one.partition, metadata=one.metadata, tags=tags
                )
            continue
        versions = [one.data_version for one in some if one.data_version]
        version = (
            versions[0] if len(some) == 1 and versions else digest(versions).hex()[:32] if versions else ""
        )
        if len(some) > 1:
            for one in some:
                context.add_asset_metadata(one.metadata, asset_key=asset, partition_key=one.partition)
        yield dg.MaterializeResult(
            asset,
            metadata=some[0].metadata if len(some) == 1 else None,
            data_version=dg.DataVersion(version) if version else None,
        )


def together(failed: Mapping[str, dg.Failure], number: int) -> dg.Failure:
    """Several failures as one that names their partitions; a single one of a single partition stays as it is."""
    if number == 1:
        return next(iter(failed.values()))
    lines = [f"{len(failed)} of {number} partitions failed; the others are kept:"]
    lines += [f"- {key}: {failure.description}" for key, failure in list(failed.items())[:_SHOWN]]
    if len(failed) > _SHOWN:
        lines.append(f"- and {len(failed) - _SHOWN} more")
    return dg.Failure(
        "\n".join(lines), allow_retries=any(failure.allow_retries for failure in failed.values())
    )


def without_partition(name: str) -> dg.Failure:
    """Of a run that is of no partition, though there are some."""
    return dg.Failure(f"`{name}` is run partition by partition, and the run names none", allow_retries=False)


def of_range(each: Mapping[str, dg.AssetCheckResult]) -> dg.AssetCheckResult:
    """One check over several partitions as one result: it names those that failed, and blocks only what no partition
    would let through."""
    first = next(iter(each.values()))
    failed = {key: result for key, result in each.items() if not result.passed}
    blocked = [result for result in failed.values() if result.severity == dg.AssetCheckSeverity.ERROR]
    words = f"{len(each) - len(failed)} of {len(each)} partitions passed"
    if failed:
        named = [f"- {key}: {result.description}" for key, result in list(failed.items())[:_SHOWN]]
        more = [f"- and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []
        words = "\n".join([f"{words}; not these:", *named, *more])
    error = bool(blocked) and len(blocked) == len(each)
    return dg.AssetCheckResult(
        asset_key=first.asset_key,
        check_name=first.check_name,
        passed=not failed,
        description=words,
        metadata={
            "partitions": len(each),
            "partitions_passed": len(each) - len(failed),
            "failed": ", ".join(failed),
        },
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
    )
