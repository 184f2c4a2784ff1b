"""The benchmarks run, and see what a tool loses. What they measure is measured there, never here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.runs import check, labels, write_records

ROOT = Path(__file__).parents[2]


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.compare",
        *arguments,
        "--here",
        "--records",
        "20",
        "--latency",
        "0.01",
    ]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def rows(markdown: str) -> dict[str, dict[str, str]]:
    """The table as ``{contestant: {heading: cell}}``."""
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


@pytest.mark.slow
@pytest.mark.service
def test_a_run_and_a_script_are_measured_side_by_side() -> None:
    done = compare("plain", "--contestants", "loom", "aiohttp", "nobody")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    for name in ("loom", "aiohttp"):
        assert {k: table[name][k] for k in ("lost", "double", "wrong", "paid", "paid twice")} == {
            "lost": "0",
            "double": "0",
            "wrong": "0",
            "paid": "20",
            "paid twice": "0",
        }
        assert float(table[name]["span / ideal"]) >= 1
        assert float(table[name]["peak MB"]) > 10
    assert "not measured: no such contestant" in table["nobody"]["span / ideal"]


@pytest.mark.slow
@pytest.mark.service
def test_a_budget_is_measured_at_the_server() -> None:
    done = compare("budget", "--contestants", "loom", "aiohttp", "--in-flight", "4")
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    assert float(table["loom"]["overspend, USD"]) <= 0
    assert float(table["aiohttp"]["overspend, USD"]) > 0  # it knows of no budget


def test_lost_double_and_wrong_rows_are_counted(tmp_path: Path) -> None:
    records, answers, known = (
        write_records(tmp_path / "records.jsonl", 5),
        tmp_path / "answers.jsonl",
        labels(5),
    )
    other = {"positive": "negative", "negative": "positive"}
    right = [{"id": f"r{i}", "sentiment": known[f"Review {i}"]} for i in range(5)]
    wrong = {"id": "r4", "sentiment": other[known["Review 4"]]}
    answers.write_text("".join(json.dumps(row) + "\n" for row in [right[0], right[1], right[1], wrong]))
    assert check(records, answers) == {"lost": 2, "double": 1, "wrong": 1}
    assert check(records, tmp_path / "none.jsonl") == {"lost": 5, "double": 0, "wrong": 0}
