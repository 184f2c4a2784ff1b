"""Where an output came from, and what its pipeline hangs together with, as documents for people and tools."""

from loom_dagster.lineage.diff import changes_between, text_diff
from loom_dagster.lineage.record import answer_documents, explanation_in, score_documents

__all__ = [
    "answer_documents",
    "changes_between",
    "explanation_in",
    "score_documents",
    "text_diff",
]
