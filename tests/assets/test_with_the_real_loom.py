"""The same assets with everything real: files, the offline provider, ledger, releases, destination."""

import importlib.util
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assets import build_definitions, materialize
from loom_dagster.settings import RunOptions

PROMPT = """---
version: v1
examples:
  - input: I love it, it is wonderful and great
    output: '{"sentiment": "positive"}'
  - input: I hate it, it is terrible and broken
    output: '{"sentiment": "negative"}'
---
{{ input.text }}
"""

PIPELINE = """
name: {name}
extract: {{source: "{source}", key: id}}
transform: {{prompt: prompts/sentiment.txt}}
evaluate:
  evaluators: [{{name: label, type: exact_match, field: sentiment, reference_field: expected}}]
  batch_threshold: {threshold}
load:
  destination: {destination}
  columns: all
  schema: {{sentiment: {{type: string, enum: [positive, negative]}}}}
"""

ROWS = """id,text,expected
1,"I love it, it is wonderful and great",positive
2,"I hate it, it is terrible and broken",negative
3,"I love it, it is wonderful and great",positive
4,"I hate it, it is terrible and broken",positive
"""


@pytest.fixture
def root(desk: Any) -> Path:
    (desk.root / "prompts" / "sentiment.txt").write_text(PROMPT)
    (desk.root / "data").mkdir()
    (desk.root / "data" / "in.csv").write_text(ROWS)
    write(desk.root, "reviews", threshold=0.7)
    return desk.root


def write(root: Path, name: str, *, threshold: float, source: str = "data/in.csv") -> None:
    text = PIPELINE.format(name=name, source=source, threshold=threshold, destination=f"data/out/{name}.csv")
    (root / "pipelines" / f"{name}.yaml").write_text(text)


def run(desk: Any, *names: str, **options: Any) -> list[Any]:
    environ = {"DAGSTER_HOME": str(desk.home)}
    return materialize(desk.root, list(names), RunOptions(**options), environ=environ)


def loaded(root: Path, name: str) -> set[int]:
    path = root / "data" / "out" / f"{name}.csv"
    return set(pd.read_csv(path)["id"]) if path.exists() else set()


@dg.asset(ins={"rows": dg.AssetIn(key=["reviews", "transformed"])})
def weekly(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> None:
    context.add_output_metadata({"ids": ",".join(str(i) for i in sorted(rows["id"]))})


@dg.asset(ins={"rows": dg.AssetIn(key=["reviews", "quarantine"])})
def labelling(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> None:
    context.add_output_metadata({"resolutions": ",".join(str(r) for r in rows["resolution"])})


def clicked(desk: Any, *selected: str) -> Any:
    defs = dg.Definitions.merge(build_definitions(desk.root), dg.Definitions(assets=[weekly, labelling]))
    return desk.run(defs, *selected)


def test_everything_at_once(desk: Any, root: Path) -> None:
    ran = clicked(desk)
    assert ran.ok, ran.failures
    assert loaded(root, "reviews") == {1, 2, 3}
    assert ran.metadata("weekly")["ids"] == "1,2,3"
    assert ran.checks["quality_gate"].passed
    assert ran.checks["label"].metadata["failed"].value == 1
    found = ran.metadata("reviews/transformed")
    assert (found["extracted"], found["passed"], found["quarantined"]) == (4, 3, 1)
    assert found["simulated"] is True
    assert ran.metadata("reviews/quarantine")["dagster/row_count"] == 1


def test_a_held_batch_is_neither_loaded_nor_read_until_someone_releases_it(desk: Any, root: Path) -> None:
    write(root, "reviews", threshold=0.9)
    ran = clicked(desk)
    assert not ran.ok
    assert not ran.checks["quality_gate"].passed
    assert "weekly" not in ran.materialized
    for selected in ("file/data/out/reviews.csv", "weekly"):
        assert not clicked(desk, selected).ok
    assert loaded(root, "reviews") == set()

    loom = Loom.open(root, {})
    loom.release("reviews", why="looked at all four", who="ann")
    (record,) = loom.quarantine("reviews")
    loom.resolve("reviews", [record.record_id], resolution="the label was wrong", who="ann")
    assert clicked(desk, "file/data/out/reviews.csv").ok
    assert loaded(root, "reviews") == {1, 2, 3}
    assert clicked(desk, "weekly").metadata("weekly")["ids"] == "1,2,3"
    assert clicked(desk, "labelling").metadata("labelling")["resolutions"] == "the label was wrong"
    gate = desk.run(build_definitions(root), "reviews/transformed", checks_only=True).checks["quality_gate"]
    assert (gate.passed, gate.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "released by ann: looked at all four" in gate.description


def test_two_pipelines_in_one_run_by_name_and_by_place(desk: Any, root: Path) -> None:
    for name, source in (("again", "pipeline://reviews"), ("more", "data/out/reviews.csv")):
        (root / "pipelines" / f"{name}.yaml").write_text(
            f"name: {name}\nextract: {{source: '{source}', key: id}}\n"
            "transform: {prompt: prompts/sentiment.txt}\n"
            f"load: {{destination: data/out/{name}.csv}}\n"
        )
    outcomes = run(desk, "more", "again", "reviews")
    assert [o.stopped_by for o in outcomes] == [None, None, None]
    assert [o.counts.extracted for o in outcomes] == [3, 3, 4]
    assert [o.exit_code for o in outcomes] == [0, 0, 0]
    assert loaded(root, "again") == loaded(root, "more") == {1, 2, 3}


def test_the_same_run_twice_loads_the_same_rows(desk: Any, root: Path) -> None:
    (first,) = run(desk, "reviews")
    (second,) = run(desk, "reviews")
    assert first.data_version == second.data_version
    assert second.spending.calls == 0
    assert loaded(root, "reviews") == {1, 2, 3}


def test_a_trial_leaves_nothing_behind(desk: Any, root: Path) -> None:
    (outcome,) = run(desk, "reviews", limit=2)
    assert (outcome.trial, outcome.counts.extracted, outcome.exit_code) == (True, 2, 0)
    assert loaded(root, "reviews") == set()
    assert Loom.open(root, {}).verdict("reviews") is None


def test_an_empty_source_is_a_success(desk: Any, root: Path) -> None:
    run(desk, "reviews")
    (root / "data" / "in.csv").write_text(ROWS.splitlines()[0] + "\n")
    ran = clicked(desk)
    assert ran.ok, ran.failures
    assert ran.checks["quality_gate"].passed
    assert loaded(root, "reviews") == {1, 2, 3}
    (outcome,) = run(desk, "reviews")
    assert outcome.exit_code == 0


def test_the_asset_of_the_docs_works(desk: Any, root: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "dagster.md").read_text("utf-8")
    example = page.split("## Assets of your own")[1].split("```python")[1].split("```")[0]
    example = example.replace('"customer_sentiment", "transformed"', '"reviews", "transformed"')
    (root / "mine.py").write_text(example)
    spec = importlib.util.spec_from_file_location("mine", root / "mine.py")
    assert spec is not None and spec.loader is not None
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    run(desk, "reviews")
    definitions = dg.Definitions.merge(
        build_definitions(root), dg.Definitions(assets=[mine.unhappy_customers])
    )
    done = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[dg.AssetKey("unhappy_customers")], instance=desk.instance
    )
    assert done.output_for_node("unhappy_customers") == 1
