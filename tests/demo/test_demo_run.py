"""`make demo` in a copy of the project: both pipelines run offline, and everything is accounted for."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("pyproject.toml", "definitions.py", "pipelines", "prompts", "context", "data")


def loom(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOOM_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, "-c", "from loom_dagster.cli.main import main; main()", *words],
        cwd=project,
        env={**kept, "CI": "true"},  # an unlocked prompt is an error there
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("a clone") / "loom dagster"
    folder.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("out", "__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


@pytest.fixture(scope="module")
def ran(project) -> subprocess.CompletedProcess[str]:
    result = loom(project, "run", "customer_sentiment", "review_insights", "--direct")
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def quarantine(project, ran) -> list[dict]:
    listed = loom(project, "quarantine", "list", "customer_sentiment", "--limit", "1000", "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    return found if isinstance(found, list) else found["records"]


def test_pipelines_of_the_demo_are_valid(project):
    result = loom(project, "validate", "--strict")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_line_of_the_source_is_loaded_or_in_quarantine(project, quarantine):
    lines = (project / "data" / "reviews.jsonl").read_text(encoding="utf-8").splitlines()
    loaded = pq.read_table(project / "data" / "out" / "sentiment_scores.parquet")
    assert loaded.num_rows + len(quarantine) == len(lines)
    assert len(set(loaded["id"].to_pylist())) == loaded.num_rows


def test_quarantine_is_visible_but_small(quarantine):
    assert 10 <= len(quarantine) <= 45
    stages = {entry["stage"] for entry in quarantine}
    assert {"extract", "evaluate"} <= stages
    assert all(entry["reason"] for entry in quarantine)


def test_terminal_says_that_the_answers_are_simulated(ran):
    assert "simulated" in ran.stdout + ran.stderr


def test_second_pipeline_reads_what_the_first_one_released(project, ran):
    loaded = pq.read_table(project / "data" / "out" / "sentiment_scores.parquet", columns=["id"])
    with (project / "data" / "out" / "review_insights.csv").open(encoding="utf-8", newline="") as file:
        insights = list(csv.DictReader(file))
    assert 0 < len(insights) <= loaded.num_rows
    assert {row["id"] for row in insights} <= set(loaded["id"].to_pylist())


def test_demo_again_changes_nothing_and_asks_nothing(project, ran):
    tables = [project / "data" / "out" / name for name in ("sentiment_scores.parquet", "review_insights.csv")]
    before = pq.read_table(tables[0]), tables[1].read_text(encoding="utf-8")
    again = loom(project, "run", "customer_sentiment", "review_insights", "--direct")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (pq.read_table(tables[0]), tables[1].read_text(encoding="utf-8")) == before
