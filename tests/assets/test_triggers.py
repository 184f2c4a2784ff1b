"""Pipelines that run by themselves, tick by tick: real sources, the real loom, a real Dagster instance."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.events import EngineEventData
from dagster._core.loader import LoadingContextForTest

from loom_dagster.assembly import Loom
from loom_dagster.assets import build_definitions

PROMPT = """---
version: {version}
examples:
  - {{input: good, output: '{{"mood": "up"}}'}}
---
{{{{ input.text }}}}{more}
"""
PIPELINE = """
name: {name}
trigger: {trigger}
extract: {{source: "{source}", key: id{extract}}}
transform: {{prompt: prompts/mood.txt, model: offline/demo}}
evaluate: {{batch_threshold: {threshold}{gate}}}
load: {{destination: data/out/{name}{folder}, format: jsonl, columns: all, schema: {{mood: {{type: string}}}}}}
"""
NAME = "moods__new_data"
NOW = datetime(2026, 1, 6, tzinfo=UTC)
LABEL = ", evaluators: [{name: label, type: exact_match, field: mood, reference_field: expected}]"


@dataclass
class Ticking:
    """The daemon's part, by hand: one sensor, its cursor, and runs of what it asks for."""

    instance: dg.DagsterInstance
    root: Path
    sensor: str = NAME
    cursor: str | None = None
    defs: dg.Definitions | None = None

    def stay(self) -> dg.Definitions:
        """From now on the code location is not loaded again; runs read the project anew, as their processes do."""
        self.defs = build_definitions(self.root)
        return self.defs

    def tick(self) -> Any:
        defs = self.defs or build_definitions(self.root)  # as after a restart
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=defs, sensor_name=self.sensor
        )
        found = defs.resolve_sensor_def(self.sensor).evaluate_tick(context)
        for event in found.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = found.cursor
        return found

    def run(self, request: dg.RunRequest) -> Any:
        job = build_definitions(self.root).resolve_job_def("moods")
        return job.execute_in_process(
            partition_key=request.partition_key,
            instance=self.instance,
            tags=request.tags,
            asset_selection=request.asset_selection,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def tick_and_run(self) -> Any:
        [request] = self.tick().run_requests
        return self.run(request)

    def quiet(self) -> str:
        found = self.tick()
        assert found.run_requests == []
        return str(found.skip_message)

    def loaded(self, name: str = "moods") -> list[str]:
        out = self.root / "data" / "out"
        files = [*out.glob(f"{name}.jsonl"), *out.glob(f"{name}/**/*.jsonl")]
        return sorted(json.loads(line)["id"] for path in files for line in path.read_text().splitlines())

    def stale(self, asset: str) -> list[str]:
        """Why an asset is out of date."""
        graph = build_definitions(self.root).resolve_asset_graph()
        found = CachingStaleStatusResolver(self.instance, graph, LoadingContextForTest(self.instance))
        return [cause.reason for cause in found.get_stale_causes(dg.AssetKey(asset.split("/")))]


@pytest.fixture
def root(desk: Any) -> Path:
    write_prompt(desk.root)
    (desk.root / "data" / "in").mkdir(parents=True)
    write(desk.root)
    return desk.root


@pytest.fixture
def ticking(root: Path, tmp_path: Path) -> Iterator[Ticking]:
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        yield Ticking(instance, root)


def write_prompt(root: Path, more: str = "", version: str = "v1") -> None:
    (root / "prompts" / "mood.txt").write_text(PROMPT.format(more=more, version=version))


def write(root: Path, name: str = "moods", **over: str) -> None:
    said = {
        "trigger": "{on: new_data}",
        "source": "data/in/*.jsonl",
        "extract": "",
        "threshold": "0",
        "gate": "",
        "folder": ".jsonl",
    }
    (root / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name, **said | over))


def drop(root: Path, name: str, *ids: str) -> None:
    rows = "".join(
        json.dumps({"id": i, "text": "good", "expected": "down" if i.startswith("bad") else "up"}) + "\n"
        for i in ids
    )
    beside = root / "data" / f".{name}"
    beside.write_text(rows)
    beside.replace(root / "data" / "in" / name)


@pytest.mark.parametrize("extract", ["", ", incremental: true"])
def test_each_file_is_run_for_once(ticking: Ticking, root: Path, extract: str) -> None:
    write(root, extract=extract)
    assert "nothing is there yet: data/in/*.jsonl" in ticking.quiet()
    drop(root, "one.jsonl", "a", "b")
    assert ticking.tick_and_run().success
    assert ticking.quiet() == "nothing new"
    drop(root, "two.jsonl", "c")
    assert ticking.tick_and_run().success
    assert ticking.quiet() == "nothing new"
    assert ticking.loaded() == ["a", "b", "c"]


def test_what_a_person_ran_is_not_run_again(ticking: Ticking, root: Path) -> None:
    drop(root, "one.jsonl", "a")
    loom = Loom.open(root)
    loom.run("moods")
    loom.load("moods")
    assert ticking.quiet() == "nothing new"


def test_what_comes_while_a_run_reads_is_run_for_after_it(ticking: Ticking, root: Path) -> None:
    drop(root, "one.jsonl", "a")
    [request] = ticking.tick().run_requests
    drop(root, "two.jsonl", "b")  # after the tick, before the run: the run takes both
    assert ticking.run(request).success
    assert ticking.loaded() == ["a", "b"]
    assert ticking.quiet() == "nothing new"

    taken = Loom.open(root).triggers.taken(
        "moods"
    )  # noted, and then something comes before the source is opened
    assert taken is not None
    drop(root, "three.jsonl", "c")
    ledger = Loom.open(root).ledger
    ledger.takings.note(ledger.runs("moods")[0].run_id, taken)
    assert ticking.tick_and_run().success
    assert ticking.loaded() == ["a", "b", "c"]


def test_a_tick_that_fails_loses_nothing(ticking: Ticking, root: Path) -> None:
    drop(root, "one.jsonl", "a")
    assert ticking.tick_and_run().success
    (root / "data" / "in" / "table.csv").write_text("id,text\n")
    write(root, source="data/in")
    with pytest.raises(Exception, match="moods: data/in has files of several formats"):
        ticking.tick()
    (root / "data" / "in" / "table.csv").unlink()
    drop(root, "two.jsonl", "b")
    ticking.cursor = "what someone wrote there"
    assert ticking.tick_and_run().success
    assert ticking.loaded() == ["a", "b"]


def test_a_run_that_failed_is_asked_for_again_after_a_while(
    ticking: Ticking, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "data" / "out").write_text("in the way")
    drop(root, "one.jsonl", "a")
    assert not ticking.tick_and_run().success
    assert "did not end well, the next try is at" in ticking.quiet()
    (root / "data" / "out").unlink()
    write(root, gate=", on_batch_failure: load_passed")  # mended: a change of the pipeline is tried at once
    assert ticking.tick_and_run().success
    assert ticking.loaded() == ["a"]
    assert ticking.quiet() == "nothing new"


def test_a_run_that_a_person_canceled_is_not_asked_for_until_something_comes(
    ticking: Ticking, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loom_dagster.assembly import Loom as Real

    drop(root, "one.jsonl", "a")
    run = Real.run

    def terminated(self: Real, *arguments: Any, **named: Any) -> Any:
        """What the button does: Dagster notes the wish, and the process of the run gets a signal."""
        found = ticking.instance.get_run_by_id(named["dagster_run_id"])
        assert found is not None
        ticking.instance.report_run_canceling(found)
        asked = threading.Event()
        named["stop"].when_requested(asked.set)
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.wait(20), "nobody asked the run to stop"
        return run(self, *arguments, **named)

    with monkeypatch.context() as once, contextlib.suppress(dg.DagsterExecutionInterruptedError):
        once.setattr(Real, "run", terminated)
        ticking.tick_and_run()
    [canceled] = ticking.instance.get_runs()
    assert canceled.status is dg.DagsterRunStatus.CANCELED
    assert "the last run was canceled" in ticking.quiet()
    drop(root, "two.jsonl", "b")
    assert ticking.tick_and_run().success
    assert ticking.loaded() == ["a", "b"]


def test_a_pipeline_is_run_once_for_an_edit_that_the_code_location_does_not_know(
    ticking: Ticking, root: Path
) -> None:
    write(root, trigger="{on: [new_data, prompt]}")
    ticking.sensor = "moods__new_data__prompt"
    drop(root, "one.jsonl", "a")
    defs = ticking.stay()
    assert ticking.tick_and_run().success
    (root / "prompts" / "mood.txt").rename(root / "prompts" / "feeling.txt")
    text = (root / "pipelines" / "moods.yaml").read_text()
    (root / "pipelines" / "moods.yaml").write_text(text.replace("mood.txt", "feeling.txt"))
    drop(root, "two.jsonl", "b")
    assert ticking.tick_and_run().success
    assert ticking.quiet() == "nothing new"
    assert ticking.defs is defs


def test_only_the_load_is_asked_for_when_only_that_failed(ticking: Ticking, root: Path) -> None:
    drop(root, "one.jsonl", "a")
    loom = Loom.open(root)
    loom.run("moods")  # and nobody loaded it
    [request] = ticking.tick().run_requests
    assert [key.to_user_string() for key in request.asset_selection or ()] == ["file/data/out/moods.jsonl"]
    assert ticking.run(request).success
    assert ticking.loaded() == ["a"]
    assert ticking.quiet() == "nothing new"
    assert len(loom.ledger.runs("moods")) == 1


def test_a_held_batch_is_not_asked_for_again(ticking: Ticking, root: Path) -> None:
    write(root, threshold="1.0", gate=LABEL)
    drop(root, "one.jsonl", "a", "bad")
    assert not ticking.tick_and_run().success
    assert ticking.quiet() == "nothing new"
    assert ticking.loaded() == []
    Loom.open(root).release("moods", why="looked at it")
    [request] = ticking.tick().run_requests  # a person let it through: only its load is left
    assert ticking.run(request).success
    assert ticking.loaded() == ["a"]


def test_two_runs_of_a_pipeline_are_never_asked_for(ticking: Ticking, root: Path) -> None:
    drop(root, "one.jsonl", "a")
    [request] = ticking.tick().run_requests
    job = build_definitions(root).resolve_job_def("moods")
    run = ticking.instance.create_run_for_job(job, tags=request.tags)
    assert ticking.quiet() == f"run {run.run_id} is going on"
    ledger = Loom.open(root).ledger
    ticking.instance.delete_run(run.run_id)
    handle = ledger.begin_run("moods", "", "f")
    assert "a run is going on" in ticking.quiet()
    ledger.leave_run(handle)
    assert len(ticking.tick().run_requests) == 1


def test_a_run_whose_process_was_killed_is_ended_and_asked_for_again(ticking: Ticking, root: Path) -> None:
    drop(root, "one.jsonl", "a")
    [request] = ticking.tick().run_requests
    instance = ticking.instance
    job = build_definitions(root).resolve_job_def("moods")
    run = instance.create_run_for_job(job, tags=request.tags)
    instance.report_dagster_event(
        dg.DagsterEvent(event_type_value="PIPELINE_START", job_name="moods"), run.run_id
    )
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    instance.report_engine_event("Started process for run", run, EngineEventData.in_process(pid))
    assert "the next try is at" in ticking.quiet()
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


@dataclass
class Table:
    path: Path

    def add(self, *rows: tuple[str, int | str]) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, text TEXT, at)")
            connection.executemany("INSERT INTO notes VALUES (?, 'good', ?)", rows)
        connection.close()


def test_rows_of_a_table_and_those_that_come_late(ticking: Ticking, root: Path) -> None:
    table = Table(root / "data" / "shop.db")
    table.add()
    write(root, source="sqlite:///data/shop.db/notes", extract=", incremental: {cursor: at, lag: 10s}")
    assert "nothing is there yet" in ticking.quiet()
    table.add(("a", 100), ("b", 105))
    assert ticking.tick_and_run().success
    assert ticking.quiet() == "nothing new"
    table.add(("late", 97))  # committed after the watermark went by
    assert ticking.tick_and_run().success
    table.add(("same", 105))
    assert ticking.tick_and_run().success
    table.add(("c", 200))
    assert ticking.tick_and_run().success
    assert ticking.quiet() == "nothing new"
    assert ticking.loaded() == ["a", "b", "c", "late", "same"]


def test_a_database_that_is_away_fails_the_tick(ticking: Ticking, root: Path) -> None:
    write(root, source="sqlite:///data/shop.db/notes", extract=", incremental: {cursor: at}")
    with pytest.raises(Exception, match="there is no database file"):
        ticking.tick()
    Table(root / "data" / "shop.db").add(("a", 1))
    assert ticking.tick_and_run().success


def test_a_new_batch_of_another_pipeline(ticking: Ticking, root: Path) -> None:
    write(root, "first", trigger="{cron: '@daily'}", threshold="1.0", gate=LABEL)
    write(root, source="pipeline://first", extract=", columns: [id, text]")
    assert "nothing is there yet" in ticking.quiet()
    loom = Loom.open(root)
    drop(root, "one.jsonl", "a", "bad")
    loom.run("first")
    assert "nothing is there yet" in ticking.quiet()  # it is held
    loom.release("first", why="looked at it")  # an event of nobody's
    assert ticking.tick_and_run().success
    assert ticking.loaded() == ["a"]
    assert ticking.quiet() == "nothing new"
    loom.run("first")  # the same again
    assert ticking.quiet() == "nothing new"


def test_an_edit_of_a_prompt(ticking: Ticking, root: Path) -> None:
    ticking.sensor = "moods__prompt"
    write(root, trigger="{on: prompt}")
    drop(root, "one.jsonl", "a")
    assert ticking.quiet() == "nothing new"  # it has not run: that is nobody's edit
    loom = Loom.open(root)
    loom.run("moods")
    loom.load("moods")
    assert ticking.quiet() == "nothing new"
    write_prompt(root, " again", "v2")
    assert ticking.tick_and_run().success
    assert ticking.quiet() == "nothing new"
    (root / "prompts" / "versions.lock").write_text('[mood]\n"v1" = "sha256:00"\n')
    write_prompt(root, " and again", "v3")
    assert "prompt `mood` is being edited; `loom prompts lock` makes it count" in ticking.quiet()


def test_what_is_read_is_observed_when_it_changes_and_makes_tables_stale(
    ticking: Ticking, root: Path
) -> None:
    write(root, trigger="{on: [new_data, prompt]}")
    ticking.sensor = "moods__new_data__prompt"
    drop(root, "one.jsonl", "a")
    found = ticking.tick()
    noted = [event.asset_key.to_user_string() for event in found.asset_events]
    assert [name.rpartition("-")[0] or name for name in noted] == ["file/data/in/_.jsonl", "prompts/mood"]
    assert ticking.run(found.run_requests[0]).success
    assert ticking.stale("moods/transformed") == []
    assert ticking.tick().asset_events == []  # nothing changed, nothing is noted
    drop(root, "two.jsonl", "b")
    assert len(ticking.tick().asset_events) == 1
    assert ticking.stale("moods/transformed") == ["has a new dependency data version"]
    ticking.run(ticking.tick().run_requests[0])
    assert ticking.stale("moods/transformed") == []
    write_prompt(root, " again")
    assert [e.asset_key.to_user_string() for e in ticking.tick().asset_events] == ["prompts/mood"]
    assert "has a new dependency data version" in ticking.stale("moods/transformed")


def test_a_schedule(ticking: Ticking, root: Path) -> None:
    write(root, trigger="{cron: '0 6 * * *', timezone: Europe/Berlin}")
    drop(root, "one.jsonl", "a")
    defs = build_definitions(root)
    schedule = defs.resolve_schedule_def("moods__cron")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * *", "Europe/Berlin")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING

    def tick() -> Any:
        return schedule.evaluate_tick(
            dg.build_schedule_context(instance=ticking.instance, scheduled_execution_time=NOW)
        )

    assert len(tick().run_requests) == 1
    ticking.instance.create_run_for_job(defs.resolve_job_def("moods"), tags={"loom/pipeline": "moods"})
    assert "a run of moods is going on" in tick().skip_message


def test_partitions_are_run_one_by_one_and_again_when_something_comes_to_them(
    ticking: Ticking, root: Path
) -> None:
    write(
        root,
        source="data/in/{{ partition }}.jsonl",
        extract=", partitions: [north, south]",
        folder="/, mode: overwrite",
    )
    assert "nothing is there yet" in ticking.quiet()
    drop(root, "south.jsonl", "s1")
    [request] = ticking.tick().run_requests
    assert request.partition_key == "south"
    assert ticking.run(request).success
    assert ticking.quiet() == "nothing new"
    drop(root, "north.jsonl", "n1")
    assert ticking.tick_and_run().success
    drop(root, "south.jsonl", "s1", "s2")
    assert ticking.tick_and_run().success
    assert ticking.quiet() == "nothing new"
    assert ticking.loaded() == ["n1", "s1", "s2"]


def test_rows_that_come_late_to_a_day_run_it_again(ticking: Ticking, root: Path) -> None:
    table = Table(root / "data" / "shop.db")
    write(
        root,
        trigger="{on: new_data, lookback: 3}",
        source="sqlite:///data/shop.db/notes",
        extract=", partitions: {every: daily, start: 2026-01-01, end: 2026-01-06, column: at}",
        folder="/, mode: overwrite",
    )
    table.add(("a", "2026-01-02"), ("b", "2026-01-04"), ("c", "2026-01-05"))  # the second is too long ago
    for day in ("2026-01-04", "2026-01-05"):
        [request] = ticking.tick().run_requests
        assert request.partition_key == day
        assert ticking.run(request).success
    assert "not" in ticking.quiet() or ticking.quiet() == "nothing new"
    table.add(("late", "2026-01-04"))
    assert ticking.tick_and_run().success
    assert ticking.loaded() == ["b", "c", "late"]


def test_a_schedule_runs_the_partitions_that_were_completed_since(ticking: Ticking, root: Path) -> None:
    write(
        root,
        trigger="{cron: '@daily'}",
        source="data/in/{{ partition }}.jsonl",
        extract=", partitions: {every: daily, start: 2026-01-01, end: 2026-01-06}",
        folder="/, mode: overwrite",
    )
    for day in range(1, 6):
        drop(root, f"2026-01-0{day}.jsonl", f"d{day}")
    loom = Loom.open(root)
    assert loom.triggers.scheduled("moods") == ["2026-01-05"]
    loom.run("moods", partition="2026-01-03")
    assert loom.triggers.scheduled("moods") == ["2026-01-04", "2026-01-05"]
    defs = build_definitions(root)
    context = dg.build_schedule_context(
        instance=ticking.instance,
        scheduled_execution_time=NOW,
        repository_def=defs.get_repository_def(),
    )
    asked = defs.resolve_schedule_def("moods__cron").evaluate_tick(context).run_requests or []
    assert [request.partition_key for request in asked] == ["2026-01-04", "2026-01-05"]
