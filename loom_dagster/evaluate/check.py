"""Everything that can be wrong with configured evaluators, found before anything is spent."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from loom_dagster.errors import Problem
from loom_dagster.evaluate.function import import_function
from loom_dagster.evaluate.local import compile_pattern, compile_schema
from loom_dagster.spec.models import (
    Evaluate,
    EvaluatorSpec,
    ExactMatch,
    JsonSchema,
    Python,
    Regex,
    Semantic,
)

__all__ = ["check_evaluators"]

Where = Callable[..., str | None]

_FROM_SOURCE = ("reference_field", "sources_field", "query_field")
_FROM_OUTPUT = ("output_field", "field")


def check_evaluators(
    evaluate: Evaluate,
    columns: Collection[str],
    fields: Collection[str],
    *,
    where: Where = lambda *_: None,
    root: Path,
) -> tuple[Problem, ...]:
    """A problem for each field that neither the source's ``columns`` nor the output's ``fields``
    have, each pattern, schema or function that cannot be used, and a warning for what probably
    is not meant. Python functions are imported from ``root``."""
    problems: list[Problem] = []
    for index, spec in enumerate(evaluate.evaluators):

        def place(key: str, index: int = index) -> str | None:
            return where("evaluate", "evaluators", index, key)

        problems.extend(_names(spec, columns, fields, place))
        problems.extend(_parts(spec, place, root))
        problems.extend(_doubts(spec, fields, place))
    return tuple(problems)


def _names(
    spec: EvaluatorSpec, columns: Collection[str], fields: Collection[str], place: Where
) -> Iterator[Problem]:
    for keys, known, what in (
        (_FROM_SOURCE, columns, "the source has no such column"),
        (_FROM_OUTPUT, fields, "the output has no such field"),
    ):
        for key in keys:
            name = getattr(spec, key, None)
            if name is not None and name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                yield Problem(
                    what=f"evaluator `{spec.name}`: {key} is `{name}`, and {what}",
                    where=place(key),
                    fix=f"did you mean `{near[0]}`?" if near else f"known: {', '.join(list(known)[:30])}",
                )
    field = getattr(spec, "field", None)
    if field is not None and spec.output_field is not None and field != spec.output_field:
        yield Problem(
            what=f"evaluator `{spec.name}` has both field `{field}` and output_field `{spec.output_field}`",
            where=place("output_field"),
            fix="they mean the same; keep one",
        )


def _parts(spec: EvaluatorSpec, place: Where, root: Path) -> Iterator[Problem]:
    key, fix = "type", ""
    try:
        match spec:
            case Regex():
                key, fix = "pattern", "patterns are written as in JSON schema: ^ and $, no \\A or \\Z"
                compile_pattern(spec.pattern)
            case JsonSchema():
                key, fix = "schema", "write a JSON schema"
                compile_schema(spec.schema_)
            case Python():
                key, fix = "function", "write module:function, importable from the project's folder"
                import_function(spec.function, root)
            case _:
                pass
    except ValueError as error:
        why = str(error).partition("\n")[0]
        yield Problem(what=f"evaluator `{spec.name}`: {key} cannot be used: {why}", where=place(key), fix=fix)


def _doubts(spec: EvaluatorSpec, fields: Collection[str], place: Where) -> Iterator[Problem]:
    if isinstance(spec, Semantic) and spec.reference_field is None:
        yield Problem(
            what=f"evaluator `{spec.name}` has no reference_field: it scores how coherent the output is, "
            "not whether it is right",
            where=place("type"),
            fix="set reference_field to a column with the expected text",
            level="warning",
        )
    if isinstance(spec, ExactMatch) and len(fields) > 1:
        expected = spec.reference_field.removeprefix("expected_")
        guessed = expected != spec.reference_field and expected in fields
        if not (spec.field or spec.output_field or guessed):
            yield Problem(
                what=f"evaluator `{spec.name}` compares the whole output, as JSON, with `{spec.reference_field}`",
                where=place("reference_field"),
                fix="set `field` to the output field that is meant",
                level="warning",
            )
