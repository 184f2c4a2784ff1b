"""Each defect that was seen when the first Loom was run, and the opposite of it."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from tests.journeys.project import Project, ids
from tests.servers.llm import LLMServer

pytestmark = pytest.mark.service

TEXTS = {f"r{i}": f"text {i}" for i in range(20)}


def serve(project: Project, server: LLMServer, **blocks: object) -> None:
    project.environ = {"OPENAI_API_KEY": "k"}
    project.reviews(TEXTS)
    transform = {
        "prompt": "prompts/classify.txt",
        "model": "openai/any",
        "api_base": server.base_url,
        "max_attempts": 2,
    }
    project.pipeline(**{"transform": transform, **blocks})


def test_criteria_reach_the_judge_and_what_passes_is_loaded(project: Project) -> None:
    def answer(request: dict) -> str:
        if "EVALUATION CRITERIA" not in request["messages"][-1]["content"]:
            return '{"sentiment": "positive"}'
        return '{"score": 0.9, "confidence": 0.6, "explanation": "polite", "criteria_met": ["polite"]}'

    with LLMServer(answer=answer, record=True) as server:
        serve(
            project,
            server,
            evaluate={
                "evaluators": [
                    {"name": "tone", "type": "custom_criteria", "criteria": "Is POLITE-7", "threshold": 0.5}
                ]
            },
        )
        run = project.run()
        judged = [r for r in server.requests if "EVALUATION CRITERIA" in json.dumps(r["messages"])]
    assert len(judged) == 20
    assert all("Is POLITE-7" in json.dumps(r["messages"]) for r in judged)
    assert run.code == 0 and len(project.table()) == 20


def test_a_dollar_sign_in_a_prompt_is_text(project: Project) -> None:
    project.write("prompts/classify.txt", "It costs $5 or ${price} {x}. Review {{ input.text }}")
    with LLMServer(text='{"sentiment": "positive"}', record=True) as server:
        serve(project, server)
        assert project.run().code == 0
        assert "It costs $5 or ${price} {x}. Review text" in json.dumps(server.requests[0]["messages"])


def test_a_missing_variable_stops_before_anything_is_asked(project: Project) -> None:
    project.write("prompts/classify.txt", "Review {{ input.txet }}")
    with LLMServer(labels={}) as server:
        serve(project, server)
        run = project.loom("run", "classify", "--direct")
        assert server.stats()["requests"] == 0
    assert run.code == 2
    assert "txet" in run.err and "`text`" in run.err and "prompts/classify.txt:1" in run.err


def test_an_outage_is_not_a_success(project: Project) -> None:
    project.environ = {}
    with LLMServer(status=500) as server:
        serve(project, server)
        project.environ["LOOM_OUTAGE_PATIENCE"] = "0.5"
        run = project.run()
    assert run.code == 1 and run.outcome["status"] == "deferred"


def test_the_quarantine_is_written_whole(project: Project) -> None:
    with LLMServer(text='{"sentiment": "so-so"}') as server:
        serve(project, server)
        run = project.run()
    assert run.code == 1  # nothing passed though something came in
    kept = pq.read_table(run.outcome["quarantine_path"]).to_pylist()
    assert len(kept) == 20
    first = kept[0]
    assert json.loads(first["source"]) == {"id": "r0", "text": "text 0"}
    assert first["stage"] == "transform" and first["kind"] == "wrong_schema"
    assert "so-so" in first["raw_answer"] and "sentiment" in first["reason"]


def test_upsert_loads_and_loading_twice_changes_nothing(project: Project) -> None:
    with LLMServer(text='{"sentiment": "positive"}') as server:
        serve(project, server, load={"destination": "out/classify.parquet", "mode": "upsert"})
        assert project.run().code == 0
        once = project.table()
        assert project.run().code == 0
        assert project.table() == once and len(once) == 20


def test_append_twice_does_not_double(project: Project) -> None:
    with LLMServer(text='{"sentiment": "positive"}') as server:
        serve(project, server, load={"destination": "out/classify.csv", "mode": "append"})
        assert project.run().code == 0
        once = (project.root / "out/classify.csv").read_bytes()
        assert project.run().code == 0
        assert (project.root / "out/classify.csv").read_bytes() == once
        assert once.count(b"\n") == 21


def test_a_weighted_gate_counts_a_missing_score_as_zero(project: Project) -> None:
    project.write("checks.py", "def broken(output, record):\n    raise RuntimeError('no score')\n")
    with LLMServer(text='{"sentiment": "positive"}') as server:
        serve(
            project,
            server,
            evaluate={
                "evaluators": [
                    {"name": "fine", "type": "contains", "field": "sentiment", "substrings": ["pos"]},
                    {"name": "broken", "type": "python", "function": "checks:broken"},
                ],
                "quality_gate": {"type": "weighted", "threshold": 0.6},
            },
        )
        run = project.run()
    assert run.outcome["counts"]["passed"] == 0
    reason = pq.read_table(run.outcome["quarantine_path"]).to_pylist()[0]["reason"]
    assert "0.50 < 0.60" in reason and "broken" in reason


def test_a_missed_batch_threshold_keeps_every_paid_answer_and_a_human_may_release(project: Project) -> None:
    labels = {f"text {i}": "positive" if i < 10 else "negative" for i in range(20)}
    with LLMServer(labels=labels, find=r"Review \w+: (.*)", field="sentiment") as server:
        serve(
            project,
            server,
            evaluate={
                "evaluators": [{"type": "contains", "field": "sentiment", "substrings": ["positive"]}],
                "batch_threshold": 0.9,
            },
        )
        held = project.run()
        assert held.code == 1 and held.outcome["status"] == "held"
        assert not (project.root / "out/classify.parquet").exists()
        paid = server.stats()["paid"]
        released = project.loom("release", "classify", "--why", "checked by hand")
        assert released.code == 0, released.err
        assert len(project.table()) == 10
        assert server.stats()["paid"] == paid == 20


def test_a_record_is_judged_before_the_last_one_is_transformed(project: Project) -> None:
    with LLMServer(text='{"sentiment": "positive"}', record=True) as server:
        serve(project, server, evaluate={"evaluators": [{"type": "custom_criteria", "criteria": "A"}]})
        project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "limits": {"in_flight": 2},
            },
            evaluate={"evaluators": [{"type": "custom_criteria", "criteria": "A"}]},
        )
        project.run()
        judged = ["EVALUATION CRITERIA" in r["messages"][-1]["content"] for r in server.requests]
    assert sum(judged) == 20
    assert judged.index(True) < len(judged) - 1 - judged[::-1].index(False)  # no barrier between the stages


def test_a_slow_record_holds_up_no_other_and_the_order_is_the_sources(project: Project) -> None:
    with LLMServer(text='{"sentiment": "positive"}', script=["500"]) as server:
        serve(project, server)
        run = project.run()
    assert run.code == 0
    assert [r["id"] for r in project.table()] == list(TEXTS)


def test_the_record_id_is_the_key_and_without_one_the_content(project: Project) -> None:
    with LLMServer(text='{"sentiment": "positive"}') as server:
        serve(project, server, extract={"source": "data/reviews.parquet", "key": "id"})
        keyed = project.run()
        assert ids(keyed.outcome["transformed_path"], "_loom_record_id") == list(TEXTS)
        project.pipeline(
            "hashed",
            extract={"source": "data/reviews.parquet", "key": []},
            transform={"prompt": "prompts/classify.txt", "model": "openai/any", "api_base": server.base_url},
        )
        first = ids(project.run("hashed").outcome["transformed_path"], "_loom_record_id")
        project.reviews(dict(reversed(TEXTS.items())))
        second = ids(project.run("hashed").outcome["transformed_path"], "_loom_record_id")
    assert first == second[::-1] and len(set(first)) == 20


def test_the_judges_model_is_configurable_for_all_and_for_one(project: Project) -> None:
    with LLMServer(text='{"sentiment": "positive"}', record=True) as server:
        serve(
            project,
            server,
            evaluate={
                "model": "openai/judge",
                "evaluators": [
                    {"name": "a", "type": "custom_criteria", "criteria": "A"},
                    {"name": "b", "type": "custom_criteria", "criteria": "B", "model": "openai/other"},
                ],
            },
        )
        project.run()
        models = {r["model"] for r in server.requests}
    assert models == {"any", "judge", "other"}
