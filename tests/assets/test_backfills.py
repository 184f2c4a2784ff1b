"""Partitions in Dagster: run after run or several in one step, it comes to the same."""

import sqlite3
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loom_dagster.assembly import Loom
from loom_dagster.assets import build_definitions

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
name: reviews
extract:
  source: data/in.csv
  key: id
  partitions: {{every: daily, start: 2024-01-01, end: 2024-01-31, column: at}}
transform: {{prompt: prompts/sentiment.txt}}
evaluate:
  evaluators: [{{name: label, type: exact_match, field: sentiment, reference_field: expected}}]
  batch_threshold: 0.7
load:
  destination: sqlite:///data/out.db/reviews
  mode: {mode}
  columns: all
  schema: {{sentiment: {{type: string, enum: [positive, negative]}}}}
"""
TEXTS = {
    "positive": "I love it, it is wonderful and great",
    "negative": "I hate it, it is terrible and broken",
}
DAYS = [f"2024-01-{day:02}" for day in range(1, 31)]
BAD = {"2024-01-07", "2024-01-15", "2024-01-22"}
RANGE = {
    "dagster/asset_partition_range_start": DAYS[0],
    "dagster/asset_partition_range_end": DAYS[-1],
}


@pytest.fixture
def root(desk: Any) -> Path:
    return made(desk.root)


def made(root: Path, *, days: list[str] = DAYS, mode: str = "upsert") -> Path:
    """Four reviews a day, one exactly at midnight; of a bad day three are labelled wrong."""
    for folder in ("prompts", "data", "pipelines"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text('[tool.loom]\nmodel = "offline/demo"\n')
    (root / "prompts" / "sentiment.txt").write_text(PROMPT)
    (root / "pipelines" / "reviews.yaml").write_text(PIPELINE.format(mode=mode))
    rows = [(f"{day}.{hour:02}", f"{day}T{hour:02}:00:00", hour) for day in days for hour in (0, 8, 16, 23)]
    labels = {0: "positive", 8: "negative", 16: "positive", 23: "negative"}
    other = {"positive": "negative", "negative": "positive"}
    lines = ["id,at,text,expected"]
    for record, at, hour in rows:
        wrong = at[:10] in BAD and hour > 0
        label = labels[hour]
        lines.append(f'{record},{at},"{TEXTS[label]}",{other[label] if wrong else label}')
    (root / "data" / "in.csv").write_text("\n".join(lines) + "\n")
    return root


def backfill(root: Path, instance: dg.DagsterInstance, *, tags: Any = None, key: str | None = None) -> Any:
    defs = build_definitions(root)
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags=tags,
        partition_key=key,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def state(root: Path, instance: dg.DagsterInstance) -> dict[str, Any]:
    """All that a backfill leaves behind."""
    loom = Loom.open(root)
    tables, verdicts = {}, {}
    for day, snapshot in sorted(loom.verdicts("reviews").items()):
        tables[day] = (
            pq.read_table(snapshot.transformed, columns=["id", "sentiment"]).to_pylist(),
            pq.read_table(snapshot.quarantine, columns=["record_id", "reason"]).to_pylist(),
            snapshot.data_version,
        )
        verdicts[day] = (
            snapshot.verdict_passed,
            snapshot.verdict_reason,
            snapshot.released_at is not None,
            snapshot.loaded_at is not None,
        )
    with sqlite3.connect(root / "data" / "out.db") as database:
        loaded = database.execute("SELECT id, sentiment FROM reviews ORDER BY id").fetchall()
        loads = database.execute("SELECT partition, mode, rows FROM _loom_loads ORDER BY 1").fetchall()
    materialized = {
        name: sorted(instance.get_materialized_partitions(dg.AssetKey(path)))
        for name, path in (
            ("transformed", ["reviews", "transformed"]),
            ("quarantine", ["reviews", "quarantine"]),
            ("loaded", loaded_key(root)),
        )
    }
    return {
        "tables": tables,
        "verdicts": verdicts,
        "loaded": loaded,
        "loads": loads,
        "materialized": materialized,
        "open": sorted((e.partition, e.record_id) for e in loom.quarantine("reviews")),
    }


def blocked(run: dg.ExecuteInProcessResult) -> bool:
    """Whether the gate has kept the run from loading."""
    [gate] = [c for c in run.get_asset_check_evaluations() if c.check_name == "quality_gate"]
    return not gate.passed and gate.severity == dg.AssetCheckSeverity.ERROR


def loaded_key(root: Path) -> list[str]:
    graph = build_definitions(root).resolve_asset_graph()
    [found] = [k for k in graph.materializable_asset_keys if k.path[0] != "reviews"]
    return list(found.path)


def small(desk: Any, days: list[str]) -> Path:
    return made(desk.root, days=days)


def span(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def check(run: Any, name: str) -> Any:
    [found] = [c for c in run.get_asset_check_evaluations() if c.check_name == name]
    return found


def test_the_gate_names_what_is_held_and_blocks_only_if_nothing_is_released(desk: Any) -> None:
    root = small(desk, DAYS[:8])
    with dg.DagsterInstance.ephemeral() as instance:
        run = backfill(root, instance, tags=span(DAYS[5], DAYS[7]))
        gate = check(run, "quality_gate")
        assert not gate.passed and gate.severity == dg.AssetCheckSeverity.WARN
        assert "2 of 3 partitions passed" in gate.description and "- 2024-01-07: held" in gate.description
        assert instance.get_materialized_partitions(dg.AssetKey(loaded_key(root))) == {DAYS[5], DAYS[7]}
        alone = backfill(root, instance, key=DAYS[6])
        assert blocked(alone)
        assert check(alone, "label").metadata["records"].value == 4


def test_a_range_with_a_partition_that_fails_runs_the_others_and_names_it(desk: Any) -> None:
    root = small(desk, [])
    text = (root / "pipelines" / "reviews.yaml").read_text()
    text = text.replace("data/in.csv", "data/{{ partition }}.csv").replace(", column: at", "")
    (root / "pipelines" / "reviews.yaml").write_text(text)
    for day in (DAYS[0], DAYS[2]):
        rows = f'id,at,text,expected\n{day},{day},"{TEXTS["positive"]}",positive\n'
        (root / "data" / f"{day}.csv").write_text(rows)
    with dg.DagsterInstance.ephemeral() as instance:
        run = backfill(root, instance, tags=span(DAYS[0], DAYS[2]))
        assert not run.success
        [failure] = [e for e in run.all_events if e.event_type_value == "STEP_FAILURE"]
        said = failure.step_failure_data.user_failure_data.description
        assert "1 of 3 partitions failed" in said and f"- {DAYS[1]}: " in said and f"{DAYS[1]}.csv" in said
        made_of = instance.get_materialized_partitions(dg.AssetKey(["reviews", "transformed"]))
        assert made_of == {DAYS[0], DAYS[2]}
        assert set(Loom.open(root).verdicts("reviews")) == {DAYS[0], DAYS[2]}


def test_a_day_of_which_nothing_passes_fails_the_run_and_the_others_are_loaded(desk: Any) -> None:
    root = small(desk, DAYS[:3])
    source = root / "data" / "in.csv"
    lines = source.read_text().splitlines()
    other = {"positive": "negative", "negative": "positive"}
    flipped = [
        f"{line.rpartition(',')[0]},{other[line.rpartition(',')[2]]}" if line.startswith(DAYS[1]) else line
        for line in lines
    ]
    source.write_text("\n".join(flipped) + "\n")
    with dg.DagsterInstance.ephemeral() as instance:
        run = backfill(root, instance, tags=span(DAYS[0], DAYS[2]))
        [failure] = [e for e in run.all_events if e.event_type_value == "STEP_FAILURE"]
        assert failure.step_key == "reviews__load"
        assert f"- {DAYS[1]}: nothing passed" in failure.step_failure_data.user_failure_data.description
        assert instance.get_materialized_partitions(dg.AssetKey(loaded_key(root))) == {DAYS[0], DAYS[2]}


def test_assets_downstream_read_their_partition_or_all_that_are_released(desk: Any) -> None:
    root = small(desk, DAYS[:8])
    seen: dict[str, Any] = {}
    daily = dg.DailyPartitionsDefinition(start_date=DAYS[0], end_date="2024-01-31")
    rows = {"rows": dg.AssetIn(key=["reviews", "transformed"])}

    @dg.asset(ins=rows, partitions_def=daily)
    def same(context: dg.AssetExecutionContext, rows: pd.DataFrame) -> None:
        seen[f"same {context.partition_key}"] = sorted(rows["id"])

    @dg.asset(ins=rows)
    def whole(rows: pa.Table) -> None:
        seen["whole"] = sorted({record[:10] for record in rows.column("id").to_pylist()})

    @dg.asset(ins=rows)
    def files(rows: dict[str, Path]) -> None:
        seen["files"] = rows

    @dg.asset(ins={"bad": dg.AssetIn(key=["reviews", "quarantine"])}, partitions_def=daily)
    def bad(bad: pa.Table) -> None:
        seen["bad"] = bad.num_rows

    defs = dg.Definitions.merge(build_definitions(root), dg.Definitions(assets=[same, whole, files, bad]))
    job = defs.resolve_implicit_global_asset_job_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        backfill(root, instance, tags=span(DAYS[5], DAYS[7]))
        for asset, key in (
            ("same", DAYS[5]),
            ("same", DAYS[6]),
            ("bad", DAYS[6]),
            ("whole", None),
            ("files", None),
        ):
            run = job.execute_in_process(
                asset_selection=[dg.AssetKey(asset)], instance=instance, raise_on_error=False, partition_key=key,
                run_config=quiet,
            )  # fmt: skip
            assert run.success == ((asset, key) != ("same", DAYS[6]))  # a held one is not read
    assert seen["same " + DAYS[5]] == [f"{DAYS[5]}.{hour:02}" for hour in (0, 8, 16, 23)]
    assert "same " + DAYS[6] not in seen
    assert seen["bad"] == 3
    assert seen["whole"] == [DAYS[5], DAYS[7]]
    assert {key: pq.read_table(path).num_rows for key, path in seen["files"].items()} == {
        DAYS[5]: 4,
        DAYS[7]: 4,
    }


@pytest.mark.slow
def test_thirty_days_in_one_run_and_in_thirty_come_to_the_same(tmp_path: Path) -> None:
    found = {}
    for way in ("one", "thirty"):
        root = made(tmp_path / way)
        with dg.DagsterInstance.ephemeral() as instance:
            if way == "one":
                assert backfill(root, instance, tags=RANGE).success
            else:
                ended = {day: backfill(root, instance, key=day) for day in DAYS}
                assert {day for day, run in ended.items() if blocked(run)} == BAD
            found[way] = state(root, instance)
    assert found["one"] == found["thirty"]
    one = found["one"]
    good = [day for day in DAYS if day not in BAD]
    assert [day for day, verdict in one["verdicts"].items() if not verdict[2]] == sorted(BAD)
    assert one["materialized"]["transformed"] == one["materialized"]["quarantine"] == DAYS
    assert one["materialized"]["loaded"] == good
    assert len(one["loaded"]) == 27 * 4
    assert {record[:10] for record, _ in one["loaded"]} == set(good)


def test_a_backfill_is_one_run_or_as_many_as_the_settings_say(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small(desk, DAYS[:2])
    for said, most in ((None, None), ("1", 1), ("7", 7)):
        if said is not None:
            monkeypatch.setenv("LOOM_PARTITIONS_PER_RUN", said)
        defs = build_definitions(root)
        policies = {
            asset.backfill_policy
            for asset in defs.resolve_asset_graph().asset_nodes
            if asset.is_materializable
        }
        assert policies == {
            dg.BackfillPolicy.single_run() if most is None else dg.BackfillPolicy.multi_run(most)
        }
        assert defs.resolve_job_def("reviews").backfill_policy in policies
