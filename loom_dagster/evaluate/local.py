"""Evaluators that need no model: each compares, searches or counts, and costs microseconds.

A ``regex`` pattern is read as JSON schema reads patterns (ECMA 262, by the same Rust engine that
checks ``pattern`` in an output schema): it runs in linear time, or gives up after a bounded number
of steps, so no pattern and no record can stall a run.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from loom_dagster.evaluate.case import Case, Unjudgeable, as_text, judged_text, judged_value, reference
from loom_dagster.records import Answer, Score, to_json
from loom_dagster.spec.models import Contains, EvaluatorBase, ExactMatch, JsonSchema, Regex, Similarity

__all__ = [
    "Local",
    "Measure",
    "compile_pattern",
    "compile_schema",
    "contains",
    "exact_match",
    "json_schema",
    "regex",
    "similarity",
]

Measure = Callable[[Case], tuple[float, str]]  # score 0..1 and its explanation; raises Unjudgeable

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # written without spaces: a character is a word
_TOKEN = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")
_MOST_STEPS = 1_000_000  # of backtracking, about 10 ms
_MOST_VIOLATIONS = 5


@dataclass(frozen=True, slots=True)
class Local:
    """An evaluator that is a function of the case."""

    spec: EvaluatorBase
    measure: Measure
    waits: bool = False

    async def score(self, case: Case, answers: list[Answer]) -> Score:
        """The score; one without a value when the case cannot be judged. Never asks a model."""
        value, explanation, error = None, "", None
        try:
            value, explanation = self.measure(case)
        except Unjudgeable as why:
            error = str(why)
        spec = self.spec
        return Score(
            name=spec.name,
            value=value,
            threshold=spec.threshold,
            weight=spec.weight,
            explanation=explanation,
            error=error,
        )


def exact_match(spec: ExactMatch) -> Measure:
    """1 when output and reference are the same; numbers and booleans by value, however written."""
    field = spec.field or spec.output_field

    def measure(case: Case) -> tuple[float, str]:
        wanted = reference(case, spec.reference_field)
        given = judged_value(case, field, spec.reference_field)
        if _same(given, wanted, ignore_case=spec.ignore_case):
            return 1.0, ""
        return 0.0, f"{_quoted(given)} is not {_quoted(wanted)}"

    return measure


def contains(spec: Contains) -> Measure:
    """The share of the substrings that are in the output."""
    field = spec.field or spec.output_field

    def fold(text: str) -> str:
        return text.casefold() if spec.ignore_case else text

    def measure(case: Case) -> tuple[float, str]:
        text = fold(judged_text(case, field))
        missing = [part for part in spec.substrings if fold(part) not in text]
        found = len(spec.substrings) - len(missing)
        return found / len(spec.substrings), f"missing: {', '.join(map(_quoted, missing))}" if missing else ""

    return measure


def regex(spec: Regex) -> Measure:
    """1 when the pattern is found anywhere in the output. Raises ValueError for a bad pattern."""
    field = spec.field or spec.output_field
    validator, no_match = compile_pattern(spec.pattern)

    def measure(case: Case) -> tuple[float, str]:
        error = next(validator.iter_errors(judged_text(case, field)), None)
        if error is None:
            return 1.0, ""
        if not isinstance(error.kind, no_match):
            raise Unjudgeable(f"the pattern `{spec.pattern}` takes too many steps on this text")
        return 0.0, f"no match for `{spec.pattern}`"

    return measure


def json_schema(spec: JsonSchema) -> Measure:
    """1 when the output fits the schema; a text is read as JSON where the schema wants no text.

    Raises ValueError for a bad schema.
    """
    field = spec.field or spec.output_field
    validator = compile_schema(spec.schema_)
    kinds = spec.schema_.get("type", [])
    from_text = bool(kinds) and "string" not in ([kinds] if isinstance(kinds, str) else kinds)

    def measure(case: Case) -> tuple[float, str]:
        value = judged_value(case, field)
        try:
            document = orjson.loads(value if from_text and isinstance(value, str) else to_json(value))
        except orjson.JSONDecodeError as error:
            return 0.0, f"not JSON: {error}"
        words = []
        for violation in islice(validator.iter_errors(document), _MOST_VIOLATIONS):
            path = "".join(f"/{step}" for step in violation.instance_path)
            words.append(f"{path} {violation.message}".strip()[:200])
        return (0.0, "; ".join(words)) if words else (1.0, "")

    return measure


def similarity(spec: Similarity) -> Measure:
    """The cosine of the two texts' word counts, case ignored."""
    field = spec.field or spec.output_field

    def measure(case: Case) -> tuple[float, str]:
        wanted = as_text(reference(case, spec.reference_field))
        given = judged_text(case, field, spec.reference_field)
        if given == wanted:
            return 1.0, ""
        a, b = Counter(_TOKEN.findall(given.casefold())), Counter(_TOKEN.findall(wanted.casefold()))
        if not b:
            raise Unjudgeable(f"reference `{spec.reference_field}` has no words")
        if not a:
            return 0.0, "the output has no words"
        dot = sum(count * b[word] for word, count in a.items())
        norm = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
        return min(dot / norm, 1.0), ""

    return measure


def compile_pattern(pattern: str) -> tuple[Any, type]:
    """A validator of texts in which ``pattern`` is found, and the kind of error that says it is not
    (another kind: the limit was reached). Raises ValueError."""
    import jsonschema_rs  # 40 ms, and definitions load without it

    limit = jsonschema_rs.FancyRegexOptions(backtrack_limit=_MOST_STEPS)
    validator = jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=limit)
    return validator, jsonschema_rs.ValidationErrorKind.Pattern


def compile_schema(schema: Any) -> Any:
    """A validator of ``schema``; references to other documents are refused. Raises ValueError."""
    import jsonschema_rs  # 40 ms, and definitions load without it

    return jsonschema_rs.validator_for(schema, retriever=_refuse)


def _refuse(uri: str) -> Any:
    raise ValueError(f"`{uri}` is another document; write the schema out")


def _same(given: Any, wanted: Any, *, ignore_case: bool) -> bool:
    if isinstance(given, bool):
        return str(wanted).strip().lower() == str(given).lower()
    if isinstance(given, int | float) and not isinstance(wanted, bool):
        try:
            return float(wanted) == given
        except (TypeError, ValueError):
            return False
    a, b = as_text(given), as_text(wanted)
    return a.casefold() == b.casefold() if ignore_case else a == b


def _quoted(value: Any) -> str:
    text = as_text(value)
    return f"`{text[:80]}…`" if len(text) > 80 else f"`{text}`"
