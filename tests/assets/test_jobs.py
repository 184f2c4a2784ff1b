"""A job a pipeline and a job a tag: their names, and what they run."""

from __future__ import annotations

import keyword
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assets import Check, LoomTranslator


def jobs(desk: Any) -> dict[str, set[str]]:
    """Every job but Dagster's own, and the assets that it makes."""
    defs = desk.definitions(desk.loom())
    found = {}
    for job in defs.get_repository_def().get_all_jobs():
        if job.name != "__ASSET_JOB":
            keys = job.asset_layer.executable_asset_keys
            found[job.name] = {key.to_user_string() for key in keys}
    return found


def made(name: str) -> set[str]:
    return {f"{name}/transformed", f"{name}/quarantine", f"file/data/out/{name}.parquet"}


def test_a_job_runs_one_pipeline_with_its_checks(desk: Any) -> None:
    desk.write("reviews")
    desk.write("topics", source="pipeline://reviews")
    assert jobs(desk) == {"reviews": made("reviews"), "topics": made("topics")}
    loom = desk.loom()
    defs = desk.definitions(loom)
    ran = defs.resolve_job_def("reviews").execute_in_process(instance=desk.instance)
    assert [name for name, _ in loom.ran] == ["reviews"]
    assert {e.check_name for e in ran.get_asset_check_evaluations()} == {"shape", "quality_gate"}


def test_a_job_runs_the_pipelines_of_a_tag(desk: Any) -> None:
    desk.write("a", labels="tags: [nightly]\n")
    desk.write("b", labels="tags: {nightly: , team: reviews}\n")
    desk.write("c")
    found = jobs(desk)
    assert set(found) == {"a", "b", "c", "tag_nightly", "tag_team_reviews"}
    assert found["tag_nightly"] == made("a") | made("b")
    assert found["tag_team_reviews"] == made("b")


def test_a_pipeline_may_be_called_like_the_job_of_a_tag(desk: Any) -> None:
    desk.write("tag_nightly")
    desk.write("b", labels="tags: [nightly]\n")
    found = jobs(desk)
    assert found.pop("tag_nightly") == made("tag_nightly")
    del found["b"]
    [(name, runs)] = found.items()
    assert name.startswith("tag_nightly_")
    assert runs == made("b")


def test_a_pipeline_may_have_a_name_that_dagster_keeps_for_itself(desk: Any) -> None:
    names = ["input", "type", "config", "__ASSET_JOB", "x" * 150, *keyword.kwlist[:3]]
    for number, name in enumerate(names):
        desk.write(name, file=f"p{number}", destination=f"data/out/{number}.parquet")
    assert len(jobs(desk)) == len(names)


def test_no_job_is_resolved_before_it_is_asked_for(desk: Any) -> None:
    desk.write("p", labels="tags: [nightly]\n")
    found = desk.definitions(desk.loom()).jobs
    assert [type(job).__name__ for job in found] == ["UnresolvedAssetJobDefinition"] * 2


def test_an_evaluator_called_like_the_gate_is_a_check_beside_it(desk: Any) -> None:
    desk.write("p", evaluate="{evaluators: [{name: quality_gate, type: regex, pattern: x}]}")
    defs = desk.definitions(desk.loom())
    specs = [spec for checks in defs.asset_checks for spec in checks.check_specs]
    names = [spec.name for spec in specs]
    assert len(set(names)) == 2
    assert [spec.name for spec in specs if spec.blocking] == ["quality_gate"]


def test_two_gates_on_one_asset_are_refused_by_name(desk: Any) -> None:
    class Same(LoomTranslator):
        def check_spec(self, check: Check, asset: dg.AssetKey) -> dg.AssetCheckSpec:
            return super().check_spec(check, dg.AssetKey("elsewhere"))

    desk.write("p")
    desk.write("q")
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="the check `shape` of `p`"):
        desk.definitions(desk.loom(), translator=Same())


def test_a_gate_of_ones_own_beside_ours_is_refused_by_dagster_with_the_name_of_the_asset(desk: Any) -> None:
    @dg.asset_check(name="quality_gate", asset=dg.AssetKey(["p", "transformed"]))
    def second() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    desk.write("p")
    ours = desk.definitions(desk.loom())
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="quality_gate"):
        dg.Definitions.merge(ours, dg.Definitions(asset_checks=[second])).get_repository_def()
