"""What every block of the YAML is made of: texts that keep their spelling, shares, durations, names.

Scalars arrive from the reader as the text the user wrote (``2.10`` stays ``2.10`` where a string
is meant); pydantic turns them into numbers where numbers are meant. Where anything goes
(``Value``) YAML's own meaning is applied.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from loom_dagster.spec.scalars import resolve
from loom_dagster.spec.spellings import one_or_many

__all__ = [
    "Block",
    "Column",
    "Count",
    "Duration",
    "Name",
    "Names",
    "Positive",
    "Share",
    "Text",
    "Value",
]

Value = Annotated[Any, BeforeValidator(resolve)]
Text = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""A text that may look like a number; its spelling is kept."""
Names = Annotated[tuple[str, ...], BeforeValidator(one_or_many, json_schema_input_type=str | tuple[str, ...])]
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


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["30s", "7d"]}),
]


def _name(value: str) -> str:
    if value != value.strip():
        raise ValueError(f"the name `{value}` begins or ends with a space; remove it")
    if any(not c.isprintable() for c in value):
        raise ValueError(f"the name {value!r} has a character that cannot be shown; remove it")
    return value


Name = Annotated[Text, Field(min_length=1, max_length=200), AfterValidator(_name)]
"""Slashes, spaces and emoji are fine: whoever needs a narrower alphabet encodes."""


def _column(value: str) -> str:
    if value.startswith("_loom_"):
        raise ValueError(f"the column `{value}` is named like ours; names that begin with `_loom_` are taken")
    return value


Column = Annotated[Name, AfterValidator(_column)]


class Block(BaseModel):
    """Base of everything users write."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
