"""What an evaluator looks at: a record, the output made of it, and the text that is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loom_dagster.records import Record, to_json

__all__ = ["Case", "Unjudgeable", "as_text", "judged_text", "judged_value", "reference"]

_EXPECTED = "expected_"


class Unjudgeable(Exception):
    """There is no score, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One output to be judged. ``rendered_input`` is what the model was told of the record;
    ``sample`` that of the answer, so that a judge asked again does not repeat itself."""

    record: Record
    output: Mapping[str, Any]
    rendered_input: str
    sample: int = 0


def judged_value(case: Case, field: str | None, reference_field: str | None = None) -> Any:
    """The part of the output that is looked at: ``field``; else X where the reference is
    ``expected_X``; else the one column there is, or all of them.

    Raises Unjudgeable when it is null or missing.
    """
    if field is None and reference_field is not None:
        expected = reference_field.removeprefix(_EXPECTED)
        if expected != reference_field and expected in case.output:
            field = expected
    if field is None and list(case.output) == ["output"]:
        field = "output"
    if field is None:
        return case.output
    value = case.output.get(field)
    if _is_null(value):
        raise Unjudgeable(f"output `{field}` is null" if field in case.output else f"no output `{field}`")
    return value


def judged_text(case: Case, field: str | None, reference_field: str | None = None) -> str:
    """``judged_value`` as text. Raises Unjudgeable when it is null, missing or blank."""
    text = as_text(judged_value(case, field, reference_field))
    if not text.strip():
        raise Unjudgeable("the output is empty")
    return text


def reference(case: Case, name: str) -> Any:
    """The source column ``name``. Raises Unjudgeable when it is null, blank or missing."""
    if name not in case.record.columns:
        raise Unjudgeable(f"reference `{name}` is not a column of the record")
    value = case.record.columns[name]
    if _is_null(value):
        raise Unjudgeable(f"reference `{name}` is null")
    if isinstance(value, str) and not value.strip():
        raise Unjudgeable(f"reference `{name}` is empty")
    return value


def as_text(value: Any) -> str:
    """A string as it is; several strings as paragraphs; anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return "\n\n".join(value)
    text = to_json(value).decode()
    # dates and decimals come as JSON strings
    return text[1:-1] if text.startswith('"') and not isinstance(value, list | dict | Mapping) else text


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
