"""A job a pipeline: what a sensor or a schedule starts, and what a person may launch as one thing."""

from __future__ import annotations

from typing import Any

import dagster as dg

from loom_dagster.assets.graph import Lane
from loom_dagster.assets.translator import LoomTranslator

__all__ = ["pipeline_job"]


def pipeline_job(lane: Lane, translator: LoomTranslator) -> Any:
    """Everything a run of the pipeline makes and checks, called like the pipeline."""
    nodes = (lane.transformed, lane.quarantine, lane.loaded)
    return dg.define_asset_job(
        lane.identifier,
        selection=dg.AssetSelection.assets(*(translator.key(node) for node in nodes)),
        description=f"Runs `{lane.name}`: extract, transform, evaluate, check, load.",
        tags={"loom/pipeline": lane.identifier},
    )
