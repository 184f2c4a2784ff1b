"""Batches in Dagster: the run that submits ends well and makes nothing; a sensor starts the one that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assets import build_definitions
from tests.batches.conftest import BatchProject
from tests.servers.batches import BatchServer

pytestmark = pytest.mark.service

SENSOR = "classify__batches"
TRANSFORMED = dg.AssetKey(["classify", "transformed"])


@dataclass
class Daemon:
    """The daemon's part, by hand; the code location is loaded anew for each step, as after a restart."""

    instance: dg.DagsterInstance
    root: Path

    def tick(self, sensor: str = SENSOR) -> Any:
        defs = build_definitions(self.root)
        context = dg.build_sensor_context(instance=self.instance, definitions=defs, sensor_name=sensor)
        return defs.resolve_sensor_def(sensor).evaluate_tick(context)

    def run(self, request: dg.RunRequest | None = None, partition: str | None = None) -> Any:
        return (
            build_definitions(self.root)
            .resolve_job_def("classify")
            .execute_in_process(
                instance=self.instance,
                tags=request.tags if request else None,
                partition_key=request.partition_key if request else partition,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch) -> BatchProject:
    made = BatchProject(tmp_path / "project", server)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def daemon(project: BatchProject, tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        yield Daemon(instance, project.root)


def test_only_a_pipeline_with_batches_has_such_a_sensor(project):
    project.texts(1)
    project.batch_pipeline()
    project.pipeline("plain")
    names = {sensor.name for sensor in build_definitions(project.root).sensors or ()}
    assert SENSOR in names and "plain__batches" not in names


def test_a_run_that_only_submitted_succeeds_materializes_nothing_and_says_what_it_waits_for(
    project, server, daemon
):
    project.texts(4)
    project.batch_pipeline()
    result = daemon.run()
    assert result.success
    assert [e.step_key for e in result.filter_events(lambda e: e.is_step_skipped)] == [
        "classify__checks",
        "classify__load",
    ]
    assert daemon.instance.get_latest_materialization_event(TRANSFORMED) is None
    observed = [e.asset_observation_data.asset_observation for e in result.get_asset_observation_events()]
    [said] = [one for one in observed if one.asset_key == TRANSFORMED]
    assert "4 questions wait for a batch at the provider: batch_0" in said.description
    assert said.metadata["waiting_for"].data == ["batch_0"]


def test_the_sensor_looks_and_starts_the_run_that_goes_on_once(project, server, daemon):
    project.texts(4)
    project.batch_pipeline()
    assert "no run waits" in daemon.tick().skip_message
    daemon.run()
    waiting = daemon.tick()
    assert waiting.run_requests == [] and "in progress, 0 of 4 questions done" in waiting.skip_message
    server.finish()
    [request] = daemon.tick().run_requests
    [same] = (
        daemon.tick().run_requests
    )  # nothing is lost when the daemon dies here: it asks again, for the same run
    assert same.run_key == request.run_key
    result = daemon.run(request)
    assert result.success and len(project.table()) == 4
    assert daemon.instance.get_latest_materialization_event(TRANSFORMED) is not None
    assert daemon.tick().run_requests == [] and server.stats()["create"] == 1


def test_a_run_that_ends_before_it_goes_on_is_started_again_three_times_at_most(project, server, daemon):
    project.texts(4)
    project.batch_pipeline()
    daemon.run()
    server.finish()
    keys = []
    for _ in range(3):
        [request] = daemon.tick().run_requests
        keys.append(request.run_key)
        run = daemon.instance.create_run_for_job(
            build_definitions(project.root).resolve_job_def("classify"), tags=dict(request.tags)
        )
        daemon.instance.report_run_failed(run)
    assert len(set(keys)) == 3
    assert "3 runs for it did not begin" in daemon.tick().skip_message


def test_what_somebody_cancelled_is_not_asked_again_by_itself(project, server, daemon):
    project.texts(4)
    project.batch_pipeline()
    daemon.run()
    [row] = Loom.open(project.root).ledger.batches.open()
    Loom.open(project.root).batching.cancel(row.batch_id, "me")
    assert daemon.tick().run_requests == []
    assert "was cancelled or refused" in daemon.tick().skip_message
    assert server.stats()["create"] == 1


def test_a_key_that_is_refused_fails_the_tick_in_words(project, server, daemon):
    project.texts(4)
    project.batch_pipeline()
    daemon.run()
    server.faults = {"look": [401]}
    with pytest.raises(RuntimeError, match=r"classify: .* does not accept the key"):
        daemon.tick()


def test_each_partition_waits_for_its_own_batch(project, server, daemon):
    for name in ("a", "b"):
        project.reviews({f"{name}1": f"one {name}", f"{name}2": f"two {name}"}, f"data/{name}/r.parquet")
    project.batch_pipeline(
        extract={"source": "data/{{ partition }}/r.parquet", "partitions": ["a", "b"]},
        load={"destination": "out/"},
    )
    for partition in ("a", "b"):
        assert daemon.run(partition=partition).success
    server._end(next(iter(server.batches.values())), "completed")
    [request] = daemon.tick().run_requests
    assert request.partition_key == "a"
    assert daemon.run(request).success
    server.finish()
    [request] = daemon.tick().run_requests
    assert request.partition_key == "b" and daemon.run(request).success


def test_what_waits_for_a_batch_that_another_pipeline_sent_is_started_too(project, server, daemon):
    project.reviews({"a": "same.", "b": "other."})
    project.batch_pipeline()
    project.batch_pipeline("twin")
    assert project.ask().waits and project.ask("twin").waits and server.stats()["create"] == 1
    waits = daemon.tick("twin__batches")
    assert not waits.run_requests and "of 2 questions done" in waits.skip_message
    server.finish()
    [request] = daemon.tick("twin__batches").run_requests
    assert request.tags["loom/batches"]
