"""The YAML of a pipeline as frozen pydantic models. One class a block; unknown keys are errors.

Scalars arrive from the reader as the text the user wrote (``2.10`` stays ``2.10`` where a string
is meant); pydantic turns them into numbers where numbers are meant. Where anything goes
(``Value``) YAML's own meaning is applied.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from loom_dagster.spec.scalars import resolve
from loom_dagster.spec.spellings import (
    context_as_list,
    evaluate_as_mapping,
    evaluator_as_mapping,
    field_as_mapping,
    gate_as_mapping,
    lift_gate,
    one_or_many,
    timeout_as_mapping,
)

__all__ = [
    "Alert",
    "Cache",
    "Contains",
    "CustomCriteria",
    "Evaluate",
    "EvaluatorSpec",
    "ExactMatch",
    "Extract",
    "Factuality",
    "Fallback",
    "FieldSpec",
    "GateSpec",
    "Groundedness",
    "Incremental",
    "JsonSchema",
    "JudgedSpec",
    "LatencySla",
    "Limits",
    "Load",
    "Monitoring",
    "Partitions",
    "Pipeline",
    "PriceSpec",
    "Python",
    "QualityThreshold",
    "Regex",
    "Relevance",
    "Semantic",
    "Similarity",
    "TimeoutSpec",
    "Transform",
]

Value = Annotated[Any, BeforeValidator(resolve)]
Names = Annotated[tuple[str, ...], BeforeValidator(one_or_many)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|h|d|w)$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(str(value).strip())
    if match is None:
        raise ValueError(f"`{value}` is not a duration; write a number and a unit: 30s, 10m, 12h, 7d, 2w")
    return timedelta(**{_UNITS[match[2]]: float(match[1])})


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class Block(BaseModel):
    """Base of everything users write."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Partitions(Block):
    every: Literal["hourly", "daily", "weekly", "monthly"]
    start: str
    end: str | None = None
    column: str | None = None
    timezone: str | None = None


class Incremental(Block):
    cursor: str
    lag: Duration = timedelta(0)


class Extract(Block):
    """Where records come from. ``source``: a path, a glob, a folder, an fsspec URL or
    ``pipeline://name``. ``key``: the column(s) that identify a record."""

    source: str = Field(min_length=1)
    format: Literal["csv", "json", "jsonl", "parquet"] | None = None
    encoding: str = "utf-8"
    key: Names = ()
    query: str | None = None
    allow_empty: bool = False
    partitions: Partitions | None = None
    incremental: Incremental | None = None


class TimeoutSpec(Block):
    """Seconds."""

    connect: Positive = 10.0
    read: Positive = 120.0
    total: Positive = 300.0


class Limits(Block):
    """How hard a model may be used."""

    in_flight: Count = 64
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None


class Cache(Block):
    """Reuse of stored answers between runs. A resumed run always reuses its own."""

    enabled: bool = True
    ttl: Duration | None = None
    key_fields: Names = ()


class PriceSpec(Block):
    """USD per million tokens, for a model whose price is not known."""

    input: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Transform(Block):
    """The model call. Without ``model`` the project's is taken."""

    type: Literal["ai"] = "ai"
    prompt: str = Field(min_length=1)
    prompt_version: str | None = None
    model: str | None = None
    model_version: str | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0, allow_inf_nan=False)] | None = 0.0
    max_tokens: Count | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    seed: int | None = None
    api_base: str | None = None
    api_key_env: str | None = None
    timeout: Annotated[TimeoutSpec, BeforeValidator(timeout_as_mapping)] = TimeoutSpec()
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 5
    limits: Limits = Limits()
    fallbacks: Names = ()
    structured_output: bool | None = None
    price: PriceSpec | None = None
    context: Annotated[tuple[str, ...], BeforeValidator(context_as_list)] = ()
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    cache: Cache = Cache()
    on_too_long: Literal["quarantine", "truncate"] = "quarantine"


class EvaluatorBase(Block):
    """What every evaluator has. ``output_field``: which field of the output is looked at."""

    name: str = Field(min_length=1)
    threshold: Share = 1.0
    weight: Positive = 1.0
    output_field: str | None = None


class JudgedSpec(EvaluatorBase):
    """An evaluator of Arbiter: a model is the judge."""

    threshold: Share = 0.7
    model: str | None = None
    criteria: str | None = None
    reference_field: str | None = None


class Semantic(JudgedSpec):
    type: Literal["semantic"]


class CustomCriteria(JudgedSpec):
    type: Literal["custom_criteria"]
    criteria: str = Field(min_length=1)


class Factuality(JudgedSpec):
    type: Literal["factuality"]


class Groundedness(JudgedSpec):
    type: Literal["groundedness"]
    sources_field: str | None = None


class Relevance(JudgedSpec):
    type: Literal["relevance"]
    query_field: str | None = None


class ExactMatch(EvaluatorBase):
    type: Literal["exact_match"]
    field: str | None = None
    reference_field: str
    ignore_case: bool = False


class Contains(EvaluatorBase):
    """Score: the share of ``substrings`` that are there."""

    type: Literal["contains"]
    field: str | None = None
    substrings: Annotated[Names, Field(min_length=1)]
    ignore_case: bool = False


class Regex(EvaluatorBase):
    type: Literal["regex"]
    field: str | None = None
    pattern: str


class JsonSchema(EvaluatorBase):
    type: Literal["json_schema"]
    field: str | None = None
    schema_: Value = Field(alias="schema")


class Similarity(EvaluatorBase):
    """Cosine of the token counts of two texts."""

    type: Literal["similarity"]
    field: str | None = None
    reference_field: str


class Python(EvaluatorBase):
    """``module:function`` called with (output, record); gives a bool, a number in 0..1, or a pair of
    that and a reason."""

    type: Literal["python"]
    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


EvaluatorSpec = Annotated[
    Annotated[
        Semantic
        | CustomCriteria
        | Factuality
        | Groundedness
        | Relevance
        | ExactMatch
        | Contains
        | Regex
        | JsonSchema
        | Similarity
        | Python,
        Field(discriminator="type"),
    ],
    BeforeValidator(evaluator_as_mapping),
]


class GateSpec(Block):
    """How the scores of one record become one verdict. ``threshold`` belongs to ``weighted``."""

    type: Literal["all_pass", "majority_pass", "any_pass", "weighted"] = "all_pass"
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
    quality_gate: Annotated[GateSpec, BeforeValidator(gate_as_mapping)] = GateSpec()
    batch_threshold: Share | None = None
    on_batch_failure: Literal["hold", "load_passed"] = "hold"

    @model_validator(mode="after")
    def _names_differ(self) -> Evaluate:
        names = [e.name for e in self.evaluators]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(
                f"two evaluators are called `{twice[0]}`; give each a `name` of its own"
            )
        return self


class FieldSpec(Block):
    """One column of the output."""

    type: Literal["string", "integer", "float", "boolean", "date", "timestamp", "array", "object"]
    description: str | None = None
    enum: Annotated[tuple[Value, ...] | None, Field(min_length=1)] = None
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    items: Annotated[FieldSpec | None, BeforeValidator(field_as_mapping)] = None
    fields: dict[str, Annotated[FieldSpec, BeforeValidator(field_as_mapping)]] | None = None


class Fallback(Block):
    """What is loaded instead when a record fails: the answer of another model (judged like the
    first), or fixed values, which may be templates over ``input``."""

    model: str | None = None
    values: dict[str, Value] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Fallback:
        if (self.model is None) == (self.values is None):
            raise ValueError("a fallback has either `model` or `values`")
        return self


class Load(Block):
    """Where passing records go. Default mode: upsert where there is a key, else append."""

    destination: str = Field(min_length=1)
    format: Literal["csv", "json", "jsonl", "parquet"] | None = None
    mode: Literal["append", "overwrite", "upsert"] | None = None
    on_failure: Literal["quarantine", "skip", "fallback", "retry"] = "quarantine"
    fallback: Fallback | None = None
    retries: Annotated[int, Field(ge=1, le=10)] = 2
    schema_: dict[str, Annotated[FieldSpec, BeforeValidator(field_as_mapping)]] | None = Field(
        default=None, alias="schema", min_length=1
    )
    columns: Literal["all"] | Names | None = None


class LatencySla(Block):
    p50: Positive | None = None
    p95: Positive | None = None
    p99: Positive | None = None


class QualityThreshold(Block):
    min_score: Share


class Alert(Block):
    type: str
    threshold: str | None = None
    channel: str


class Monitoring(Block):
    cost_budget: Positive | None = None
    on_budget: Literal["stop", "warn"] = "stop"
    latency_sla: LatencySla | None = None
    quality_threshold: QualityThreshold | None = None
    alerts: tuple[Alert, ...] = ()


class Pipeline(Block):
    """One file in ``pipelines/``."""

    name: str = Field(min_length=1, max_length=200)
    version: str | None = None
    description: str | None = None
    extract: Extract
    transform: Transform
    evaluate: Annotated[Evaluate, BeforeValidator(evaluate_as_mapping)] = Evaluate()
    load: Load
    monitoring: Monitoring = Monitoring()

    @model_validator(mode="before")
    @classmethod
    def _seed_spelling(cls, data: Any) -> Any:
        return lift_gate(data)
