"""Where an output came from, and what its pipeline hangs together with, as documents for people and tools."""

from loom_dagster.lineage.datasets import dataset_name
from loom_dagster.lineage.diff import changes_between, text_diff
from loom_dagster.lineage.facets import Dataset, Told
from loom_dagster.lineage.mermaid import pipeline_chart, run_chart
from loom_dagster.lineage.openlineage import pipeline_event, run_events
from loom_dagster.lineage.record import answer_documents, explanation_in, score_documents

__all__ = [
    "Dataset",
    "Told",
    "answer_documents",
    "changes_between",
    "dataset_name",
    "explanation_in",
    "pipeline_chart",
    "pipeline_event",
    "run_chart",
    "run_events",
    "score_documents",
    "text_diff",
]
