"""The ``load.fallback`` block: what is loaded instead when a record fails."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from loom_dagster.spec.blocks import Block, Name, Value

__all__ = ["Fallback", "Summary"]


class Summary(Block):
    """The most telling ``sentences`` of the source column ``of``, as they stand there, in the output column
    ``into`` (default: the only one). No model is asked."""

    of: Name
    into: Name | None = None
    sentences: Annotated[int, Field(ge=1, le=100)] = 3


class Fallback(Block):
    """What is loaded instead when a record fails: the answer of another model (judged like the
    first), fixed values, which may be templates over ``input``, or an extractive summary."""

    model: str | None = None
    values: dict[str, Value] | None = None
    summary: Summary | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Fallback:
        if sum(way is not None for way in (self.model, self.values, self.summary)) != 1:
            raise ValueError("a fallback has exactly one of `model`, `values` and `summary`")
        return self
