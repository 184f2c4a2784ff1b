"""The YAML of a test file (``tests/NAME_test.yaml``) as frozen models: what a prompt is expected to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from loom_dagster.spec.blocks import Block, Count, Name, Names, Positive, Share, Text

__all__ = [
    "Cases",
    "DistributionalTest",
    "IntegrationTest",
    "Pass",
    "Repeat",
    "Step",
    "Suite",
    "UnitTest",
]

REPEATS = 1_000
SAMPLE = 1_000_000
_NUMBER = re.compile(r"\d[\d,_]*")
_PASS = re.compile(r"^(?P<number>\d{1,9}(\.\d{0,9})?)\s*(?P<percent>%)?$")


class Pass(Block):
    """How many of the repeats of a case have to pass: a ``count`` of them, or a ``share``; neither: all."""

    count: Count | None = None
    share: Annotated[float, Field(gt=0.0, le=1.0)] | None = None

    def needed(self, repeats: int) -> int:
        """Of so many."""
        if self.count is not None:
            return self.count
        # 0.8 of 5 are 4, and not 5 because 0.8 * 5 is a little more than 4
        return repeats if self.share is None else -int(-(self.share * repeats - 1e-9) // 1)


def _pass_as_mapping(value: Any) -> Any:
    """``all``, a number of repeats (``4``), or a share of them (``0.8``, ``80%``)."""
    if not isinstance(value, str):
        return value
    if value == "all":
        return {}
    match = _PASS.match(value.strip())
    if match is None:
        raise ValueError(f"`{value}` is not `all`, a number of repeats (4) or a share of them (0.8, 80%)")
    if match["percent"]:
        return {"share": float(match["number"]) / 100}
    return {"share" if "." in match["number"] else "count": match["number"]}


Repeat = Annotated[int, Field(ge=1, le=REPEATS)]
Assertions = Annotated[tuple[Text, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)]


class Cases(Block):
    """A file with a case a row. ``input`` and ``expected`` say which of its columns are meant (default: those called
    ``input.X`` and ``expected.X``), ``id`` which one names the case (default: the row's number)."""

    file: str = Field(min_length=1)
    id: str | None = None
    input: dict[str, str] | None = None
    expected: dict[str, str] | None = None


def _cases_as_mapping(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


class UnitTest(Block):
    """One case, or with ``cases`` one a row of a file. ``input``: columns of the source. ``expected``: fields of the
    output, each a value, ``min_FIELD`` and ``max_FIELD``, or ``{regex: ..}``, ``{contains: ..}``, ``{any_of: [..]}``.
    A case is asked ``repeat`` times, and ``pass`` says how many of them have to be right."""

    name: Name
    description: str | None = None
    input: dict[Text, Any] = Field(default={})
    cases: Annotated[
        Cases | None, BeforeValidator(_cases_as_mapping, json_schema_input_type=Cases | str | None)
    ] = None
    expected: dict[Text, Any] = Field(default={})
    assertions: Assertions = ()
    repeat: Repeat = 1
    pass_: Annotated[Pass, BeforeValidator(_pass_as_mapping, json_schema_input_type=int | float | str)] = (
        Field(default=Pass(), alias="pass")
    )
    tags: Names = ()

    @model_validator(mode="after")
    def _has_something_to_ask(self) -> UnitTest:
        if not self.input and self.cases is None:
            raise ValueError("a case needs `input` (columns of the source), or `cases` (a file of them)")
        if self.pass_.count is not None and self.pass_.count > self.repeat:
            raise ValueError(f"`pass: {self.pass_.count}` of `repeat: {self.repeat}` cannot be reached")
        return self


DistributionalType = Literal["statistical", "hallucination_rate", "cost_budget", "agreement"]

_BELONGS: Mapping[str, tuple[str, ...]] = {
    "threshold": ("hallucination_rate",),
    "evaluators": ("hallucination_rate",),
    "max_cost": ("cost_budget",),
    "reference": ("agreement",),
    "field": ("agreement",),
}
_NEEDS: Mapping[str, str] = {
    "statistical": "assertions",
    "hallucination_rate": "threshold",
    "cost_budget": "max_cost",
    "agreement": "reference",
}


class DistributionalTest(Block):
    """What holds for many records: ``sample_size`` of them, drawn by ``seed`` from ``source`` (a place or a file;
    default: the pipeline's). ``statistical``: assertions on means, percentiles and the like, each with an interval at
    ``confidence``. ``hallucination_rate``: fewer than ``threshold`` of the records fail ``evaluators`` (default: those
    that judge truth). ``cost_budget``: ``sample_size`` records cost less than ``max_cost`` USD. ``agreement``: ``field``
    of the output agrees with the column ``reference``: assertions on accuracy, f1, kappa."""

    name: Name
    type: DistributionalType
    description: str | None = None
    sample_size: Annotated[int, Field(ge=1, le=SAMPLE)] = 100
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    source: str | None = Field(default=None, min_length=1)
    confidence: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.95
    assertions: Assertions = ()
    threshold: Share | None = None
    evaluators: Names = ()
    max_cost: Positive | None = None
    reference: str | None = None
    field: str | None = None
    tags: Names = ()

    @model_validator(mode="after")
    def _options_of_its_type(self) -> DistributionalTest:
        for key, types in _BELONGS.items():
            if key in self.model_fields_set and self.type not in types:
                raise ValueError(f"`{key}` belongs to the type {' or '.join(types)}, not to {self.type}")
        needed = _NEEDS[self.type]
        if getattr(self, needed) in (None, ()):
            raise ValueError(f"a test of the type {self.type} needs `{needed}`")
        if self.type == "agreement" and not self.assertions:
            raise ValueError("an agreement needs `assertions`, such as `accuracy > 0.9` or `kappa > 0.6`")
        return self


def _first_number(value: str) -> str:
    if _NUMBER.search(value) is None:
        raise ValueError(f"`{value}` does not say how many records; write `100 sample records`")
    return value


class Step(Block):
    """One step of an integration test; what is said of it is for people, but for the number of records to extract."""

    extract: Annotated[Text, AfterValidator(_first_number)] | None = None
    transform: Text | None = None
    evaluate: Text | None = None
    load: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> Step:
        if len(self.model_fields_set) != 1:
            raise ValueError("a step is one of extract, transform, evaluate, load")
        return self


class IntegrationTest(Block):
    """All four stages over a sample of the source, into a scratch destination; then ``assertions`` on what came of it.
    ``seed`` draws the sample."""

    name: Name
    description: str | None = None
    steps: tuple[Step, ...] = ()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    assertions: Annotated[Assertions, Field(min_length=1)]
    tags: Names = ()

    @property
    def sample_size(self) -> int:
        """How many records the steps say; 100 without a word."""
        said = next((step.extract for step in self.steps if step.extract), None)
        number = _NUMBER.search(said or "")
        return int(number[0].replace(",", "").replace("_", "")) if number else 100

    @model_validator(mode="after")
    def _steps_in_order(self) -> IntegrationTest:
        order = ("extract", "transform", "evaluate", "load")
        said = [name for step in self.steps for name in step.model_fields_set]
        if said != [name for name in order if name in said]:
            raise ValueError("the steps are extract, transform, evaluate and load, in this order, each once")
        if not 1 <= self.sample_size <= SAMPLE:
            raise ValueError(f"between 1 and {SAMPLE:,} records can be extracted")
        return self


class Suite(Block):
    """One test file. ``budget``: the most USD that one run of it may spend."""

    pipeline: Name
    description: str | None = None
    budget: Positive | None = None
    unit_tests: tuple[UnitTest, ...] = ()
    distributional_tests: tuple[DistributionalTest, ...] = ()
    integration_tests: tuple[IntegrationTest, ...] = ()

    @property
    def tests(self) -> tuple[UnitTest | DistributionalTest | IntegrationTest, ...]:
        """In the order in which they are run."""
        return (*self.unit_tests, *self.distributional_tests, *self.integration_tests)
