"""The report of a run: finds it, reads its tables once, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from loom_dagster.assembly.pieces import chosen_partition
from loom_dagster.errors import Misconfigured
from loom_dagster.release.columns import RECORD_ID, score_columns
from loom_dagster.reports import state_of, whole
from loom_dagster.reports.comparison import Numbers
from loom_dagster.reports.confusion import Confusion
from loom_dagster.reports.facts import Previous, RunFacts
from loom_dagster.reports.page import render
from loom_dagster.reports.survey import Survey, WorstRecord
from loom_dagster.spec.findings import nearest

if TYPE_CHECKING:
    from loom_dagster.clock import Clock
    from loom_dagster.ledger import Ledger, RunNumbers, RunRow
    from loom_dagster.release import Releases, Snapshot
    from loom_dagster.spec import Project
    from loom_dagster.spec.models import Pipeline

__all__ = ["find_run", "run_report"]

_AT_ONCE = 256  # rows in memory; their texts may be long
_EARLIER = 30  # runs whose numbers are drawn
_OURS = ("_loom_model", "_loom_cost_usd", "_loom_latency_s")
_REJECTED = ("record_id", "stage", "reason", "kind", "source", "scores", "output", "model", "cost_usd")


class Home(Protocol):
    """What is needed of the project."""

    project: Project

    @property
    def clock(self) -> Clock: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def releases(self) -> Releases: ...


def find_run(home: Home, word: str, partition: str = "") -> RunRow:
    """The run called ``word``, or the newest of the pipeline called so. Raises Misconfigured with the nearest one."""
    if partition and word in home.project.files:
        partition = chosen_partition(home.project.files[word].spec, partition, home.clock.now())
    found = home.ledger.run(word)
    if found is None:
        runs = home.ledger.history.runs(word, partition=partition or None, limit=1)
        found = home.ledger.run(runs[0].run_id) if runs else None
    if found is not None:
        return found
    if word in home.project.names:
        of = f", partition {partition}," if partition else ""
        raise Misconfigured(f"`{word}`{of} has no run yet", fix=f"loom run {word}")
    recent = [run.run_id for run in home.ledger.history.runs(limit=200)]
    near = nearest(word, [*home.project.names, *recent], others=False)
    known = ", ".join(home.project.names) or "no pipelines yet"
    raise Misconfigured(f"there is no run and no pipeline `{word}`", fix=near or f"pipelines here: {known}")


def run_report(home: Home, row: RunRow) -> str:
    """The page of a run as HTML; of one that left no tables, what the ledger knows. Reads row by row."""
    snapshot = home.releases.snapshot(row.pipeline, row.run_id)
    trial = row.partition.startswith("~")
    earlier = home.ledger.history.runs(
        row.pipeline,
        partition=row.partition if trial else None,
        until=row.run_id,
        limit=_EARLIER,
        trials=trial,
    )
    run = next(each for each in earlier if each.run_id == row.run_id)
    file = home.project.files.get(row.pipeline)
    facts = RunFacts(
        run=run,
        state=state_of(run, alive=home.ledger.takings.is_running(row.pipeline, row.partition)),
        outcome=row.outcome or {},
        made_at=home.clock.now(),
        no_tables=_no_tables(row, snapshot),
        why_released=(snapshot.why if snapshot else None) or "",
        previous=_previous(home, run, snapshot, file.spec if file else None),
        earlier=whole([each for each in earlier if each.metrics]),
    )
    if snapshot is not None and not facts.no_tables:
        survey = survey_of(snapshot, file.spec if file else None)
        facts = replace(facts, survey=survey, worst=_whole(survey.worst(), snapshot))
    return render(facts)


def _no_tables(row: RunRow, snapshot: Snapshot | None) -> str:
    if snapshot is None:
        return f"the run is {row.status} and left no tables, only what the ledger noted."
    if not (snapshot.transformed.exists() and snapshot.quarantine.exists()):
        return "the tables of the run were cleaned away; what the ledger noted is left."
    return ""


def _previous(
    home: Home, run: RunNumbers, snapshot: Snapshot | None, spec: Pipeline | None
) -> Previous | None:
    """The run before whose batch was released; of partitions in time that of an earlier one."""
    if not whole([run]):
        return None  # its scores are of some of its records only
    parts = None if spec is None else spec.extract.partitions
    trial = run.partition.startswith("~")
    past = home.ledger.past_runs.before(
        run.pipeline,
        "" if trial else run.partition,
        None if trial else run.run_id,
        simulated=bool(run.metrics.get("simulated")),
        series=bool(parts and parts.every),
        limit=1,
    )
    if not past:
        return None
    row = home.ledger.run(past[0].run_id)
    return Previous(
        numbers=Numbers(run_id=past[0].run_id, metrics=past[0].metrics, scores=past[0].scores),
        versions=(row.outcome or {}).get("versions", {}) if row else {},
        started_at=row.started_at if row else None,
        same_data=snapshot is not None and snapshot.data_version == past[0].data_version,
    )


def survey_of(snapshot: Snapshot, spec: Pipeline | None) -> Survey:
    """Both tables of a snapshot, read once. Raises Misconfigured when a file is not what it should be."""
    thresholds = {str(s["name"]): float(s["threshold"]) for s in snapshot.outcome.get("scores") or ()}
    try:
        passed = pq.ParquetFile(snapshot.transformed, pre_buffer=False)
        rejected = pq.ParquetFile(snapshot.quarantine, pre_buffer=False)
        survey = Survey(thresholds, [Confusion(*pair) for pair in references(passed.schema_arrow, spec)])
        columns = {n: c for n, c in score_columns(list(thresholds)).items() if c in passed.schema_arrow.names}
        _read_passed(passed, survey, columns)
        for batch in _batches(rejected, _REJECTED):
            for row in batch.to_pylist():
                survey.rejected(row)
    except (OSError, pa.ArrowException) as error:
        raise Misconfigured(
            f"the tables of run {snapshot.id} cannot be read",
            where=str(snapshot.transformed.parent),
            why=str(error).partition("\n")[0],
            fix=f"make them again: loom run {snapshot.pipeline} --fresh",
        ) from error
    return survey


def _batches(file: pq.ParquetFile, columns: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """Row group by row group: read in one go, Arrow keeps what it has read of all of them."""
    names = list(dict.fromkeys(columns))
    for group in range(file.num_row_groups):
        yield from file.iter_batches(_AT_ONCE, row_groups=[group], columns=names)


def _read_passed(file: pq.ParquetFile, survey: Survey, columns: dict[str, str]) -> None:
    compared = {name for c in survey.confusions for name in (c.field, c.reference)}
    wanted = [
        RECORD_ID,
        *columns.values(),
        *(name for name in (*_OURS, *compared) if name in file.schema_arrow.names),
    ]
    at = 0
    for batch in _batches(file, wanted):
        for row in batch.to_pylist():
            scores = {name: row[column] for name, column in columns.items()}
            survey.passed(at, row[RECORD_ID], scores, row)
            at += 1


def references(schema: pa.Schema, spec: Pipeline | None) -> list[tuple[str, str]]:
    """Which field of the output has its truth in which column of the source: ``expected_X`` that of X, and what an
    evaluator compares. Only fields that can be labels."""
    names = [name for name in schema.names if not name.startswith("_loom_")]
    pairs = [(name.removeprefix("expected_"), name) for name in names if name.startswith("expected_")]
    for evaluator in spec.evaluate.evaluators if spec else ():
        reference = getattr(evaluator, "reference_field", None)
        field = getattr(evaluator, "field", None) or evaluator.output_field
        if reference and field:
            pairs.append((field, reference))
    fields = {field.name: field.type for field in schema}
    return [
        (field, reference)
        for field, reference in dict.fromkeys(pairs)
        if field in names and reference in names and _is_label(fields[field]) and _is_label(fields[reference])
    ]


def _is_label(type_: pa.DataType) -> bool:
    kinds = pa.types
    text = kinds.is_string(type_) or kinds.is_large_string(type_)
    return bool(text or kinds.is_boolean(type_) or kinds.is_integer(type_) or kinds.is_dictionary(type_))


def _whole(worst: Sequence[WorstRecord], snapshot: Snapshot) -> list[WorstRecord]:
    """Those that passed get their source and output, from the row groups they lie in."""
    wanted = {record.row for record in worst if record.row is not None}
    file = pq.ParquetFile(snapshot.transformed, pre_buffer=False)
    order = {name: at for at, name in enumerate(file.schema_arrow.names)}  # JSON has lost it
    rows = dict(_rows(file, sorted(wanted)))
    outputs = _outputs(snapshot, file.schema_arrow)
    found = []
    for record in worst:
        if record.row is None:
            columns = sorted((record.source or {}).items(), key=lambda item: order.get(item[0], len(order)))
            record = replace(record, source=dict(columns))  # noqa: PLW2901
        else:
            row = rows[record.row]
            own = {name: value for name, value in row.items() if not name.startswith("_loom_")}
            record = replace(  # noqa: PLW2901
                record,
                source={n: v for n, v in own.items() if n not in outputs},
                output={n: v for n, v in own.items() if n in outputs},
            )
        found.append(record)
    return found


def _outputs(snapshot: Snapshot, schema: pa.Schema) -> set[str]:
    """Columns of the table that the kept source does not have."""
    kept = snapshot.quarantine.with_name("quarantine_source.parquet")
    source = set(pq.read_schema(kept).names) if kept.exists() else set()
    return {name for name in schema.names if name not in source}


def _rows(file: pq.ParquetFile, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    start, wanted = 0, list(numbers)
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        mine = [number for number in wanted if start <= number < end]
        if mine:
            at = start
            for batch in file.iter_batches(_AT_ONCE, row_groups=[group]):
                for number in mine:
                    if at <= number < at + batch.num_rows:
                        yield number, batch.slice(number - at, 1).to_pylist()[0]
                at += batch.num_rows
        start = end
