"""The sensor tells people of what Dagster alone knows, once, and delivers what waits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assets import build_definitions
from tests.servers.inbox import Inbox, inbox

LENIENT = """{quality_gate: any_pass, evaluators: [
  {name: shape, type: regex, field: output, pattern: zzz}, {name: any, type: regex, field: output, pattern: .}]}"""
ROWS = "id,text\n1,xx\n2,yy\n3,yy\n"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    with inbox() as opened:
        monkeypatch.setenv("LOOM_CHANNEL_OPS", f"{opened.url}/T0/secret-part")
        monkeypatch.setenv("LOOM_CHANNEL_OPS_SECRET", "signing-secret")
        yield opened


@pytest.fixture
def root(desk: Any, place: Inbox) -> Path:
    settings = (
        "[tool.loom]\nmodel = 'offline/demo'\nalerts = 'ops'\n[tool.loom.channels.ops]\ntype = 'webhook'\n"
    )
    (desk.root / "pyproject.toml").write_text(settings)
    (desk.root / "data").mkdir()
    (desk.root / "data" / "in.csv").write_text(ROWS)
    judged = "{evaluators: [{name: shape, type: regex, field: output, pattern: zzz}], batch_threshold: 0.5}"
    desk.write("reviews", evaluate=judged)
    return desk.root


def tick(defs: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    sensor = defs.get_repository_def().get_sensor_def("loom_alerts")
    return sensor(dg.build_sensor_context(instance))


def told(place: Inbox) -> list[tuple[str, str, str]]:
    return [(p.json["event"], p.json["pipeline"], p.json["check"]) for p in place.took]


def run_with(desk: Any, defs: dg.Definitions, instance: dg.DagsterInstance) -> Any:
    desk.instance = instance
    return desk.run(defs)


def test_a_failed_gate_is_told_once_however_often_the_sensor_looks(desk, root, place, own_instance):
    defs = build_definitions(root)
    ran = run_with(desk, defs, own_instance)
    assert not ran.ok
    for _ in range(3):
        tick(defs, own_instance)
    assert sorted(told(place)) == [("failed", "reviews", "quality_gate"), ("failed", "reviews", "shape")]
    [gate] = [p.json for p in place.took if p.json["check"] == "quality_gate"]
    assert gate["dagster_run_id"] == ran.result.run_id
    assert len(gate["worst"]) == 3


def test_evaluating_the_gate_again_alone_needs_no_model_and_tells_nothing_new(
    desk, root, place, own_instance
):
    defs = build_definitions(root)
    run_with(desk, defs, own_instance)
    tick(defs, own_instance)
    before = len(place.took)
    again = desk.run(defs, "reviews/transformed", checks_only=True)
    assert not again.checks["quality_gate"].passed
    tick(defs, own_instance)
    assert len(place.took) == before

    Loom.open(root).release("reviews", why="looked at it", who="ann")
    again = desk.run(defs, "reviews/transformed", checks_only=True)
    assert "released by ann: looked at it" in again.checks["quality_gate"].description
    tick(defs, own_instance)
    assert told(place)[before:] == [("recovered", "reviews", "quality_gate")]
    assert "released by ann: looked at it" in place.took[-1].json["summary"]


def test_a_run_that_died_is_told_and_recovers_with_the_next_that_ends(desk, root, place, own_instance):
    defs = build_definitions(root)
    job = defs.resolve_implicit_global_asset_job_def()
    run = own_instance.create_run_for_job(job, asset_selection=None)
    own_instance.report_run_failed(run, "the process is gone")
    tick(defs, own_instance)
    assert told(place) == [("failed", "reviews", "run_failed")]
    assert place.took[0].json["dagster_run_id"] == run.run_id
    Loom.open(root).run("reviews")
    tick(defs, own_instance)
    assert ("recovered", "reviews", "run_failed") in told(place)


def test_an_error_nobody_foresaw_is_told_by_its_class_alone(desk, root, place, own_instance):
    class Broken(Loom):
        def run(self, *args: Any, **options: Any) -> Any:
            raise RuntimeError("holds a record: jane@example.com")

    defs = build_definitions(root, open_loom=Broken.open)
    assert not run_with(desk, defs, own_instance).ok
    tick(defs, own_instance)
    assert told(place) == [("failed", "reviews", "run_failed")]
    assert "RuntimeError" in place.took[0].json["summary"]
    assert b"jane" not in place.took[0].body


def test_checks_of_others_on_our_assets_are_told_and_recover(desk, root, place, own_instance):
    desk.write("reviews", evaluate="{}")
    verdicts = iter([False, True])

    @dg.asset_check(asset=dg.AssetKey(["reviews", "quarantine"]), name="not_too_many")
    def not_too_many() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=next(verdicts), description="too many")

    defs = dg.Definitions.merge(build_definitions(root), dg.Definitions(asset_checks=[not_too_many]))
    desk.instance = own_instance
    assert "not_too_many" in desk.run(defs).checks
    tick(defs, own_instance)
    assert told(place) == [("failed", "reviews", "not_too_many")]
    desk.run(defs, "reviews/quarantine", checks_only=True)
    tick(defs, own_instance)
    assert told(place)[-1] == ("recovered", "reviews", "not_too_many")


def test_checks_reported_without_a_run_are_told_once(desk, root, place, own_instance):
    defs = build_definitions(root)
    key = dg.AssetKey(["reviews", "transformed"])
    for _ in range(2):
        own_instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=key, check_name="from_outside", passed=False)
        )
        tick(defs, own_instance)
        tick(defs, own_instance)
    assert told(place) == [("failed", "reviews", "from_outside")] * 2


def test_code_locations_that_share_a_project_each_tell_of_their_pipelines(desk, root, place, own_instance):
    desk.write("others")
    mine, theirs = build_definitions(root, select=["reviews"]), build_definitions(root, select=["others"])
    for defs in (mine, theirs):
        run = own_instance.create_run_for_job(defs.resolve_implicit_global_asset_job_def())
        own_instance.report_run_failed(run, "the process is gone")
    for defs in (mine, theirs, mine, theirs):
        tick(defs, own_instance)
    assert sorted(told(place)) == [("failed", name, "run_failed") for name in ("others", "reviews")]


def test_a_run_that_crashes_after_it_told_of_its_batch_is_told_as_well(desk, root, place, own_instance):
    class Broken(Loom):
        def load(self, *args: Any, **options: Any) -> Any:
            raise RuntimeError

    desk.write("reviews", evaluate=LENIENT)
    defs = build_definitions(root, open_loom=Broken.open)
    run_with(desk, defs, own_instance)
    tick(defs, own_instance)
    assert sorted(told(place)) == [("failed", "reviews", "load_failed"), ("failed", "reviews", "shape")]


def test_a_load_that_fails_is_told_once_however_often_it_is_started(desk, root, place, own_instance):
    desk.write("reviews", evaluate="{}")
    defs = build_definitions(root)
    assert run_with(desk, defs, own_instance).ok
    shutil.rmtree(root / "data/out")
    (root / "data/out").write_text("a file where a folder should be")
    for _ in range(2):
        assert not desk.run(defs, "file/data/out/reviews.parquet").ok
        tick(defs, own_instance)
    assert told(place) == [("failed", "reviews", "load_failed")]
    (root / "data/out").unlink()
    desk.run(defs, "file/data/out/reviews.parquet")
    tick(defs, own_instance)
    assert told(place)[1:] == [("recovered", "reviews", "load_failed")]


def test_records_that_are_skipped_fail_their_check_and_tell_nobody(desk, root, place, own_instance):
    desk.write("reviews", evaluate=LENIENT, load="  on_failure: skip\n")
    defs = build_definitions(root)
    assert not run_with(desk, defs, own_instance).checks["shape"].passed
    tick(defs, own_instance)
    assert told(place) == []


def test_a_dead_channel_fails_the_tick_and_loses_nothing(desk, root, place, own_instance):
    defs = build_definitions(root)
    run_with(desk, defs, own_instance)
    place.answer = lambda posted: (503, {})
    with pytest.raises(dg.Failure, match=r"ops: 127.0.0.1 answered 503 \(2 waiting"):
        tick(defs, own_instance)
    with pytest.raises(dg.Failure, match="nothing is lost"):
        tick(defs, own_instance)
    assert len(place.posted) == 1  # asked again later, not with every tick
    place.answer = lambda posted: (200, {})
    Loom.open(root).ledger.outbox.resend(channel="ops")
    tick(defs, own_instance)
    assert len(place.took) == 2


def test_a_trial_tells_nobody(desk, root, place, own_instance):
    defs = build_definitions(root)
    desk.instance = own_instance
    desk.run(defs, options={"limit": 1})
    tick(defs, own_instance)
    assert told(place) == []


def test_a_range_that_died_is_told_with_a_partition_that_can_recover(desk, root, place, own_instance):
    days = "  partitions: {every: daily, start: 2026-01-01, end: 2026-01-04}\n"
    desk.write(
        "reviews", source="data/{{ partition }}.csv", destination="data/out/", extract=days, evaluate="{}"
    )
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        (root / f"data/{day}.csv").write_text(ROWS)
    defs = build_definitions(root)
    tags = {f"dagster/asset_partition_range_{end}": f"2026-01-0{n}" for end, n in (("start", 2), ("end", 3))}
    job = defs.get_repository_def().get_job("reviews")
    run = own_instance.create_run_for_job(job, tags=tags)
    own_instance.report_run_failed(run, "the process is gone")
    tick(defs, own_instance)
    assert [(p.json["check"], p.json["partition"]) for p in place.took] == [("run_failed", "2026-01-02")]
    Loom.open(root).run("reviews", partition="2026-01-02")
    tick(defs, own_instance)
    assert (place.took[-1].json["event"], place.took[-1].json["partition"]) == ("recovered", "2026-01-02")
