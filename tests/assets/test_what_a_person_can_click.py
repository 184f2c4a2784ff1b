"""Every selection in the UI: a held batch is never loaded and never read."""

from typing import Any

import dagster as dg
import pandas as pd
import pytest

ALL = {"reviews/transformed", "reviews/quarantine", "file/data/out/reviews.parquet"}


@pytest.fixture
def reviews(desk: Any) -> Any:
    desk.write("reviews")
    return desk


@dg.asset(ins={"rows": dg.AssetIn(key=["reviews", "transformed"])})
def weekly(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> None:
    context.add_output_metadata({"ids": ",".join(rows["id"]), "run": rows["_loom_run_id"].iloc[0]})


@dg.asset(ins={"rows": dg.AssetIn(key=["reviews", "quarantine"])})
def labelling(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> None:
    context.add_output_metadata({"ids": ",".join(rows["record_id"])})


def test_all(reviews: Any, shared_instance: dg.DagsterInstance) -> None:
    reviews.instance = shared_instance
    loom = reviews.loom()
    ran = reviews.run(reviews.definitions(loom, weekly, labelling))
    assert ran.ok, ran.failures
    assert ran.materialized == {*ALL, "weekly", "labelling"}
    assert ran.checks["quality_gate"].passed
    assert loom.loads == [("reviews", "reviews-1")]
    assert ran.metadata("weekly")["ids"] == "a,b"


def test_all_when_the_batch_is_held(reviews: Any, script: Any, shared_instance: dg.DagsterInstance) -> None:
    reviews.instance = shared_instance
    loom = reviews.loom(reviews=script(status="held"))
    ran = reviews.run(reviews.definitions(loom, weekly, labelling))
    assert not ran.ok
    assert ran.materialized == {"reviews/transformed", "reviews/quarantine", "labelling"}
    gate = ran.checks["quality_gate"]
    assert not gate.passed
    assert gate.severity == dg.AssetCheckSeverity.ERROR
    assert gate.blocking
    assert gate.description is not None
    assert "50% passed, 90% wanted" in gate.description
    assert loom.loads == []
    # the step that was paid for stays green: only the gate failed
    assert set(ran.failures) == {"reviews__checks"}


def test_only_transformed_and_quarantine(reviews: Any) -> None:
    loom = reviews.loom()
    ran = reviews.run(reviews.definitions(loom), "reviews/transformed", "reviews/quarantine")
    assert ran.materialized == {"reviews/transformed", "reviews/quarantine"}
    assert loom.loads == []


@pytest.mark.parametrize("one", ["transformed", "quarantine"])
def test_one_of_the_two_cannot_be_had_without_the_other(reviews: Any, one: str) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError):
        reviews.run(reviews.definitions(reviews.loom()), f"reviews/{one}")


def test_only_loaded_with_nothing_run(reviews: Any) -> None:
    loom = reviews.loom()
    ran = reviews.run(reviews.definitions(loom), "file/data/out/reviews.parquet")
    assert not ran.ok
    assert ran.failures["reviews__load"].startswith("nothing to load: `reviews` has not been run")
    assert loom.loads == []


def test_only_loaded_when_the_batch_is_held(reviews: Any, script: Any) -> None:
    loom = reviews.loom(reviews=script(status="held"))
    loom.run("reviews")
    ran = reviews.run(reviews.definitions(loom), "file/data/out/reviews.parquet")
    assert not ran.ok
    assert "The newest one is held: 50% passed, 90% wanted" in ran.failures["reviews__load"]
    assert 'loom release reviews --why "..."' in ran.failures["reviews__load"]
    assert loom.loads == []


def test_only_loaded_takes_the_released_batch_when_a_newer_one_is_held(reviews: Any, script: Any) -> None:
    loom = reviews.loom()
    loom.run("reviews")
    loom.scripts["reviews"] = script(status="held", passed=["z"])
    loom.run("reviews")
    ran = reviews.run(reviews.definitions(loom), "file/data/out/reviews.parquet")
    assert ran.ok, ran.failures
    assert loom.loads == [("reviews", "reviews-1")]
    assert "reviews-2) is held" in ran.metadata("file/data/out/reviews.parquet")["held_batch"]


def test_only_the_checks(reviews: Any, script: Any) -> None:
    loom = reviews.loom(reviews=script(status="held"))
    loom.run("reviews")
    ran = reviews.run(reviews.definitions(loom), "reviews/transformed", checks_only=True)
    assert set(ran.checks) == {"shape", "quality_gate"}
    assert not ran.checks["quality_gate"].passed
    assert ran.materialized == set()
    assert [name for name, _ in loom.ran] == ["reviews"]


def test_only_the_checks_with_nothing_run(reviews: Any) -> None:
    ran = reviews.run(reviews.definitions(reviews.loom()), "reviews/transformed", checks_only=True)
    gate = ran.checks["quality_gate"]
    assert (gate.passed, gate.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert gate.description.startswith("there is no verdict")


def test_the_load_cannot_run_past_a_gate_without_a_verdict(reviews: Any, script: Any) -> None:
    loom = reviews.loom(reviews=script(snapshot=False))
    ran = reviews.run(reviews.definitions(loom, weekly))
    assert not ran.ok
    assert loom.loads == []
    assert "weekly" not in ran.materialized


def test_a_downstream_asset_alone_never_reads_a_held_batch(reviews: Any, script: Any) -> None:
    loom = reviews.loom(reviews=script(status="held"))
    loom.run("reviews")
    defs = reviews.definitions(loom, weekly)
    ran = reviews.run(defs, "weekly")
    assert "weekly" not in ran.materialized
    assert "`reviews` has released nothing to read; its newest batch is held" in ran.failures["weekly"]

    loom.scripts["reviews"] = script(passed=["good"])
    loom.run("reviews")
    loom.scripts["reviews"] = script(status="held", passed=["bad"])
    loom.run("reviews")
    assert reviews.run(defs, "weekly").metadata("weekly")["ids"] == "good"


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # raised within Dagster itself
def test_an_eager_downstream_asset_never_reads_a_held_batch(
    reviews: Any, script: Any, own_instance: dg.DagsterInstance
) -> None:
    reviews.instance = own_instance

    @dg.asset(
        ins={"rows": dg.AssetIn(key=["reviews", "transformed"])},
        automation_condition=dg.AutomationCondition.eager(),
    )
    def eager(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> None:
        context.add_output_metadata({"run": rows["_loom_run_id"].iloc[0]})

    def requested() -> int:
        nonlocal cursor
        evaluated = dg.evaluate_automation_conditions(defs=defs, instance=reviews.instance, cursor=cursor)
        cursor = evaluated.cursor
        return evaluated.total_requested

    loom, cursor = reviews.loom(), None
    defs = reviews.definitions(loom, eager)
    pair = ("reviews/transformed", "reviews/quarantine")
    assert requested() == 0
    reviews.run(defs, *pair)
    assert requested() == 1
    assert reviews.run(defs, "eager").metadata("eager")["run"] == "reviews-1"
    assert requested() == 0

    loom.scripts["reviews"] = script(status="held")
    reviews.run(defs, *pair)
    assert requested() == 1  # Dagster asks for it; what it gets is what was released before
    assert reviews.run(defs, "eager").metadata("eager")["run"] == "reviews-1"


def test_a_batch_released_by_hand_is_let_through_and_says_so(reviews: Any, script: Any) -> None:
    loom = reviews.loom(reviews=script(status="held", released=True, released_by="ann"))
    ran = reviews.run(reviews.definitions(loom))
    gate = ran.checks["quality_gate"]
    assert (gate.passed, gate.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "released by ann: looked at it" in gate.description
    assert loom.loads == [("reviews", "reviews-1")]
    assert ran.metadata("file/data/out/reviews.parquet")["released_by_hand"] == "ann: looked at it"


def test_load_passed_releases_what_passed_and_fails_without_blocking(reviews: Any, script: Any) -> None:
    loom = reviews.loom(reviews=script(status="held", released=True))
    ran = reviews.run(reviews.definitions(loom))
    gate = ran.checks["quality_gate"]
    assert (gate.passed, gate.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "on_batch_failure: load_passed" in gate.description
    assert ran.ok, ran.failures
    assert loom.loads == [("reviews", "reviews-1")]
    assert "released_by_hand" not in ran.metadata("file/data/out/reviews.parquet")


def test_an_empty_batch_does_not_block_and_what_was_released_stays(reviews: Any, script: Any) -> None:
    loom = reviews.loom()
    loom.run("reviews")
    loom.scripts["reviews"] = script(passed=[], quarantined=[], scores=[], released=False)
    ran = reviews.run(reviews.definitions(loom, weekly))
    assert ran.ok, ran.failures
    gate = ran.checks["quality_gate"]
    assert gate.passed
    assert gate.description.endswith("what was released before stays")
    assert loom.loads == [("reviews", "reviews-1")]
    assert ran.metadata("weekly")["ids"] == "a,b"


def test_two_pipelines_in_one_run_the_second_reads_the_first(desk: Any) -> None:
    desk.write("reviews")
    desk.write("topics", source="pipeline://reviews")
    loom = desk.loom()
    ran = desk.run(desk.definitions(loom))
    assert ran.ok, ran.failures
    assert [name for name, _ in loom.ran] == ["reviews", "topics"]


def test_the_second_of_two_pipelines_does_not_run_on_a_held_batch(desk: Any, script: Any) -> None:
    desk.write("reviews")
    desk.write("topics", source="pipeline://reviews")
    desk.write("stars", source="data/out/reviews.parquet")
    loom = desk.loom(reviews=script(status="held"))
    ran = desk.run(desk.definitions(loom))
    assert [name for name, _ in loom.ran] == ["reviews"]
    assert ran.materialized == {"reviews/transformed", "reviews/quarantine"}
