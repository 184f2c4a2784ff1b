"""What the tables' columns are called, and what a user may not call theirs."""

from __future__ import annotations

import pyarrow as pa

from loom_dagster.release import check_columns
from loom_dagster.release.columns import score_columns, transformed_schema


def schema(**types):
    return pa.schema(list(types.items()))


def told(source, output):
    return [str(p) for p in check_columns(source, output, where="pipelines/x.yaml:7")]


def test_columns_that_differ_are_fine():
    assert told(schema(id=pa.int64(), review=pa.string()), schema(label=pa.string())) == []


def test_an_output_named_like_a_source_column_gets_a_free_name_suggested():
    [problem] = told(schema(label=pa.string(), predicted_label=pa.string()), schema(label=pa.string()))
    assert problem.startswith(
        "pipelines/x.yaml:7: the output column `label` is named like a column of the source"
    )
    assert "`label_out`" in problem


def test_names_like_ours_and_names_given_twice_are_refused():
    source = pa.schema([("a", pa.int8()), ("a", pa.int8()), ("_loom_x", pa.int8())])
    words = told(source, schema(_loom_model=pa.string()))
    assert len(words) == 3
    assert any("more than one column `a`" in w for w in words)


def test_a_type_that_parquet_has_not_is_known_before_anything_is_spent():
    [problem] = told(schema(x=pa.struct([])), schema(label=pa.string()))
    assert "`x` cannot be kept: Parquet has no struct<>" in problem


def test_every_evaluator_has_a_column_of_its_own():
    names = ["a b", "a_b", "A_B", "quality", "😀"]
    columns = score_columns(names)
    assert columns["quality"] == "_loom_score_quality"
    assert columns["a b"] == "_loom_score_a_b"
    assert len({c.lower() for c in columns.values()}) == len(names)
    assert all(c.isascii() and c.replace("_", "").isalnum() for c in columns.values())
    assert set(columns.values()) < set(
        transformed_schema(schema(id=pa.int8()), schema(o=pa.int8()), names).names
    )
