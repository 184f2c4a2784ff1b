"""What of a pipeline a distributional test is about: the evaluators that tell what is made up, the field that has a
reference."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.table import Reference
from loom_dagster.spec import nearest
from loom_dagster.spec.evaluators import CustomCriteria, EvaluatorBase, Factuality, Groundedness
from loom_dagster.spec.suites import DistributionalTest

__all__ = ["reference_of", "truth_of"]

_MADE_UP = re.compile(r"hallucinat|fabricat|made[ -]up|ungrounded|unsupported", re.IGNORECASE)
_EXPECTED = "expected_"


def truth_of(test: DistributionalTest, evaluators: Sequence[EvaluatorBase]) -> Mapping[str, float]:
    """The evaluators that tell whether an output states what nothing supports, and their thresholds: those the test
    names; else groundedness, factuality, and criteria that speak of hallucination. Raises Misconfigured without any."""
    thresholds = {e.name: e.threshold for e in evaluators}
    if test.evaluators:
        for name in test.evaluators:
            if name not in thresholds:
                raise Misconfigured(f"the pipeline has no evaluator `{name}`", fix=nearest(name, thresholds))
        return {name: thresholds[name] for name in test.evaluators}
    found = {e.name: e.threshold for e in evaluators if _judges_truth(e)}
    if not found:
        raise Misconfigured(
            "no evaluator of the pipeline tells what is made up, so there is no hallucination rate",
            why="none is of the type groundedness or factuality, or has criteria about hallucination",
            fix="add `{type: groundedness}` to its evaluators, or name one of them in the test: `evaluators: [NAME]`",
        )
    return found


def _judges_truth(evaluator: EvaluatorBase) -> bool:
    if isinstance(evaluator, CustomCriteria):
        return _MADE_UP.search(f"{evaluator.name} {evaluator.criteria}") is not None
    return isinstance(evaluator, Groundedness | Factuality)


def reference_of(
    test: DistributionalTest, fields: Collection[str], columns: Collection[str]
) -> Reference | None:
    """What an agreement compares: the field the test names; else X where the column is called ``expected_X`` or X; else the
    only field there is. None for tests of other types. Raises Misconfigured."""
    if test.reference is None:
        return None
    if test.reference not in columns:
        what = f"the source has no column `{test.reference}` to compare with"
        raise Misconfigured(what, fix=nearest(test.reference, columns))
    if test.field is not None and test.field not in fields:
        raise Misconfigured(f"the output has no field `{test.field}`", fix=nearest(test.field, fields))
    likely = [test.field, test.reference.removeprefix(_EXPECTED), *(fields if len(fields) == 1 else ())]
    chosen = next((name for name in likely if name in fields), None)
    if chosen is None:
        raise Misconfigured(
            f"it is not clear which field of the output `{test.reference}` is about",
            fix=f"name it: `field: {next(iter(fields), 'NAME')}`; known: {', '.join(fields)}",
        )
    return Reference(field=str(chosen), column=test.reference)
