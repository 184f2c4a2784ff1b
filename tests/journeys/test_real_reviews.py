"""Real review sentences, a provider that errs: what comes out is what should."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.journeys.project import Project, ids
from tests.servers.llm import LLMServer

DATA = Path(os.environ.get("LOOM_DATA_DIR", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.skipif(
    not (DATA / "sentiment2.parquet").exists(), reason="LOOM_DATA_DIR has no sentiment2.parquet"
)
def test_sentiment_sentences_with_mistakes_malformed_answers_and_errors(project: Project) -> None:
    source = DATA / "sentiment2.parquet"
    rows = pq.read_table(source).to_pylist()
    project.write("prompts/classify.txt", "Is this review positive or negative?\n\nText: {{ input.text }}")
    project.environ = {"OPENAI_API_KEY": "k"}
    labels = {r["text"].strip(): r["label"] for r in rows}
    with LLMServer(
        process=True,
        labels=labels,
        find=r"(?s)Text: (.*)",
        field="sentiment",
        mistakes=0.05,
        faults={"malformed": 0.01, "wrong_schema": 0.01, "429": 0.01, "500": 0.01},
        seed=3,
    ) as server:
        project.pipeline(
            extract={"source": str(source), "key": "id"},
            transform={"prompt": "prompts/classify.txt", "model": "openai/any", "api_base": server.base_url},
            evaluate={
                "evaluators": [{"type": "exact_match", "field": "sentiment", "reference_field": "label"}],
                "batch_threshold": 0.9,
            },
        )
        run = project.run()
        stats = server.stats()
    outcome = run.outcome
    assert run.code == 0, run.err
    passed, kept = (
        ids(outcome["transformed_path"], "_loom_record_id"),
        ids(outcome["quarantine_path"], "record_id"),
    )
    assert Counter(passed) + Counter(kept) == Counter(str(r["id"]) for r in rows)
    wrong = pq.read_table(outcome["quarantine_path"]).to_pylist()
    mistaken = [q for q in wrong if q["kind"] == "gate_failed"]
    assert 0.03 * len(rows) < len(mistaken) < 0.07 * len(rows)
    assert {q["kind"] for q in wrong} <= {"gate_failed", "malformed_answer", "wrong_schema"}
    truth = {str(r["id"]): r["label"] for r in rows}
    table = pq.read_table(outcome["transformed_path"]).to_pylist()
    assert all(truth[t["_loom_record_id"]] == t["sentiment"] for t in table)
    assert stats["by_status"].get("429", 0) > 0 and stats["by_status"].get("500", 0) > 0
