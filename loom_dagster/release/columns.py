"""The columns of the three tables of a snapshot, and what a source or an output may not be called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.errors import Problem

__all__ = [
    "ANSWERS",
    "DEFERRED",
    "POSITION",
    "PREFIX",
    "QUARANTINE",
    "RECORD_ID",
    "check_columns",
    "kept_source_schema",
    "score_columns",
    "transformed_schema",
]

PREFIX = "_loom_"
RECORD_ID = "_loom_record_id"
POSITION = "_loom_position"
ANSWERS = "_loom_answers"  # which answers a record was made of; for lineage, not for destinations

QUARANTINE = pa.schema(
    [
        ("record_id", pa.string()),
        ("position", pa.int64()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("scores", pa.string()),
        ("output", pa.string()),
        ("raw_answer", pa.string()),
        ("model", pa.string()),
        ("versions", pa.string()),
        ("attempts", pa.int32()),
        ("cost_usd", pa.float64()),
        ("run_id", pa.string()),
        ("resolution", pa.string()),
        ("answers", pa.string()),
    ]
)
DEFERRED = pa.schema([("record_id", pa.string()), ("position", pa.int64()), ("reason", pa.string())])


def transformed_schema(source: pa.Schema, output: pa.Schema, evaluators: Sequence[str]) -> pa.Schema:
    """Source columns, output columns, then ours."""
    scores = score_columns(evaluators).values()
    return pa.schema(
        [
            *source,
            *output,
            pa.field(RECORD_ID, pa.string()),
            pa.field("_loom_run_id", pa.string()),
            *(pa.field(name, pa.float64()) for name in scores),
            pa.field("_loom_prompt_version", pa.string()),
            pa.field("_loom_context_versions", pa.string()),
            pa.field("_loom_model", pa.string()),
            pa.field("_loom_attempts", pa.int32()),
            pa.field("_loom_fallback", pa.string()),
            pa.field("_loom_cost_usd", pa.float64()),
            pa.field("_loom_latency_s", pa.float64()),
            pa.field("_loom_simulated", pa.bool_()),
            pa.field(ANSWERS, pa.string()),
        ]
    )


def kept_source_schema(source: pa.Schema) -> pa.Schema:
    """Of the file that keeps quarantined rows with their types, so that they can be tried again."""
    return pa.schema([pa.field(RECORD_ID, pa.string()), pa.field(POSITION, pa.int64()), *source])


def score_columns(evaluators: Sequence[str]) -> dict[str, str]:
    """The column of each evaluator's score: letters, digits and underscores, no two alike."""
    columns: dict[str, str] = {}
    for name in evaluators:
        column = f"_loom_score_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
        if column.lower() in {c.lower() for c in columns.values()}:
            column += f"_{hashlib.sha256(name.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"
        columns[name] = column
    return columns


def check_columns(source: pa.Schema, output: pa.Schema, *, where: str | None = None) -> tuple[Problem, ...]:
    """What would make the tables ambiguous or unwritable, known before anything is spent."""
    problems: list[Problem] = []

    def problem(what: str, fix: str) -> None:
        problems.append(Problem(what=what, where=where, fix=fix))

    names = list(source.names)
    taken = {*names, *output.names}
    for name in sorted({n for n in names if names.count(n) > 1}):
        problem(f"the source has more than one column `{name}`", "give each a name of its own")
    for name in names:
        if name.startswith(PREFIX):
            problem(f"the source's column `{name}` is named like ours", "rename it in the source")
    for name in output.names:
        if name in names:
            free = next(f for f in (f"predicted_{name}", f"{name}_out", f"loom_out_{name}") if f not in taken)
            problem(
                f"the output column `{name}` is named like a column of the source",
                f"rename it in the output schema, for example to `{free}`",
            )
        elif name.startswith(PREFIX):
            problem(f"the output column `{name}` is named like ours", f"leave out the `{PREFIX}`")
    for field in source:
        if (why := _unwritable(field)) is not None:
            problem(f"the source's column `{field.name}` cannot be kept: {why}", "leave it out or convert it")
    return tuple(problems)


def _unwritable(field: pa.Field) -> str | None:
    try:
        pq.write_table(pa.schema([field]).empty_table(), BytesIO())
    except pa.ArrowException as error:
        return f"Parquet has no {field.type} ({str(error)[:120]})"
    return None
