"""The YAML of a pipeline as frozen pydantic models. One class a block; unknown keys are errors."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from loom_dagster.spec.blocks import (
    Block,
    Count,
    Duration,
    Name,
    Names,
    Share,
    Text,
)
from loom_dagster.spec.columns import Fields, FieldSpec
from loom_dagster.spec.evaluators import (
    Contains,
    CustomCriteria,
    EvaluatorBase,
    EvaluatorSpec,
    ExactMatch,
    Factuality,
    Groundedness,
    JsonSchema,
    JudgedSpec,
    Python,
    Regex,
    Relevance,
    Semantic,
    Similarity,
)
from loom_dagster.spec.execution import ExecutionSpec
from loom_dagster.spec.fallback import Fallback, Summary
from loom_dagster.spec.labels import Group, Kinds, Owners, Tags
from loom_dagster.spec.model_call import Cache, Limits, PriceSpec, TimeoutSpec, Transform
from loom_dagster.spec.monitoring import MONITORS, Alert, BudgetSpec, Monitoring
from loom_dagster.spec.monitors import (
    CostSpike,
    EmptyInput,
    LatencySla,
    Monitor,
    QualityThreshold,
    RejectionRate,
    ScoreDegradation,
)
from loom_dagster.spec.partitions import Partitions, partitions_as_mapping
from loom_dagster.spec.spellings import (
    evaluate_as_mapping,
    gate_as_mapping,
    incremental_as_mapping,
    keyed_by_path,
    lift_gate,
)
from loom_dagster.spec.trigger import Trigger
from loom_dagster.spec.web import Web

__all__ = [
    "MONITORS",
    "Alert",
    "Block",
    "BudgetSpec",
    "Cache",
    "Contains",
    "CostSpike",
    "CustomCriteria",
    "EmptyInput",
    "Evaluate",
    "EvaluatorBase",
    "EvaluatorSpec",
    "ExactMatch",
    "ExecutionSpec",
    "Extract",
    "Factuality",
    "Fallback",
    "FieldSpec",
    "Fields",
    "GateSpec",
    "Groundedness",
    "Incremental",
    "JsonSchema",
    "JudgedSpec",
    "LatencySla",
    "Limits",
    "Load",
    "Monitor",
    "Monitoring",
    "Name",
    "Names",
    "Partitions",
    "Pipeline",
    "PriceSpec",
    "Python",
    "QualityThreshold",
    "Regex",
    "RejectionRate",
    "Relevance",
    "ScoreDegradation",
    "Semantic",
    "Similarity",
    "Stream",
    "Summary",
    "Text",
    "TimeoutSpec",
    "Transform",
    "Trigger",
    "Web",
    "load_mode",
]


class Incremental(Block):
    """Only what is new: rows from the watermark on, which is the highest ``cursor`` loaded, less ``lag``;
    without a cursor, files that were not loaded yet."""

    cursor: str | None = None
    lag: Duration = timedelta(0)

    @model_validator(mode="after")
    def _lag_of_a_cursor(self) -> Incremental:
        if self.lag and self.cursor is None:
            raise ValueError("`lag` belongs to a `cursor`, and there is none")
        return self


class Stream(Block):
    """How ``loom stream`` consumes a stream: at most ``batch`` messages at once, and those that came within ``wait`` of
    the first. ``group`` (default: ``loom-`` and the pipeline's name) shares the messages among its consumers; a new one
    begins at the stream's start, or with what comes from now on."""

    batch: Count = 500
    wait: Duration = timedelta(seconds=2)
    group: Text | None = Field(default=None, min_length=1)
    from_: Literal["start", "now"] = Field(default="start", alias="from")


class Extract(Block):
    """Where records come from. ``source``: a path, a glob, a folder, an fsspec URL, a database's table
    (``postgres://CONNECTION/TABLE``), a stream (``redis://CONNECTION/STREAM``) or ``pipeline://name``. ``key``: the column(s) that identify a record.
    ``query`` replaces a database's table; its ``{{ execution_date }}`` and ``{{ params.x }}`` are bound values.
    ``partitions`` run it piece by piece. ``columns`` are all that is read, ``limit`` the most rows of it. ``documents`` are files that are a record each,
    known by their path.
    ``redact``: columns (or ``column.field``) whose values are replaced by a keyed hash before they are kept, shown or sent.
    ``web`` tells how a web API gives its rows page by page."""

    source: str = Field(min_length=1)
    format: Literal["csv", "json", "jsonl", "parquet", "documents"] | None = None
    encoding: str = "utf-8"
    key: Names = ()
    query: Text | None = None
    columns: Names = ()
    limit: Count | None = None
    redact: Names = ()
    allow_empty: bool = False
    partitions: Annotated[
        Partitions | None,
        BeforeValidator(partitions_as_mapping, json_schema_input_type=Partitions | tuple[Text, ...] | None),
    ] = None
    incremental: Annotated[
        Incremental | None,
        BeforeValidator(incremental_as_mapping, json_schema_input_type=Incremental | bool | None),
    ] = None
    stream: Stream | None = None
    web: Web | None = None

    @model_validator(mode="before")
    @classmethod
    def _documents_have_paths(cls, data: Any) -> Any:
        return keyed_by_path(data)

    @model_validator(mode="after")
    def _web_of_the_web(self) -> Extract:
        if self.web is not None and not self.source.lower().startswith(("http://", "https://")):
            raise ValueError("`web` belongs to a source that begins with http:// or https://")
        return self


Gate = Literal["all_pass", "majority_pass", "any_pass", "weighted"]


class GateSpec(Block):
    """How the scores of one record become one verdict. ``threshold`` belongs to ``weighted``."""

    type: Gate = "all_pass"
    threshold: Share | None = None

    @model_validator(mode="after")
    def _weighted_has_a_threshold(self) -> GateSpec:
        if self.type == "weighted" and self.threshold is None:
            raise ValueError("a weighted gate needs a threshold: {type: weighted, threshold: 0.75}")
        if self.type != "weighted" and self.threshold is not None:
            raise ValueError(f"`threshold` belongs to a weighted gate; {self.type} has none")
        return self


class Evaluate(Block):
    """The judges and the gate. Without evaluators a record passes once its output fits the schema."""

    evaluators: tuple[EvaluatorSpec, ...] = ()
    model: str | None = None
    quality_gate: Annotated[
        GateSpec, BeforeValidator(gate_as_mapping, json_schema_input_type=GateSpec | Gate)
    ] = GateSpec()
    batch_threshold: Share | None = None
    on_batch_failure: Literal["hold", "load_passed"] = "hold"

    @model_validator(mode="after")
    def _names_differ(self) -> Evaluate:
        names = [e.name for e in self.evaluators]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two evaluators are called `{twice[0]}`; give each a `name` of its own")
        return self


class Load(Block):
    """Where passing records go. Default mode: upsert where there is a key, else append. ``quarantine``: a
    database's table for those that do not pass. ``lineage: columns`` loads the ``_loom_*`` columns as well."""

    destination: str = Field(min_length=1)
    format: Literal["csv", "json", "jsonl", "parquet"] | None = None
    mode: Literal["append", "overwrite", "upsert"] | None = None
    on_failure: Literal["quarantine", "skip", "fallback", "retry"] = "quarantine"
    fallback: Fallback | None = None
    retries: Annotated[int, Field(ge=1, le=10)] = 2
    schema_: Fields | None = Field(default=None, alias="schema", min_length=1)
    columns: Literal["all"] | Names | None = None
    lineage: Literal["columns"] | None = None
    quarantine: Text | None = None


class Pipeline(Block):
    """One file in ``pipelines/``. ``tags`` (a list, or a value each), ``owners`` (an e-mail address or ``team:NAME``),
    ``group`` and ``kinds`` are how Dagster files and shows it; a tag's pipelines have a job together."""

    name: Name
    version: Text | None = None
    description: str | None = None
    tags: Tags = Field(default={})
    owners: Owners = ()
    group: Group | None = None
    kinds: Kinds = ()
    trigger: Trigger | None = None
    extract: Extract
    transform: Transform
    evaluate: Annotated[
        Evaluate,
        BeforeValidator(evaluate_as_mapping, json_schema_input_type=Evaluate | tuple[EvaluatorSpec, ...]),
    ] = Evaluate()
    load: Load
    monitoring: Monitoring = Monitoring()
    execution: ExecutionSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _seed_spelling(cls, data: Any) -> Any:
        return lift_gate(data)


def load_mode(spec: Pipeline) -> Literal["append", "overwrite", "upsert"]:
    """How rows come to the destination: as said, else upsert where there is a key, else append."""
    return spec.load.mode or ("upsert" if spec.extract.key else "append")
