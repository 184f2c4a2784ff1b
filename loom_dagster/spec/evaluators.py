"""The evaluators as users write them: one class a type, options flat (``config:`` is flattened before)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from loom_dagster.spec.blocks import Block, Name, Names, Positive, Share, Value
from loom_dagster.spec.spellings import evaluator_as_mapping

__all__ = [
    "Contains",
    "CustomCriteria",
    "EvaluatorBase",
    "EvaluatorSpec",
    "ExactMatch",
    "Factuality",
    "Groundedness",
    "JsonSchema",
    "JudgedSpec",
    "Python",
    "Regex",
    "Relevance",
    "Semantic",
    "Similarity",
]


class EvaluatorBase(Block):
    """What every evaluator has. ``output_field``: which field of the output is looked at."""

    name: Name
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
    schema_: dict[str, Value] = Field(alias="schema")


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
