"""What each field type means: in JSON schema, in Arrow, and on the way from one to the other.

An answer's values go two steps: ``coerce_object`` undoes harmless spellings before validation
(``"0.95"`` for 0.95, ``Positive`` for ``positive``), ``conversion`` makes the Python values Arrow
wants after it (dates, timestamps).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import orjson

from loom_dagster.spec.models import FieldSpec

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Row", "Turn", "arrow_type", "coerce_object", "conversion", "json_schema", "row"]

Turn = Callable[[Any], Any]
Row = tuple[tuple[str, Turn, bool], ...]  # name, coercion, nullable

INT64 = (-(2**63), 2**63 - 1)
STRING = FieldSpec(type="string")  # what the items of an array are when nothing is said

_JSON_TYPES = {
    "string": "string",
    "integer": "integer",
    "float": "number",
    "boolean": "boolean",
    "date": "string",
    "timestamp": "string",
    "array": "array",
    "object": "object",
}
_FORMATS = {"date": "date", "timestamp": "date-time"}
_INTEGER = re.compile(r"\s*[-+]?\d{1,19}\s*")
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*", re.ASCII)
_BOOLEANS = {"true": True, "false": False}


def json_schema(spec: FieldSpec, *, int64: bool = False) -> dict[str, Any]:
    """``spec`` as JSON schema that providers take as strict. ``int64`` adds the bounds of the
    column to integers; an object without ``fields`` is JSON text, as strict schemas know no other."""
    free = spec.type == "object" and not spec.fields
    kind = "string" if free else _JSON_TYPES[spec.type]
    body: dict[str, Any] = {"type": [kind, "null"] if spec.nullable else kind}
    description = spec.description
    if free:
        description = " ".join(filter(None, (description, "A JSON object, written as text.")))
    if description:
        body["description"] = description
    if spec.type in _FORMATS:
        body["format"] = _FORMATS[spec.type]
    if spec.enum is not None:
        body["enum"] = [*spec.enum, *([None] if spec.nullable else [])]
    if spec.type in ("integer", "float"):
        body.update(_bounds(spec, int64=int64 and spec.type == "integer"))
    if spec.type == "string" and spec.pattern is not None:
        body["pattern"] = spec.pattern
    if spec.type == "array":
        body["items"] = json_schema(spec.items or STRING, int64=int64)
    if spec.type == "object" and spec.fields:
        body.update(_object_schema(spec.fields, int64=int64))
    return body


def _object_schema(fields: Mapping[str, FieldSpec], *, int64: bool) -> dict[str, Any]:
    return {
        "properties": {name: json_schema(spec, int64=int64) for name, spec in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }


def _bounds(spec: FieldSpec, *, int64: bool) -> dict[str, float]:
    low, high = spec.minimum, spec.maximum
    if int64:
        low = INT64[0] if low is None else max(low, INT64[0])
        high = INT64[1] if high is None else min(high, INT64[1])
    bounds = {"minimum": low, "maximum": high}
    return {k: int(v) if float(v).is_integer() else v for k, v in bounds.items() if v is not None}


def arrow_type(spec: FieldSpec) -> pa.DataType:
    """The column type of ``spec``; an object without ``fields`` is JSON text."""
    import pyarrow as pa  # 0.1 s, and definitions load without it

    if spec.type == "array":
        return pa.list_(arrow_type(spec.items or STRING))
    if spec.type == "object" and spec.fields:
        return pa.struct([pa.field(name, arrow_type(inner)) for name, inner in spec.fields.items()])
    plain: dict[str, pa.DataType] = {
        "string": pa.string(),
        "integer": pa.int64(),
        "float": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "object": pa.string(),
    }
    return plain[spec.type]


def _coercion(spec: FieldSpec) -> Turn:
    """Turns one JSON value (never None) into what was meant; what it does not know stays."""
    if spec.type == "array":
        item = _coercion(spec.items or STRING)
        return lambda value: _each(item, value) if type(value) is list else value
    if spec.type == "object":
        if not spec.fields:
            return lambda value: orjson.dumps(value).decode() if type(value) is dict else value
        inner = row(spec.fields)
        return lambda value: coerce_object(inner, value) if type(value) is dict else value
    turn = {"integer": _integer, "float": _float, "boolean": _boolean}.get(spec.type, _as_it_is)
    if spec.enum is not None and spec.type == "string":
        return _choice(spec.enum)
    return turn


def row(fields: Mapping[str, FieldSpec]) -> Row:
    """``fields`` made ready for ``coerce_object``."""
    return tuple((name, _coercion(spec), spec.nullable) for name, spec in fields.items())


def coerce_object(fields: Row, document: Mapping[str, Any]) -> dict[str, Any]:
    """The wanted keys of ``document`` in the schema's order. Others are dropped; a missing nullable
    one is None, a missing other one stays missing, for validation to find."""
    coerced = {}
    for name, turn, nullable in fields:
        value = document.get(name)
        if value is not None:
            coerced[name] = turn(value)
        elif nullable or name in document:
            coerced[name] = None
    return coerced


def conversion(spec: FieldSpec) -> Turn | None:
    """Turns one valid JSON value into Arrow's Python value; None where it is that already.

    The function raises ValueError for a text that is no date, timestamp or JSON object.
    """
    if spec.type == "date":
        return _date
    if spec.type == "timestamp":
        return _timestamp
    if spec.type == "array":
        item = conversion(spec.items or STRING)
        return None if item is None else lambda value: _each(item, value) if type(value) is list else value
    if spec.type == "object":
        if not spec.fields:
            return _object_text
        turns = {name: turn for name, inner in spec.fields.items() if (turn := conversion(inner))}
        return (lambda value: _converted(turns, value)) if turns else None
    return None


def _converted(turns: Mapping[str, Turn], value: Any) -> Any:
    if type(value) is not dict:
        return value
    return {k: turns[k](v) if k in turns and v is not None else v for k, v in value.items()}


def _each(turn: Turn, values: list[Any]) -> list[Any]:
    return [None if value is None else turn(value) for value in values]


def _as_it_is(value: Any) -> Any:
    return value


def _integer(value: Any) -> Any:
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is str and _INTEGER.fullmatch(value):
        return int(value)
    return value


def _float(value: Any) -> Any:
    if type(value) is int:
        return float(value)
    if type(value) is str and _NUMBER.fullmatch(value) and math.isfinite(number := float(value)):
        return number
    return value


def _boolean(value: Any) -> Any:
    return _BOOLEANS.get(value.strip().lower(), value) if type(value) is str else value


def _choice(choices: Sequence[str]) -> Turn:
    exact = frozenset(choices)
    folded = [choice.strip().casefold() for choice in choices]
    meant = {f: choice for f, choice in zip(folded, choices, strict=True) if folded.count(f) == 1}

    def choose(value: Any) -> Any:
        if type(value) is not str or value in exact:
            return value
        return meant.get(value.strip().casefold(), value)

    return choose


def _date(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        return date.fromisoformat(value.strip())
    except ValueError:
        raise ValueError(f"`{value[:100]}` is not a date (YYYY-MM-DD)") from None


def _timestamp(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        moment = datetime.fromisoformat(value.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"`{value[:100]}` is not a timestamp (YYYY-MM-DDTHH:MM:SSZ)") from None


def _object_text(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        document = orjson.loads(value)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ValueError(f"`{value[:100]}` is not a JSON object")  # noqa: TRY004 - as for a date
    return value
