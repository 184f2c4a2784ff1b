"""Projects that are run in this process, and what is then known of their records."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.tracing import trace
from loom_dagster.settings import RunOptions
from tests.journeys.project import Project


class Traced(Project):
    """A project on disk; runs and questions in this process, with its files as they are at that moment."""

    def open(self) -> Loom:
        return Loom.open(self.root, {**self.environ})

    def ran(self, name="classify", *, partition="", load=True, **options):
        """The id of a run."""
        loom = self.open()
        outcome = loom.run(name, RunOptions(**options), partition=partition)
        if load and outcome.released and not outcome.trial:
            loom.load(name, partition=partition)
        return outcome.run_id

    def trace(self, record_id, name="classify", **where):
        return trace(self.open(), name, record_id, **where)

    def folder(self, run, name="classify"):
        [found] = (self.root / ".loom" / "datasets").glob(f"*/*/{run}")
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Traced:
    """Four reviews, of which the offline model gets two wrong: ``label`` is what was right."""
    shop = Traced(tmp_path / "shop")
    shop.write(
        "prompts/classify.txt",
        "---\nversion: v1\n---\n{{ context.rules }}\nReview: {{ input.text }}\nAnswer with a sentiment.\n",
    )
    shop.write("context/rules.md", "---\nversion: r1\n---\nBe fair.\n")
    shop.write(
        "data/reviews.csv",
        "id,text,label\n" + "".join(f"r{i},text {i},{label}\n" for i, label in enumerate(_LABELS)),
    )
    shop.pipeline(
        extract={"source": "data/reviews.csv", "key": "id"},
        evaluate={
            "evaluators": [
                {"name": "agrees", "type": "exact_match", "field": "sentiment", "reference_field": "label"},
                {
                    "name": "long enough",
                    "type": "regex",
                    "field": "sentiment",
                    "pattern": "....",
                    "threshold": 0.5,
                },
            ]
        },
    )
    return shop


_LABELS = ("positive", "negative", "positive", "nothing")
