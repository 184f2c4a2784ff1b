"""`materialize`: what `loom run` does, in the project's own Dagster home."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assets import materialize, ui_command
from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.events import ignore
from loom_dagster.settings import RunOptions


def run(desk: Any, loom: Any, *names: str, environ: Any = None, **options: Any) -> list[Any]:
    return materialize(
        desk.root,
        list(names),
        RunOptions(**options),
        ignore,
        open_loom=lambda _: loom,
        environ={"DAGSTER_HOME": str(desk.home)} if environ is None else environ,
    )


def test_runs_checks_and_loads_and_is_there_for_the_ui(desk: Any, capfd: pytest.CaptureFixture[str]) -> None:
    desk.write("p")
    loom = desk.loom()
    (outcome,) = run(desk, loom, "p", environ={})
    assert (outcome.pipeline, outcome.status, outcome.exit_code) == ("p", "succeeded", 0)
    assert outcome.load.loaded
    assert outcome.load.rows == 2
    assert "".join(capfd.readouterr()) == ""  # Dagster keeps its own account; ours is the caller's
    with dg.DagsterInstance.from_config(str(desk.root / ".loom" / "dagster")) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey(["p", "transformed"])) is not None
        (record,) = instance.get_run_records()
        assert record.dagster_run.status == dg.DagsterRunStatus.SUCCESS


def test_only_the_pipelines_that_were_named_in_the_order_they_were_named(desk: Any) -> None:
    desk.write("a")
    desk.write("b", source="pipeline://a")
    desk.write("c")
    loom = desk.loom()
    assert [o.pipeline for o in run(desk, loom, "b", "a")] == ["b", "a"]
    assert [name for name, _ in loom.ran] == ["a", "b"]


def test_a_held_batch_exits_with_one_and_names_what_waits_for_it(desk: Any, script: Any) -> None:
    desk.write("a")
    desk.write("b", source="pipeline://a")
    loom = desk.loom(a=script(status="held"))
    first, second = run(desk, loom, "a", "b")
    assert (first.status, first.exit_code, first.load) == ("held", 1, None)
    assert (second.status, second.exit_code) == ("failed", 1)
    assert second.stopped_by == "not run: what it reads, pipeline://a, was not released"


def test_trials_do_not_wait_for_each_other(desk: Any) -> None:
    desk.write("a")
    desk.write("b", source="pipeline://a")
    loom = desk.loom()
    first, second = run(desk, loom, "a", "b", limit=2)
    assert (first.trial, second.trial, first.exit_code, second.exit_code) == (True, True, 0, 0)
    assert loom.loads == []
    assert all(options.limit == 2 for _, options in loom.ran)


def test_a_misconfiguration_found_on_the_way_is_raised_when_it_is_the_only_thing(
    desk: Any, script: Any
) -> None:
    desk.write("p")
    desk.write("q")
    error = Misconfigured(
        "source is missing", problems=(Problem(what="no such file", where="pipelines/p.yaml:4"),)
    )
    loom = desk.loom(p=script(raises=error))
    with pytest.raises(Misconfigured, match="source is missing"):
        run(desk, loom, "p")
    first, second = run(desk, loom, "p", "q")
    assert (first.exit_code, second.exit_code) == (2, 0)
    assert "pipelines/p.yaml:4: no such file" in first.stopped_by


def test_a_broken_pipeline_is_refused_before_anything_runs(desk: Any) -> None:
    desk.write("good")
    (desk.root / "pipelines" / "bad.yaml").write_text("name: bad\n")
    loom = desk.loom()
    for names in (["bad"], ["good", "bad"], ["good", "nobody"]):
        with pytest.raises(Misconfigured):
            run(desk, loom, *names, environ={})
    assert loom.ran == []
    assert not (desk.root / ".loom" / "dagster").exists()


def test_a_load_that_fails_is_a_failed_run(desk: Any) -> None:
    desk.write("p")
    loom = desk.loom()
    loom.load_raises = Misconfigured("the table has another type")
    (outcome,) = run(desk, loom, "p")
    assert (outcome.status, outcome.exit_code) == ("failed", 2)
    assert outcome.counts.passed == 2
    assert not outcome.load.loaded
    assert "the table has another type" in outcome.load.reason


def test_a_bug_is_a_failed_run_that_says_so(desk: Any, script: Any) -> None:
    desk.write("p")
    (outcome,) = run(desk, desk.loom(p=script(raises=KeyError("oops"))), "p")
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert "KeyError: 'oops'" in outcome.stopped_by


def test_dagster_home_is_honoured(desk: Any, tmp_path: Path) -> None:
    desk.write("p")
    run(desk, desk.loom(), "p", environ={"DAGSTER_HOME": str(tmp_path / "elsewhere")})
    assert (tmp_path / "elsewhere" / "history").exists()
    assert not (desk.root / ".loom" / "dagster").exists()


def test_the_home_asks_for_no_telemetry_and_is_not_overwritten(desk: Any) -> None:
    desk.write("p")
    ui_command(desk.root, environ={})
    yaml = desk.root / ".loom" / "dagster" / "dagster.yaml"
    assert "telemetry:\n  enabled: false" in yaml.read_text()
    yaml.write_text(yaml.read_text() + "# mine\n")
    run(desk, desk.loom(), "p", environ={})
    assert "# mine" in yaml.read_text()


def test_the_command_of_the_ui(desk: Any) -> None:
    argv, environ = ui_command(desk.root, host="0.0.0.0", port=4000, environ={"PATH": "/bin"})
    assert argv[0] == sys.executable
    assert argv[argv.index("-m") :][:3] == ["-m", "dagster", "dev"]
    assert argv[-4:] == ["-h", "0.0.0.0", "-p", "4000"]
    assert "loom_dagster.assets.location" in argv
    assert environ["DAGSTER_HOME"] == str(desk.root / ".loom" / "dagster")
    assert environ["PATH"] == "/bin"
    (desk.root / "definitions.py").write_text("")
    assert str(desk.root / "definitions.py") in ui_command(desk.root, environ={})[0]
