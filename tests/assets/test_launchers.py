"""A launcher that may start runs on several machines, and files that stay on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assets import build_definitions

CELERY = """
run_launcher: {module: dagster_celery.launcher, class: CeleryRunLauncher, config: {broker: 'memory://'}}
telemetry: {enabled: false}
"""
PIPELINE = """
name: moods
extract: {source: data/in.jsonl, key: id}
transform: {prompt: prompts/mood.txt, model: offline/demo}
load: {destination: out/moods.jsonl, schema: {mood: string}}
"""
ON_A_SERVER = "postgresql://nobody@127.0.0.1:1/nowhere?schema=loom"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "pyproject.toml": "[tool.loom]\n",
        "pipelines/moods.yaml": PIPELINE,
        "prompts/mood.txt": "{{ input.text }}",
        "data/in.jsonl": '{"id": 1, "text": "good"}\n',
    }
    for name, text in files.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "project"


def said(root: Path, home: Path, yaml: str) -> list[str]:
    """What a run logs of its launcher."""
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        defs: Any = build_definitions(root).resolve_implicit_global_asset_job_def()
        run = defs.execute_in_process(
            instance=instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        return [
            e.user_message
            for e in instance.all_logs(run.run_id)
            if "may start runs on several" in e.user_message
        ]


def test_files_are_warned_of_where_runs_may_be_on_several_machines(root: Path, tmp_path: Path) -> None:
    [warned] = said(root, tmp_path / "celery", CELERY)
    assert warned.startswith("CeleryRunLauncher") and "LOOM_LEDGER and LOOM_ANSWERS" in warned
    assert said(root, tmp_path / "own", "telemetry: {enabled: false}\n") == []


def test_what_is_on_a_server_is_not_warned_of(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOM_ANSWERS", ON_A_SERVER)
    [warned] = said(root, tmp_path / "ledger", CELERY)
    assert "and ledger are files in .loom" in warned and "LOOM_ANSWERS" not in warned
