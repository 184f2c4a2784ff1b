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
    """One a pipeline, called like it, and one a tag: `tag_nightly`, `tag_team_reviews`. None is
    resolved before someone asks for it."""
    names, tagged = Keys(), defaultdict[tuple[str, str], list[Lane]](list)
    for lane in lanes:
        names.claim(lane.name, [lane.identifier])
        for label in lane.file.spec.tags.items():
            tagged[label].append(lane)
    jobs = [pipeline_job(lane, translator) for lane in lanes]
    for (tag, value), members in sorted(tagged.items()):
        said = f"{tag}: {value}" if value else tag
        wanted = "_".join(("tag", identifier(tag), *((identifier(value),) if value else ())))
        [name] = names.claim(f"tag:{said}", [wanted])
        jobs.append(
            dg.define_asset_job(
                name.replace("-", "_"),
                selection=_made_by(members, translator),
                description=f"Runs the pipelines tagged `{said}`: {', '.join(lane.name for lane in members)}.",
            )
        )
    return jobs


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
