"""Jobs: what a sensor or a schedule starts, and what a person may launch as one thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.keys import Keys, identifier, tag_value
from loom_dagster.assets.translator import LoomTranslator

if TYPE_CHECKING:
    # Dagster has no public name for what define_asset_job() gives
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

__all__ = ["jobs_of", "pipeline_job"]


def jobs_of(lanes: Sequence[Lane], translator: LoomTranslator) -> list[UnresolvedAssetJobDefinition]:
    """One a pipeline, called like it, and one a tag: `tag_nightly`, `tag_team_reviews`. Where pipelines of a
    tag have different partitions, those of each have one: `tag_nightly_daily`. None is resolved before someone
    asks for it."""
    names, tagged = Keys(), defaultdict[tuple[str, str], list[Lane]](list)
    for lane in lanes:
        names.claim(lane.name, [lane.identifier])
        for label in lane.file.spec.tags.items():
            tagged[label].append(lane)
    jobs = [pipeline_job(lane, translator) for lane in lanes]
    for (tag, value), members in sorted(tagged.items()):
        said = f"{tag}: {value}" if value else tag
        wanted = "_".join(("tag", identifier(tag), *((identifier(value),) if value else ())))
        groups = _by_partitions(members)
        for kind, group in groups.items():
            suffix = f"_{kind[0]}" if kind[0] and len(groups) > 1 else ""
            [name] = names.claim(f"tag:{said}:{kind}", [wanted + suffix])
            jobs.append(
                dg.define_asset_job(
                    name.replace("-", "_"),
                    selection=_made_by(group, translator),
                    description=f"Runs the pipelines tagged `{said}`: {', '.join(lane.name for lane in group)}.",
                )
            )
    return jobs


def _by_partitions(lanes: Iterable[Lane]) -> dict[tuple[str, str], list[Lane]]:
    """A job has one kind of partitions, or none. By (its name, its block); none comes first."""
    found: dict[tuple[str, str], list[Lane]] = {("", ""): []}
    for lane in lanes:
        block = lane.file.spec.extract.partitions
        kind = ("", "") if block is None else (getattr(block, "every", None) or "partitions", repr(block))
        found.setdefault(kind, []).append(lane)
    return {kind: group for kind, group in found.items() if group}


def pipeline_job(lane: Lane, translator: LoomTranslator) -> UnresolvedAssetJobDefinition:
    """Everything a run of the pipeline makes and checks, called like the pipeline."""
    return dg.define_asset_job(
        lane.identifier,
        selection=_made_by([lane], translator),
        description=f"Runs `{lane.name}`: extract, transform, evaluate, check, load.",
        tags={"loom/pipeline": tag_value(lane.name)},
    )


def _made_by(lanes: Iterable[Lane], translator: LoomTranslator) -> dg.AssetSelection:
    nodes = [node for lane in lanes for node in (lane.transformed, lane.quarantine, lane.loaded)]
    return dg.AssetSelection.assets(*(translator.key(node) for node in nodes))
