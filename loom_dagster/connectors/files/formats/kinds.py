"""What a column of JSON values may hold, and one Arrow type for it.

Nothing is lost by it: integers and decimals together become float64 only where every integer is
exact as one; values that fit no common type become text, each as its own JSON (a text as itself).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

__all__ = ["Kind", "arrow_type", "fitted", "kind_of", "unify"]

_EXACT = 2**53
_INT64 = 2**63
_DEEPEST = 32
_WIDEST = 1000


@dataclass(frozen=True, slots=True)
class _List:
    item: Kind


@dataclass(frozen=True, slots=True)
class _Object:
    fields: Mapping[str, Kind]


# a word (null, bool, int: exact as a float, long: any other of 64 bits, float, text, json) or a nested one
Kind = str | _List | _Object


def kind_of(value: Any, depth: int = 0) -> Kind:
    """The narrowest kind of one value. Nested deeper than 32 levels it is ``json``."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if -_EXACT <= value <= _EXACT:
            return "int"
        return "long" if -_INT64 <= value < _INT64 else "json"
    if isinstance(value, float):
        return "float"
    if depth >= _DEEPEST:
        return "json"
    if isinstance(value, list):
        item: Kind = "null"
        for inner in value:
            item = unify(item, kind_of(inner, depth + 1))
        return _List(item)
    return _Object({name: kind_of(inner, depth + 1) for name, inner in value.items()})


def unify(a: Kind, b: Kind, *, exact: bool = False) -> Kind:
    """The narrowest kind that holds both. ``exact`` keeps 1 and 1.0 apart (as text)."""
    if b in (a, "null"):
        return a
    if a == "null":
        return b
    if isinstance(a, _List) and isinstance(b, _List):
        return _List(unify(a.item, b.item))
    if isinstance(a, _Object) and isinstance(b, _Object):
        names = dict.fromkeys([*a.fields, *b.fields])
        if len(names) > _WIDEST:
            return "json"
        return _Object({n: unify(a.fields.get(n, "null"), b.fields.get(n, "null")) for n in names})
    both = {a, b} if isinstance(a, str) and isinstance(b, str) else set()
    if both == {"int", "long"}:
        return "long"
    if both == {"int", "float"} and not exact:
        return "float"
    return "json"


def arrow_type(kind: Kind) -> pa.DataType:
    """The Arrow type of a column of this kind."""
    if isinstance(kind, _List):
        return pa.list_(arrow_type(kind.item))
    if isinstance(kind, _Object):
        if not kind.fields:  # Parquet has no structs without fields
            return pa.string()
        return pa.struct([(name, arrow_type(inner)) for name, inner in kind.fields.items()])
    return _TYPES[kind]


def fitted(value: Any, kind: pa.DataType) -> Any:
    """A JSON value as ``kind`` takes it: where that is text, anything else becomes its JSON."""
    if value is None:
        return None
    if pa.types.is_string(kind):
        if isinstance(value, str):
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if pa.types.is_list(kind):
        return [fitted(inner, kind.value_type) for inner in value]
    if pa.types.is_struct(kind):
        return {f.name: fitted(value.get(f.name), f.type) for f in kind}
    return value


_TYPES = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "text": pa.string(),
    "json": pa.string(),
}
