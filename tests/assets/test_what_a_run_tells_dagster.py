"""Outcomes as steps, materializations, checks and metadata."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from loom_dagster.assets.op import failure_of, failure_of_error
from loom_dagster.errors import Misconfigured, Outage, Problem

PAIR = {"p/transformed", "p/quarantine"}


@pytest.fixture
def one(desk: Any) -> Any:
    desk.write("p")
    return desk


def run(desk: Any, loom: Any, **keywords: Any) -> Any:
    return desk.run(desk.definitions(loom), **keywords)


@pytest.mark.parametrize(
    ("script_of", "said", "retried"),
    [
        (
            {"status": "deferred", "deferred": 7, "stopped_by": "it is down"},
            "7 of 10 records are deferred: it is down",
            True,
        ),
        (
            {"status": "deferred", "deferred": 7, "stopped_by": "the budget is used up", "stopped_kind": "budget"},
            "7 of 10 records are deferred: the budget is used up",
            False,
        ),
        ({"status": "interrupted"}, "interrupted; everything answered so far is kept", True),
        ({"status": "failed", "stopped_by": "the disk is full"}, "the disk is full", False),
        (
            {"status": "failed", "stopped_by": "401: no key", "stopped_kind": "misconfigured"},
            "401: no key",
            False,
        ),
        ({"status": "held", "passed": []}, "none of 1 records passed", False),
        ({"lost": 1}, "4 records came in, but 2 passed + 1 quarantined + 0 deferred do not add up", False),
    ],
)  # fmt: skip
def test_a_run_that_did_not_end_well_shows_what_there_is_and_fails_the_step(
    one: Any, script: Any, script_of: dict[str, Any], said: str, retried: bool
) -> None:
    loom = one.loom(p=script(**script_of))
    ran = run(one, loom)
    assert ran.materialized == PAIR
    assert ran.failures["p__run"].startswith(said)
    assert loom.loads == []
    (failure,) = ran.events("STEP_FAILURE")
    assert failure.step_failure_data.user_failure_data.metadata["status"].value == script_of.get(
        "status", "succeeded"
    )
    again = failure_of(loom.run("p"))
    assert again is not None
    assert again.allow_retries == retried


def test_without_a_snapshot_nothing_is_materialized(one: Any, script: Any) -> None:
    ran = run(one, one.loom(p=script(status="deferred", snapshot=False)))
    assert ran.materialized == set()


def test_a_misconfigured_run_says_every_problem(one: Any, script: Any) -> None:
    problems = (Problem(what="no prompt", where="pipelines/p.yaml:6"), Problem(what="no key", fix="set it"))
    error = Misconfigured("pipeline `p` cannot run", problems=problems)
    ran = run(one, one.loom(p=script(raises=error)))
    assert ran.failures["p__run"].splitlines() == [
        "pipeline `p` cannot run",
        "- pipelines/p.yaml:6: no prompt",
        "- no key (set it)",
    ]


def test_an_outage_is_tried_again_by_a_retry_policy_and_a_misconfiguration_is_not() -> None:
    assert failure_of_error(Outage("down")).allow_retries
    assert not failure_of_error(Misconfigured("wrong")).allow_retries


def test_a_bug_keeps_its_traceback(one: Any, script: Any) -> None:
    ran = run(one, one.loom(p=script(raises=KeyError("oops"))))
    assert "KeyError: 'oops'" in ran.failures["p__run"]


def test_an_empty_run_materializes_both(one: Any, script: Any) -> None:
    loom = one.loom(p=script(passed=[], quarantined=[], scores=[]))
    ran = run(one, loom)
    assert ran.ok, ran.failures
    assert ran.materialized == {*PAIR, "file/data/out/p.parquet"}
    assert ran.metadata("file/data/out/p.parquet")["reason"] == "it is empty"


def test_the_quarantine_is_materialized_when_it_is_empty(one: Any, script: Any) -> None:
    ran = run(one, one.loom(p=script(quarantined=[])))
    assert ran.metadata("p/quarantine")["dagster/row_count"] == 0


def test_metadata_of_transformed(one: Any) -> None:
    ran = run(one, one.loom())
    found = ran.metadata("p/transformed")
    assert found["dagster/row_count"] == found["passed"] == 2
    assert (found["extracted"], found["quarantined"], found["deferred"]) == (3, 1, 0)
    assert found["pass_rate"] == 0.5
    assert found["cost_usd"] == 0.75
    assert found["cost_usd/evaluate"] == 0.5
    assert (found["budget_used_usd/run"], found["budget_unconfirmed_usd/run"]) == (1.0, 0.25)
    assert (found["latency_p50_s"], found["latency_p95_s"], found["latency_p99_s"]) == (0.1, 0.2, 0.3)
    assert (found["calls"], found["cache_hits"]) == (3, 2)
    assert found["versions"] == {"prompt": "v1", "context": {"domain": "abc"}}
    assert found["simulated"] is True
    assert [c.name for c in found["dagster/column_schema"].columns] == ["id", "text"]
    assert "**shape**" in found["scores"]
    assert "██" in found["scores"]
    assert found["path"].endswith("t.parquet")
    event = ran.materialization("p/transformed")
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == "data-p-1"


def test_sample_tables_are_short_and_plain(one: Any) -> None:
    ran = run(one, one.loom())
    sample = ran.materialization("p/transformed").metadata["sample"]
    assert isinstance(sample, dg.TableMetadataValue)
    assert [r.data["id"] for r in sample.records] == ["a", "b"]
    assert len(sample.records[0].data["text"]) == 300
    assert sample.records[0].data["more"] == "{'deep': [1, None]}"


def test_metadata_of_quarantine(one: Any) -> None:
    ran = run(one, one.loom())
    found = ran.materialization("p/quarantine").metadata
    assert found["reasons"].records[0].data == {"reason": "shape 0.00 < 1.00", "records": 1}
    assert found["sample"].records[0].data["record_id"] == "c"


def test_metadata_of_loaded(one: Any) -> None:
    found = run(one, one.loom()).metadata("file/data/out/p.parquet")
    assert found["dagster/row_count"] == 2
    assert (found["mode"], found["snapshot"], found["destination"]) == ("upsert", "p-1", "data/out/p.parquet")


@pytest.mark.parametrize(
    ("passed", "failed", "errors", "ok", "words"),
    [
        (10, 0, 0, True, "10 of 10 records reached 1 (100.0%, wanted 50%)"),
        (5, 5, 0, True, "5 of 10 records reached 1 (50.0%, wanted 50%)"),
        (5, 4, 2, False, "5 of 11 records reached 1 (45.5%, wanted 50%); 2 could not be scored"),
        (0, 0, 0, False, "no record got as far as this evaluator"),
    ],
)
def test_a_check_an_evaluator_that_does_not_block(
    one: Any, script: Any, summary: Any, passed: int, failed: int, errors: int, ok: bool, words: str
) -> None:
    loom = one.loom(p=script(scores=[summary("shape", passed, failed, errors)]))
    ran = run(one, loom)
    check = ran.checks["shape"]
    assert (check.passed, check.description) == (ok, words)
    assert not check.blocking
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert ran.ok


def test_an_evaluator_without_scores_does_not_pass(one: Any, script: Any, summary: Any) -> None:
    ran = run(one, one.loom(p=script(scores=[summary("another")])))
    assert not ran.checks["shape"].passed


@pytest.mark.parametrize("options", [{"limit": 2}, {"model": "m"}, {"offline": True}])
def test_a_trial_is_observed_and_publishes_nothing(one: Any, options: dict[str, Any]) -> None:
    loom = one.loom()
    ran = run(one, loom, options=options)
    assert ran.ok, ran.failures
    assert ran.materialized == set()
    assert ran.checks == {}
    assert loom.loads == []
    (observed,) = ran.events("ASSET_OBSERVATION")
    metadata = observed.asset_observation_data.asset_observation.metadata
    assert metadata["trial"].value is True
    assert metadata["passed"].value == 2


def test_a_trial_of_the_load_alone_is_skipped(one: Any) -> None:
    loom = one.loom()
    loom.run("p")
    ran = one.run(one.definitions(loom), "file/data/out/p.parquet", options={"limit": 2})
    assert ran.ok, ran.failures
    assert loom.loads == []


def test_a_trial_with_load_is_a_run(one: Any) -> None:
    loom = one.loom()
    ran = run(one, loom, options={"limit": 2, "load": True})
    assert ran.materialized == {*PAIR, "file/data/out/p.parquet"}
    assert loom.loads == [("p", "p-1")]


def test_run_options_reach_every_op_of_a_run(one: Any) -> None:
    one.write("q")
    loom = one.loom()
    options = {
        "limit": 3,
        "model": "m",
        "offline": True,
        "fresh": True,
        "load": True,
        "strict": True,
        "params": {"a": "b"},
    }
    run(one, loom, options=options)
    assert [name for name, _ in loom.ran] == ["p", "q"]
    for _, seen in loom.ran:
        assert (seen.limit, seen.model, seen.offline, seen.fresh, seen.load, seen.strict) == (
            3,
            "m",
            *[True] * 4,
        )
        assert seen.params == {"a": "b"}


def test_a_load_that_fails_says_why(one: Any) -> None:
    loom = one.loom()
    loom.load_raises = Misconfigured("the table has another type", where="pipelines/p.yaml:9")
    ran = run(one, loom)
    assert ran.failures == {"p__load": "pipelines/p.yaml:9: the table has another type"}


def test_events_are_logged_and_handed_on(one: Any) -> None:
    heard: list[Any] = []
    defs = one.definitions(one.loom(), listen=heard.append)
    one.run(defs)
    assert [type(event).__name__ for event in heard] == ["RunStarted", "Progress", "StageDone", "Note"]
