"""The cases of a suite, each ready to be asked: what is wrong with one is known before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.prompt_tests.expected import Expectation, Wrong, expectations
from loom_dagster.prompt_tests.expressions import Expression, parse
from loom_dagster.prompt_tests.kinds import Scope
from loom_dagster.prompt_tests.scopes import Names
from loom_dagster.spec import EvaluatorSpec, nearest, resolve
from loom_dagster.spec.suite_file import SuiteFile
from loom_dagster.spec.suites import Cases, UnitTest

__all__ = ["Case", "Inputs", "assertions", "cases_of"]

ReadRows = Callable[[Cases], Sequence[Mapping[str, Any]]]
"""The rows of a file of cases; raises Misconfigured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One input and what is expected. ``name`` is unique in its suite; ``needed`` of ``repeat`` answers have to be right."""

    name: str
    where: str
    columns: Mapping[str, Any]
    expected: tuple[Expectation, ...] = ()
    assertions: tuple[Expression, ...] = ()
    repeat: int = 1
    needed: int = 1
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the pipeline wants of an input: columns that the prompt ``needed``, or ``optional``, which are null when they
    are not given; and the evaluators, whose reference may stand under ``expected``."""

    needed: frozenset[str]
    optional: frozenset[str]
    evaluators: Sequence[EvaluatorSpec] = ()

    def complete(self, columns: dict[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
        """``columns`` with what is not said and known all the same."""
        for evaluator in self.evaluators:
            reference = getattr(evaluator, "reference_field", None)
            if reference is None or reference in columns:
                continue
            field = (
                getattr(evaluator, "field", None)
                or evaluator.output_field
                or reference.removeprefix("expected_")
            )
            value = resolve(expected.get(field))
            if value is not None and not isinstance(value, Mapping):
                columns[reference] = value
        return {**dict.fromkeys(sorted(self.optional - columns.keys())), **columns}


def cases_of(file: SuiteFile, names: Names, inputs: Inputs, read: ReadRows) -> list[Case]:
    """Every case of ``file``. Raises Misconfigured with every problem."""
    cases, problems = list[Case](), list[Problem]()
    for index, test in enumerate(file.spec.unit_tests):
        reader = _Reader(file, index, test, names, inputs)
        try:
            cases.extend(reader.cases(read))
        except Misconfigured as error:
            what = f"{error.what}: {error.why}" if error.why else error.what
            whole = Problem(what=what, where=error.where or reader.where("cases"), fix=error.fix)
            reader.problems.extend(error.problems or (whole,))
        problems.extend(reader.problems)
    problems.extend(_twice(cases))
    if problems:
        raise Misconfigured(
            f"{file.file} cannot be run: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            problems=tuple(problems),
        )
    return cases


def _twice(cases: Sequence[Case]) -> Iterator[Problem]:
    """A row of a file can be called as another case is."""
    seen = dict[str, Case]()
    for case in cases:
        first = seen.setdefault(case.name, case)
        if first is not case:
            what = f"case `{case.name}` is called as the one at {first.where} is"
            yield Problem(what=what, where=case.where, fix="give each test a name of its own")


def assertions(
    texts: Sequence[str], scope: Scope, where: Callable[[int], str], problems: list[Problem]
) -> tuple[Expression, ...]:
    """The assertions that make sense; the others become ``problems``."""
    found = []
    for index, text in enumerate(texts):
        try:
            found.append(parse(text, scope))
        except Misconfigured as error:
            problems.append(Problem(what=error.what, where=where(index), fix=error.fix))
    return tuple(found)


class _Reader:
    """One unit test of the file: a case, or one a row."""

    def __init__(self, file: SuiteFile, index: int, test: UnitTest, names: Names, inputs: Inputs) -> None:
        self._file, self._index, self._test, self._names, self._inputs = file, index, test, names, inputs
        self.problems: list[Problem] = []

    def where(self, *loc: str | int) -> str:
        return self._file.where("unit_tests", self._index, *loc)

    def cases(self, read: ReadRows) -> Iterator[Case]:
        test, given = self._test, {name: resolve(value) for name, value in self._test.input.items()}
        if test.cases is None:
            yield from self._case(test.name, given, test.expected, self.where("name"))
            return
        rows, seen = read(test.cases), dict[str, int]()
        if not rows:
            self._wrong("cases", f"`{test.cases.file}` has no rows")
        for number, row in enumerate(rows, 1):
            columns, expected = self._parts(row, test.cases)
            name = str(number) if test.cases.id is None else str(row.get(test.cases.id))
            if name in seen:
                self._wrong(
                    "cases", f"row {number} of `{test.cases.file}` is called `{name}`, as row {seen[name]} is"
                )
            seen.setdefault(name, number)
            where = f"{test.cases.file}, row {number}"
            yield from self._case(
                f"{test.name}[{name}]", {**given, **columns}, {**test.expected, **expected}, where
            )
            if self.problems:  # the next row has the same
                return

    def _parts(self, row: Mapping[str, Any], cases: Cases) -> tuple[dict[str, Any], dict[str, Any]]:
        """Input and expectation in a row. What is null is not said."""
        parts = []
        for key, chosen in (("input", cases.input), ("expected", cases.expected)):
            if chosen is not None:
                missing = [column for column in chosen.values() if column not in row]
                for column in missing:
                    self._wrong("cases", f"`{cases.file}` has no column `{column}`", nearest(column, row))
                found = {name: row.get(column) for name, column in chosen.items()}
            else:
                nested = row.get(key)
                prefix = f"{key}."
                found = {c.removeprefix(prefix): v for c, v in row.items() if c.startswith(prefix)}
                found |= nested if isinstance(nested, Mapping) else {}
            parts.append(found)
        if cases.id is not None and cases.id not in row:
            self._wrong("cases", f"`{cases.file}` has no column `{cases.id}`", nearest(cases.id, row))
        if not parts[0] and not self._test.input:
            what = f"`{cases.file}` has no columns called `input.NAME`"
            self._wrong("cases", what, "call them so, or write cases: {file: .., input: {NAME: COLUMN}}")
        return parts[0], {name: value for name, value in parts[1].items() if value is not None}

    def _case(
        self, name: str, columns: dict[str, Any], expected: Mapping[str, Any], where: str
    ) -> Iterator[Case]:
        for missing in sorted(self._inputs.needed - columns.keys()):
            extra = columns.keys() - self._inputs.needed
            fix = nearest(missing, extra, others=False) if extra else None
            self._wrong(
                "input", f"case `{name}`: the prompt needs the column `{missing}`, and `input` lacks it", fix
            )
        expectation = self._expected(name, expected)
        scope = self._names.of_case(columns)
        found = assertions(
            self._test.assertions, scope, lambda i: self.where("assertions", i), problems := list[Problem]()
        )
        self.problems.extend(problems)
        if not expected and not self._test.assertions:
            self._wrong("name", f"case `{name}` expects nothing", "add `expected` or `assertions`")
        yield Case(
            name=name,
            where=where,
            columns=self._inputs.complete(columns, expected),
            expected=tuple(expectation),
            assertions=found,
            repeat=self._test.repeat,
            needed=self._test.pass_.needed(self._test.repeat),
            tags=self._test.tags,
        )

    def _expected(self, name: str, expected: Mapping[str, Any]) -> list[Expectation]:
        found = []
        for key, value in expected.items():
            try:
                found.extend(expectations({key: value}, self._names.fields))
            except Wrong as wrong:
                in_file = key not in self._test.expected
                self._wrong(
                    "cases" if in_file else "expected",
                    f"case `{name}`: {wrong.what}",
                    wrong.fix,
                    *(() if in_file else (key,)),
                )
        return found

    def _wrong(self, key: str, what: str, fix: str | None = None, *more: str) -> None:
        self.problems.append(Problem(what=what, where=self.where(key, *more), fix=fix))
