"""Which engine a pipeline wants is known, shown and checked before anything runs."""

from __future__ import annotations

import json
import sys

import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assembly.identity import code_version
from loom_dagster.cli.main import run_cli
from loom_dagster.execution import Execution
from loom_dagster.settings import load_settings
from tests.journeys.project import Project

RAY = {"engine": "ray", "workers": 3}


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path / "project")
    made.reviews({"a": "good", "b": "bad"})
    made.pipeline()
    return made


def loom(project, *args):
    return run_cli([*args, "--project", str(project.root)])


def test_validate_and_list_say_which_engine(project, capsys):
    assert loom(project, "validate") == 0
    assert "local: in one process" in capsys.readouterr().out
    project.pipeline(execution=RAY)
    assert loom(project, "validate") == 0
    assert "ray: 3 workers, address auto" in capsys.readouterr().out
    assert loom(project, "list") == 0
    assert ", on ray" in capsys.readouterr().out
    assert loom(project, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pipelines"][0]["engine"] == "ray"


def test_nothing_else_changes_with_the_engine(project):
    def identity():
        opened = Loom.open(project.root)
        file = opened.project.pipeline("classify")
        return code_version(file, opened.settings), opened.prepared(
            "classify", None, project.root / "scratch"
        ).fingerprint()

    before = identity()
    project.pipeline(execution=RAY)
    assert identity() == before


def test_without_the_extra_the_command_that_installs_it_is_told(project, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    project.pipeline(execution=RAY)
    for command in ("validate", "run"):
        assert loom(project, command, "classify") == 2
        told = "".join(capsys.readouterr())
        assert "pipelines/classify.yaml:" in told
        assert "`engine: ray`: Ray is not installed (pip install 'loom-dagster[ray]')" in told


def test_batches_and_streams_stay_in_one_process(project, capsys):
    project.pipeline(execution=RAY, transform={"mode": "batch"})
    assert loom(project, "validate") == 2
    assert (
        "`engine: ray`: with `transform.mode: batch` the work is done at the provider"
        in capsys.readouterr().out
    )
    project.pipeline(execution=RAY, extract={"source": "redis://queue/reviews"})
    assert loom(project, "validate") == 2
    assert "`engine: ray`: a stream is consumed in small batches" in capsys.readouterr().out


def test_the_engine_of_the_project_is_told_where_it_stands(project, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("LOOM_EXECUTION_ENGINE", "ray")
    assert loom(project, "validate") == 2
    assert "[tool.loom.execution]: `engine: ray`: Ray is not installed" in capsys.readouterr().out
    assert load_settings(project.root).execution == Execution(engine="ray")
