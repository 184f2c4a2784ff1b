"""extracted = passed + quarantined + deferred, by id, whatever the provider does."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.journeys.project import Project, ids
from tests.servers.llm import LLMServer

KINDS = ("429", "500", "hang", "cut", "html", "wrong_schema", "malformed", "empty", "unicode", "close")


def serve(project: Project, server: LLMServer, in_flight: int = 64, **transform: object) -> None:
    project.environ = {"OPENAI_API_KEY": "sk-secret-of-the-test"}
    project.pipeline(
        transform={
            "prompt": "prompts/classify.txt",
            "model": "openai/any",
            "api_base": server.base_url,
            "limits": {"in_flight": in_flight},
            **transform,
        }
    )


@pytest.mark.slow
@pytest.mark.service
def test_ten_thousand_records_with_every_fault_at_two_percent(project: Project) -> None:
    texts = {f"r{i}": f"review number {i}" for i in range(10_000)}
    project.reviews(texts)
    with LLMServer(
        process=True,
        labels={t: "positive" if i % 2 else "negative" for i, t in enumerate(texts.values())},
        find=r"Review \w+: (.*)",
        field="sentiment",
        faults=dict.fromkeys(KINDS, 0.02),
        seed=7,
    ) as server:
        serve(project, server, timeout={"total": 2, "read": 2}, max_attempts=6)
        run = project.run()
    outcome = run.outcome
    passed = ids(outcome["transformed_path"], "_loom_record_id")
    kept = ids(outcome["quarantine_path"], "record_id")
    assert Counter(passed) + Counter(kept) == Counter(list(texts))  # by id, each once
    counts = outcome["counts"]
    assert counts["extracted"] == counts["passed"] + counts["quarantined"] == 10_000
    assert counts["deferred"] == 0
    assert run.code == 0
    assert 0 < counts["quarantined"] < 500
    assert len(project.table()) == counts["passed"]
    assert "sk-secret" not in run.out + run.err


@pytest.mark.service
def test_an_outage_defers_everything_quarantines_nothing_and_the_next_run_continues(project: Project) -> None:
    project.reviews({f"r{i}": f"text {i}" for i in range(40)})
    project.environ = {"LOOM_OUTAGE_PATIENCE": "1"}
    with LLMServer(text='{"sentiment": "positive"}', status=503) as server:
        serve(project, server)
        project.environ["LOOM_OUTAGE_PATIENCE"] = "1"
        first = project.run()
        assert first.code == 1
        counts = first.outcome["counts"]
        assert (counts["deferred"], counts["quarantined"], counts["passed"]) == (40, 0, 0)
        assert not (project.root / "out/classify.parquet").exists()
        server.change(status=0)
        second = project.run()
    assert second.code == 0
    assert second.outcome["resumed"] is True and second.outcome["run_id"] == first.outcome["run_id"]
    assert len(project.table()) == 40


@pytest.mark.service
def test_a_wrong_key_stops_the_run_at_once_and_everything_is_deferred(project: Project) -> None:
    project.reviews({f"r{i}": f"text {i}" for i in range(200)})
    with LLMServer(key="another", labels={}) as server:
        serve(project, server, in_flight=4)
        run = project.run()
        assert server.stats()["requests"] <= 8
    assert run.code == 2
    assert run.outcome["counts"]["deferred"] == 200
    assert "OPENAI_API_KEY" in run.outcome["stopped_by"]
    assert "sk-secret" not in run.out + run.err


@pytest.mark.service
def test_refusals_cut_answers_and_texts_beyond_the_window_are_quarantined_and_paid_for_once(
    project: Project,
) -> None:
    texts = {f"r{i}": f"text {i}" for i in range(300)} | {"huge": "word " * 400_000}
    project.reviews(texts)
    with LLMServer(
        text='{"sentiment": "positive"}',
        faults={"refusal": 0.1, "length": 0.1, "filter": 0.1},
        mode="sticky",
        seed=2,
    ) as server:
        serve(project, server)
        project.pipeline(
            transform={"prompt": "prompts/classify.txt", "model": "gpt-4o-mini", "api_base": server.base_url}
        )
        first = project.run()
        paid = server.stats()["paid"]
        second = project.run()
        assert (
            server.stats()["paid"] == paid == 300
        )  # what is no use was paid for too, and is not asked again
    kinds = Counter(ids(first.outcome["quarantine_path"], "kind"))
    assert set(kinds) == {"refused", "truncated", "content_filter", "too_long"} and kinds["too_long"] == 1
    assert first.outcome["counts"] == second.outcome["counts"]
    assert first.outcome["data_version"] == second.outcome["data_version"]
    assert first.code == 0
