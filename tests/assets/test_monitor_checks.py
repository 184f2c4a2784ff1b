"""Monitors as asset checks: real runs, real instance, the offline model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assets import build_definitions

PROMPT = """---
version: v1
examples:
  - {input: I love it, output: '{"sentiment": "positive"}'}
---
{{ input.text }}
"""
PIPELINE = """
name: reviews
extract: {{source: data/in.csv, key: id}}
transform: {{prompt: prompts/sentiment.txt}}
evaluate:
  evaluators: [{{name: {evaluator}, type: exact_match, field: sentiment, reference_field: expected}}]
load:
  destination: data/out/reviews.csv
  schema: {{sentiment: {{type: string, enum: [positive, negative]}}}}
monitoring: {monitoring}
"""
EVERY = """
  cost_budget: 1
  latency_sla: 5
  quality_threshold: 0.5
  score_degradation: true
  cost_spike: 2x
  rejection_rate: 0.5
  empty_input: true
"""


@pytest.fixture
def root(desk: Any) -> Path:
    (desk.root / "prompts" / "sentiment.txt").write_text(PROMPT)
    (desk.root / "data").mkdir()
    return desk.root


def given(root: Path, monitoring: str, *, wrong: int = 0, total: int = 4, evaluator: str = "label") -> None:
    rows = [f"{i},I love it,{'negative' if i < wrong else 'positive'}" for i in range(total)]
    (root / "data" / "in.csv").write_text("\n".join(["id,text,expected", *rows]) + "\n")
    text = PIPELINE.format(monitoring=monitoring, evaluator=evaluator)
    (root / "pipelines" / "reviews.yaml").write_text(text)


def clicked(desk: Any, *selected: str, checks_only: bool = False) -> Any:
    return desk.run(build_definitions(desk.root), *selected, checks_only=checks_only)


def test_each_monitor_is_a_check_with_its_value_and_threshold(desk: Any, root: Path) -> None:
    given(root, EVERY)
    good = clicked(desk)
    assert good.ok, good.failures
    names = {
        "cost_budget", "latency_sla", "quality_threshold", "score_degradation", "cost_spike", "rejection_rate",
        "empty_input",
    }  # fmt: skip
    assert set(good.checks) == names | {"label", "quality_gate"}
    assert all(check.passed for check in good.checks.values())

    given(root, EVERY, wrong=3)
    bad = clicked(desk)
    assert bad.ok, "none of them blocks"
    failed = {name: check for name, check in bad.checks.items() if not check.passed and name in names}
    assert set(failed) == {"quality_threshold", "rejection_rate"}
    rate = failed["rejection_rate"]
    assert (rate.metadata["value"].value, rate.metadata["threshold"].value) == (0.75, 0.5)
    assert rate.severity is dg.AssetCheckSeverity.WARN
    assert rate.description == "3 of 4 records are in quarantine (75% > 50%)"
    assert "data/out/reviews.csv" in " ".join(bad.materialized)


def test_a_check_alone_says_the_same_and_asks_no_model(desk: Any, root: Path) -> None:
    given(root, EVERY, wrong=3)
    ran = clicked(desk)
    (root / "data" / "in.csv").unlink()  # nothing could be read, so nothing asked
    alone = clicked(desk, "reviews/transformed", checks_only=True)
    told = {name: (c.passed, c.description, c.severity) for name, c in ran.checks.items()}
    assert {name: (c.passed, c.description, c.severity) for name, c in alone.checks.items()} == told
    assert len(Loom.open(root, {}).ledger.runs("reviews")) == 1


def test_a_blocking_one_blocks_what_depends_on_the_batch_until_it_is_released(desk: Any, root: Path) -> None:
    given(root, "{rejection_rate: {max_rate: 0.5, blocking: true}}", wrong=3)
    held = clicked(desk)
    assert set(held.failures) == {"reviews__checks"}
    assert held.materialized == {"reviews/transformed", "reviews/quarantine"}
    found = held.checks["rejection_rate"]
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert "rejection_rate: 3 of 4" in held.checks["quality_gate"].description

    Loom.open(root, {}).release("reviews", why="looked at all of them", who="ann")
    found = clicked(desk, "reviews/transformed", checks_only=True).checks["rejection_rate"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description.endswith("; released by ann: looked at all of them")
    assert clicked(desk, "file/data/out/reviews.csv").ok


def test_an_error_that_holds_nothing_blocks_nothing(desk: Any, root: Path) -> None:
    given(root, "{rejection_rate: {max_rate: 0.5, severity: error}}", wrong=3)
    ran = clicked(desk)
    assert ran.ok
    assert ran.checks["rejection_rate"].severity is dg.AssetCheckSeverity.ERROR
    assert "file/data/out/reviews.csv" in ran.materialized


def test_an_evaluator_keeps_its_name_beside_a_monitor_of_the_same(desk: Any, root: Path) -> None:
    given(root, "{empty_input: true}", evaluator="empty_input")
    ran = clicked(desk)
    assert ran.ok
    assert len(ran.checks) == 3
    assert ran.checks["empty_input"].description.startswith("4 of 4 records reached")
    [monitor] = [c for name, c in ran.checks.items() if name.startswith("empty_input_monitor")]
    assert monitor.description == "4 records were extracted"


def test_one_that_was_switched_on_after_the_run_has_nothing_to_say_yet(desk: Any, root: Path) -> None:
    given(root, "{}")
    clicked(desk)
    given(root, "{empty_input: {blocking: true}}")
    ran = clicked(desk, "reviews/transformed", checks_only=True)
    assert ran.ok, "what was released stays so"
    found = ran.checks["empty_input"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.description == "not looked at: the latest run was without this monitor"
