"""What a pipeline said to a sample, as columns that statistics are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.drawing import Row
from loom_dagster.prompt_tests.estimates import Estimate, agreement, estimate
from loom_dagster.prompt_tests.expressions import Lookup, Unknown, value_of
from loom_dagster.prompt_tests.looks import Look
from loom_dagster.prompt_tests.nodes import Call, Constant, Name, Node, Path, shown
from loom_dagster.prompt_tests.observed import Observed
from loom_dagster.prompt_tests.scopes import lookup_of

__all__ = ["HALLUCINATED", "Reference", "Table"]

HALLUCINATED: Path = ("hallucinated",)
_SCORES = frozenset({"evaluation_score", "evaluation_scores", "scores"})
_NO_ANSWER = "(no answer)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """``field`` of the output ought to be what ``column`` of the source says."""

    field: str
    column: str


@dataclass(slots=True)
class Table:
    """Grows row by row. ``truth``: the evaluators that tell whether something was made up, and their thresholds."""

    truth: Mapping[str, float] = field(default_factory=dict)
    reference: Reference | None = None
    rows: list[tuple[Row, Observed]] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)

    def estimated(self, statistic: Call | Name, look: Look, alpha: float) -> Estimate | None:
        """Of the rows so far. Raises Misconfigured where an assertion asks for costs that nobody knows."""
        if isinstance(statistic, Name):
            truth, said = self._labels()
            return agreement(statistic.path[0], truth, said, look, alpha)
        share = 0.5
        if statistic.function == "percentile":
            percent = statistic.arguments[1]
            share = float(percent.value) / 100 if isinstance(percent, Constant) else share  # type: ignore[arg-type]  # checked to be a number
        bounded = bool(statistic.arguments) and _bounded(statistic.arguments[0])
        values = self._values(statistic)
        return estimate(statistic.function, values, look, alpha, bounded=bounded, share=share)

    def _values(self, statistic: Call) -> list[float]:
        if not statistic.arguments:  # count()
            return [1.0] * len(self.rows)
        argument, found = statistic.arguments[0], list[float]()
        for row, seen in self.rows:
            try:
                found.append(float(value_of(argument, self._lookup(row, seen))))
            except Unknown:
                continue
        said = shown(argument.path) if isinstance(argument, Name) else f"value for {statistic.function}(...)"
        said = "output" if said == shown(HALLUCINATED) else f"`{said}`"
        self.missing[said] = len(self.rows) - len(found)
        return found

    def _lookup(self, row: Row, seen: Observed) -> Lookup:
        usual = lookup_of(seen, row.columns)

        def lookup(path: Path) -> Any:
            if path == HALLUCINATED:
                return self._hallucinated(seen)
            if path == ("cost",) and seen.cost is None:
                raise Misconfigured(
                    "what an answer cost is not known, and the test is about it",
                    why="the model has no known price",
                    fix="declare it in `transform.price`, or under [tool.loom.prices]",
                    kind="unknown_price",
                )
            try:
                return usual(path)
            except Unknown:
                if path[0] in _SCORES:
                    return 0.0  # what could not be judged never counts as good
                raise

        return lookup

    def _hallucinated(self, seen: Observed) -> bool:
        if seen.output is None:
            raise Unknown("there is no output")
        scores = ((seen.scores.get(name), least) for name, least in self.truth.items())
        return any(score is None or score < least for score, least in scores)

    def _labels(self) -> tuple[list[str], list[str]]:
        """Rows without a reference are left out; one without an answer agrees with nothing."""
        if self.reference is None:
            raise ValueError("agreement is with a reference")
        truth, said = list[str](), list[str]()
        for row, seen in self.rows:
            wanted = row.columns.get(self.reference.column)
            if wanted is None or wanted == "":
                continue
            truth.append(_label(wanted))
            answer = None if seen.output is None else seen.output.get(self.reference.field)
            said.append(_NO_ANSWER if answer is None else _label(answer))
        self.missing[f"`{self.reference.column}` to compare with"] = len(self.rows) - len(truth)
        return truth, said


def _bounded(argument: Node) -> bool:
    """A score lies in [0, 1]; of anything else nobody knows."""
    return isinstance(argument, Name) and argument.path[0] in _SCORES


def _label(value: Any) -> str:
    """1, 1.0 and the text ``1`` of a CSV file are one class; so are true and ``true``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value).strip()
