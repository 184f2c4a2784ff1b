"""What failed is kept, shown, tried again, and never paid for twice by accident."""

from __future__ import annotations

import pytest

from tests.journeys.project import Project
from tests.servers.llm import LLMServer

pytestmark = pytest.mark.service

TEXTS = {f"r{i}": f"text {i}" for i in range(10)}


def serve(project: Project, server: LLMServer, **load: object) -> None:
    project.environ = {"OPENAI_API_KEY": "k"}
    project.reviews(TEXTS)
    project.pipeline(
        transform={"prompt": "prompts/classify.txt", "model": "openai/any", "api_base": server.base_url},
        load={"destination": "out/classify.parquet", **load},
    )


def test_retry_pays_for_exactly_the_quarantined_records_and_loads_what_passes(project: Project) -> None:
    with LLMServer(
        labels=dict.fromkeys(TEXTS.values(), "positive"),
        find=r"Review \w+: (.*)",
        field="sentiment",
        faults={"refusal": 0.4},
        mode="sticky",
        seed=5,
    ) as server:
        serve(project, server)
        first = project.run()
        kept = project.loom("quarantine", "list", "classify", "--json").json
        failed = {e["record_id"] for e in kept["records"]}
        assert 0 < len(failed) < 10
        assert {r["id"] for r in project.table()} == set(TEXTS) - failed
        server.change(faults={})
        paid = server.stats()["paid"]
        retried = project.loom("quarantine", "retry", "classify", "--all")
        assert retried.code == 0, retried.err
        assert server.stats()["paid"] - paid == len(failed)
    assert {r["id"] for r in project.table()} == set(TEXTS)
    assert project.loom("quarantine", "list", "classify", "--json").json["records"] == []
    assert first.outcome["counts"]["quarantined"] == len(failed)


def test_show_tells_everything_about_one_record(project: Project) -> None:
    with LLMServer(text='{"sentiment": "odd"}') as server:
        serve(project, server)
        project.run()
    shown = project.loom("quarantine", "show", "classify", "r3")
    assert shown.code == 0
    for part in ("r3", "text 3", "wrong_schema", "odd", "openai/any"):
        assert part in shown.out


def test_resolve_closes_an_entry_with_a_reason(project: Project) -> None:
    with LLMServer(text='{"sentiment": "odd"}') as server:
        serve(project, server)
        project.run()
    assert project.loom("quarantine", "resolve", "classify", "r3", "--why", "spam").code == 0
    left = project.loom("quarantine", "list", "classify", "--json").json["records"]
    assert "r3" not in {e["record_id"] for e in left} and len(left) == 9


def test_on_failure_retry_asks_again_in_the_same_run(project: Project) -> None:
    with LLMServer(text='{"sentiment": "positive"}', script=["malformed", "malformed"]) as server:
        serve(project, server, on_failure="retry", retries=2)
        project.pipeline(
            transform={
                "prompt": "prompts/classify.txt",
                "model": "openai/any",
                "api_base": server.base_url,
                "limits": {"in_flight": 1},
            },
            load={"destination": "out/classify.parquet", "on_failure": "retry", "retries": 2},
        )
        run = project.run()
    assert run.outcome["counts"]["passed"] == 10
    assert sorted(t["id"] for t in project.table()) == sorted(TEXTS)


def test_fallback_values_are_loaded_in_place_of_a_failed_answer(project: Project) -> None:
    with LLMServer(
        labels=dict.fromkeys(TEXTS.values(), "positive"),
        find=r"Review \w+: (.*)",
        field="sentiment",
        faults={"refusal": 0.4},
        mode="sticky",
        seed=5,
    ) as server:
        serve(project, server, on_failure="fallback", fallback={"values": {"sentiment": "negative"}})
        run = project.run()
    counts = run.outcome["counts"]
    assert counts["passed"] == 10 and counts["fallbacks"] > 0 and counts["quarantined"] == 0
    assert sum(r["sentiment"] == "negative" for r in project.table()) == counts["fallbacks"]


def test_a_retry_during_an_outage_is_no_success_and_loses_nothing(project: Project) -> None:
    with LLMServer(
        text='{"sentiment": "positive"}', faults={"refusal": 0.4}, mode="sticky", seed=5
    ) as server:
        serve(project, server)
        project.run()
        before = project.loom("quarantine", "list", "classify", "--json").json["records"]
        loaded = project.table()
        server.change(status=503)
        project.environ["LOOM_OUTAGE_PATIENCE"] = "0.5"
        retried = project.loom("quarantine", "retry", "classify", "--all")
        assert retried.code == 1 and "stay in quarantine" in retried.out + retried.err
        assert project.loom("quarantine", "list", "classify", "--json").json["records"] == before
        assert project.table() == loaded
        server.change(status=0, faults={})
        assert project.loom("quarantine", "retry", "classify", "--all").code == 0
    assert len(project.table()) == 10
