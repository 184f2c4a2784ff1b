"""What assertions may name: of one case, of the records of a sample, of a whole run; and where the values are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from loom_dagster.prompt_tests.expressions import Lookup, Unknown
from loom_dagster.prompt_tests.kinds import ANY, BOOLEAN, NUMBER, TEXT, Function, Kind, Scope
from loom_dagster.prompt_tests.nodes import Path, shown
from loom_dagster.prompt_tests.observed import Observed
from loom_dagster.spec import FieldSpec

__all__ = ["OVER_RECORDS", "RUN", "Names", "lookup_in", "lookup_of", "plain"]

OVER_RECORDS: Mapping[str, Function] = {
    **{
        name: Function(takes=("number",), gives=NUMBER, over=True)
        for name in ("mean", "std", "min", "max", "median")
    },
    "percentile": Function(takes=("number", "number"), gives=NUMBER, needs=2, over=True, constant=(1,)),
    "fraction": Function(takes=("boolean",), gives=NUMBER, over=True),
    "count": Function(takes=("boolean",), gives=NUMBER, needs=0, over=True),
}
"""``percentile(latency, 95)``, ``fraction(output.sentiment == 'positive')``, ``count()``."""

_RUN = (
    "records_extracted",
    "records_passed",
    "records_quarantined",
    "records_loaded",
    "total_cost",
    "duration",
    "pass_rate",
)
RUN = Scope(names={(name,): NUMBER for name in _RUN})
"""What an integration test's assertions may name: ``duration`` in seconds, ``total_cost`` in USD."""

_AGREEMENT = ("accuracy", "f1", "precision", "recall", "kappa")
_NO_JUDGES = "the pipeline has no evaluators"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a pipeline has: output ``fields``, source ``columns`` (None: not known) and ``evaluators``."""

    fields: Mapping[str, FieldSpec]
    evaluators: Collection[str]
    columns: Collection[str] | None = None

    def of_case(self, columns: Collection[str] = ()) -> Scope:
        """One input and what was said to it; ``columns`` of the case beside the source's."""
        return Scope(names=self._record(columns), open=self._open, absent=self._absent())

    def of_sample(self, *, agreement: bool = False) -> Scope:
        """Many records; with ``agreement`` also how they agree with the reference."""
        record = self._record(())
        if self.evaluators:
            record[("evaluation_scores",)] = NUMBER
        return Scope(
            names={(name,): NUMBER for name in _AGREEMENT if agreement},
            of_record=record,
            functions=OVER_RECORDS,
            open=self._open,
            absent=self._absent(),
        )

    def _record(self, columns: Collection[str]) -> dict[Path, Kind]:
        names: dict[Path, Kind] = {("passed",): BOOLEAN, ("latency",): NUMBER, ("cost",): NUMBER}
        names |= {("input", column): ANY for column in (*columns, *(self.columns or ()))}
        names |= dict(_fields(("output",), self.fields))
        if self.evaluators:
            names[("evaluation_score",)] = NUMBER
        return names | {("scores", name): NUMBER for name in self.evaluators}

    def _absent(self) -> dict[Path, str]:
        names = ("evaluation_score", "evaluation_scores")
        return {} if self.evaluators else {(name,): _NO_JUDGES for name in names}

    @property
    def _open(self) -> frozenset[str]:
        return frozenset({"input"} if self.columns is None else ())


def _fields(above: Path, fields: Mapping[str, FieldSpec]) -> Iterator[tuple[Path, Kind]]:
    for name, spec in fields.items():
        path = (*above, name)
        if spec.type == "object" and spec.fields:
            yield path, Kind("object")
            yield from _fields(path, spec.fields)
        else:
            yield path, _kind(spec)


def _kind(spec: FieldSpec) -> Kind:
    if spec.type in ("integer", "float"):
        return Kind("number", spec.enum or ())
    if spec.type in ("array", "object"):
        return Kind("list") if spec.type == "array" else TEXT  # an object without fields is JSON text
    return BOOLEAN if spec.type == "boolean" else Kind("text", spec.enum or ())


def lookup_of(observed: Observed, columns: Mapping[str, Any]) -> Lookup:
    """The names of one record: what was said to the ``columns``."""
    values: dict[str, Any] = {
        "input": columns,
        "output": observed.output,
        "scores": observed.scores,
        "evaluation_score": observed.score,
        "evaluation_scores": observed.score,
        "passed": observed.passed,
        "latency": observed.latency,
        "cost": observed.cost,
    }
    return lambda path: _found(values, path)


def lookup_in(values: Mapping[str, Any]) -> Lookup:
    """Names without a dot."""
    return lambda path: _found(values, path)


_WHY = {
    "scores": "the score could not be had",
    "evaluation_score": "the score could not be had",
    "evaluation_scores": "the score could not be had",
    "cost": "the price of the model is not known",
    "output": "there is no output",
}


def _found(values: Mapping[str, Any], path: Path) -> Any:
    value: Any = values
    for index, part in enumerate(path):
        if not isinstance(value, Mapping) or part not in value:
            raise Unknown(f"there is no `{shown(path[: index + 1])}`")
        value = value[part]
        if value is None and (index == 0 or path[0] == "scores"):
            raise Unknown(_WHY.get(path[0], f"`{shown(path)}` is not known"))
    return plain(value)


def plain(value: Any) -> Any:
    """Times as ISO 8601 text, decimals as floats; the rest as it is."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value
