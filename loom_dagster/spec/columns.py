"""The columns of an output, as ``load.schema`` and a prompt's front matter write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from loom_dagster.spec.blocks import Block, Column
from loom_dagster.spec.scalars import Plain, resolve
from loom_dagster.spec.spellings import field_as_mapping

__all__ = ["FieldSpec", "Fields"]


class FieldSpec(Block):
    """One column of the output. ``enum`` of a string column is text as written (``yes``, ``2.10``)."""

    type: Literal["string", "integer", "float", "boolean", "date", "timestamp", "array", "object"]
    description: str | None = None
    enum: Annotated[tuple[Any, ...] | None, Field(min_length=1)] = None
    nullable: bool = False
    minimum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    maximum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    pattern: str | None = None
    items: Annotated[FieldSpec | None, BeforeValidator(field_as_mapping)] = None
    fields: Fields | None = None

    @model_validator(mode="before")
    @classmethod
    def _enum_of_its_type(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("enum"), list | tuple):
            return data
        as_text = data.get("type") in ("string", "date", "timestamp")
        values = [str(v) if as_text and isinstance(v, Plain) else resolve(v) for v in data["enum"]]
        return {**data, "enum": values}

    @model_validator(mode="after")
    def _options_fit_the_type(self) -> FieldSpec:
        fitting = {
            "items": ("array",),
            "fields": ("object",),
            "pattern": ("string",),
            "minimum": ("integer", "float"),
            "maximum": ("integer", "float"),
        }
        for option, types in fitting.items():
            if getattr(self, option) is not None and self.type not in types:
                raise ValueError(f"`{option}` belongs to {' or '.join(types)}, not to {self.type}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"`minimum` {self.minimum:g} is greater than `maximum` {self.maximum:g}")
        if self.enum is not None:
            self._check_enum(self.enum)
        return self

    def _check_enum(self, values: Sequence[Any]) -> None:
        if None in values:
            raise ValueError("`enum` holds null; write `nullable: true` instead")
        python = {"integer": (int,), "float": (int, float), "boolean": (bool,)}.get(self.type, (str,))
        if self.type in ("array", "object"):
            raise ValueError(f"`enum` does not belong to {self.type}")
        for value in values:
            if not isinstance(value, python) or (isinstance(value, bool) and self.type != "boolean"):
                raise ValueError(f"`{value}` in `enum` is not of type {self.type}")


Fields = dict[Column, Annotated[FieldSpec, BeforeValidator(field_as_mapping)]]
FieldSpec.model_rebuild()
