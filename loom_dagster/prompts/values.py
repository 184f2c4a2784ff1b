"""How a column's value reads in a prompt.

Text as it is; null as nothing; true and false as JSON writes them; decimals and dates as their ISO
text; lists and structs as JSON. What has no honest text (bytes, NaN) is refused, naming the column.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from jinja2 import Undefined

from loom_dagster.errors import Permanent

__all__ = ["UNRENDERABLE", "admit", "as_json", "as_text"]

UNRENDERABLE = "unrenderable"

_PLAIN = (str, int, date, time, timedelta, UUID)  # bool is an int, datetime is a date


def admit(column: str, value: Any) -> Any:
    """``value`` if it can stand in a prompt. Raises Permanent (unrenderable) naming ``column``."""
    pending = [value]
    while pending:
        each = pending.pop()
        if each is None or isinstance(each, _PLAIN):
            continue
        if isinstance(each, float | Decimal):
            if not math.isfinite(each):
                raise _refused(column, f"is {each}, which is not a number")
        elif isinstance(each, Mapping):
            pending += each.values()
        elif isinstance(each, list | tuple):
            pending += each
        elif isinstance(each, bytes | bytearray | memoryview):
            raise _refused(column, "holds bytes, which have no text")
        else:
            raise _refused(column, f"holds a {type(each).__name__}, which has no text")
    return value


def as_text(value: Any, weigh: Callable[[Any], None]) -> str:
    """The text of a value as a prompt shows it. ``weigh`` is told of lists and mappings before they grow."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, str | int | float | Decimal | UUID | timedelta | Undefined):
        return str(value)
    return as_json(value, weigh)


def as_json(value: Any, weigh: Callable[[Any], None], indent: bool = False) -> str:
    """JSON in the order the value has, unicode as it is; iterators are read to their end."""
    if not isinstance(value, Mapping | list | tuple | str | int | float) and hasattr(value, "__iter__"):
        value = list(value)
    weigh(value)
    option = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        return orjson.dumps(value, default=_default, option=option).decode()
    except orjson.JSONEncodeError:  # integers beyond 64 bits
        separators = None if indent else (",", ":")
        layout = 2 if indent else None
        return json.dumps(value, default=_default, ensure_ascii=False, separators=separators, indent=layout)


def _default(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal | timedelta | UUID):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} has no JSON")


def _refused(column: str, why: str) -> Permanent:
    return Permanent(
        f"column `{column}` {why}", kind=UNRENDERABLE, fix="convert it in the source, or leave it out"
    )
