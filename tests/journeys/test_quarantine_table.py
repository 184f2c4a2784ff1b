"""`load.quarantine`: the quarantine as a table of its own, kept up with what becomes of each record."""

from __future__ import annotations

import json

import pytest

from tests.journeys.project import Project
from tests.servers.llm import LLMServer

pytestmark = pytest.mark.service

TEXTS = {f"r{i}": f"text {i}" for i in range(12)}


def rows(project: Project) -> dict[str, dict]:
    return {row["record_id"]: row for row in project.table("out/quarantined.parquet")}


def test_the_table_has_every_failure_and_what_became_of_it(project: Project) -> None:
    labels = dict.fromkeys(TEXTS.values(), "positive")
    with LLMServer(
        labels=labels,
        find=r"Review \w+: (.*)",
        field="sentiment",
        faults={"refusal": 0.5},
        mode="sticky",
        seed=5,
    ) as server:
        project.environ = {"OPENAI_API_KEY": "k"}
        project.reviews(TEXTS)
        project.pipeline(
            transform={"prompt": "prompts/classify.txt", "model": "openai/any", "api_base": server.base_url},
            load={"destination": "out/classify.parquet", "quarantine": "out/quarantined.parquet"},
        )
        project.run()
        failed = {
            e["record_id"] for e in project.loom("quarantine", "list", "classify", "--json").json["records"]
        }
        assert 1 < len(failed) < 12
        table = rows(project)
        assert set(table) == failed
        first = table[min(failed)]
        assert json.loads(first["record"]) == {"id": first["record_id"], "text": TEXTS[first["record_id"]]}
        assert (first["pipeline"], first["stage"], first["kind"]) == ("classify", "transform", "refused")
        assert first["resolved_at"] is None and first["quarantined_at"] is not None
        one, *others = sorted(failed)
        project.loom("quarantine", "resolve", "classify", one, "--why", "a duplicate")
        assert rows(project)[one]["resolution"] == "a duplicate"
        server.change(faults={})
        assert project.loom("quarantine", "retry", "classify", *others).code == 0
    table = rows(project)
    assert set(table) == failed
    assert all("passed in run" in table[i]["resolution"] for i in others)
    assert json.loads(table[one]["record"])["id"] == one


def test_a_table_that_cannot_be_written_is_said_and_made_up_for_later(project: Project) -> None:
    with LLMServer(text='{"sentiment": "odd"}') as server:
        project.environ = {"OPENAI_API_KEY": "k"}
        project.reviews(TEXTS)
        blocks = {
            "transform": {
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
            },
            "evaluate": {"on_batch_failure": "load_passed"},
        }
        project.write("out/quarantined.parquet", b"not Parquet")
        project.pipeline(
            **blocks, load={"destination": "out/c.parquet", "quarantine": "out/quarantined.parquet"}
        )
        done = project.run()
        assert done.code == 1
        assert "the quarantine's table was not written" in done.outcome["stopped_by"]
        (project.root / "out/quarantined.parquet").unlink()
        project.loom("quarantine", "resolve", "classify", "r0", "--why", "seen")
    assert set(rows(project)) == set(TEXTS)
