"""What is in a test file, checked against its pipeline: every problem is known before anything is asked."""

from __future__ import annotations

from collections.abc import Iterator

from loom_dagster.assembly.prepared import Prepared
from loom_dagster.assembly.samples import Samples
from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.prompt_tests.cases import Inputs, assertions, cases_of
from loom_dagster.prompt_tests.distributional import claims_of
from loom_dagster.prompt_tests.items import Item
from loom_dagster.prompt_tests.scopes import RUN, Names
from loom_dagster.prompt_tests.subjects import truth_of
from loom_dagster.spec import Project, refusal
from loom_dagster.spec.suite_file import SuiteFile

__all__ = ["items_of", "names_of", "pipeline_known"]


def pipeline_known(suite: SuiteFile, project: Project) -> None:
    """Raises Misconfigured when the pipeline is not there, or its file has problems."""
    try:
        project.pipeline(suite.spec.pipeline)
    except Misconfigured as error:
        if error.problems:  # its own
            raise
        problem = Problem(what=error.what, where=suite.where("pipeline"), fix=error.fix)
        raise refusal([problem], "") from error


def names_of(ready: Prepared) -> Names:
    """What assertions may name of a pipeline that has no problems."""
    fields = {} if ready.schema is None else ready.schema.fields
    return Names(fields=fields, evaluators=[e.name for e in ready.spec.evaluate.evaluators])


def items_of(suite: SuiteFile, ready: Prepared, names: Names, samples: Samples) -> list[Item]:
    """Every test, in the order in which they are run. Raises Misconfigured with every problem."""
    needed = ready.prompt.needed if ready.prompt is not None else frozenset()
    columns = ready.prompt.columns if ready.prompt is not None else frozenset()
    inputs = Inputs(needed=needed, optional=columns - needed, evaluators=ready.spec.evaluate.evaluators)
    problems = [*_wrong_samples(suite, ready, names), *_wrong_runs(suite)]
    try:
        cases = cases_of(suite, names, inputs, samples.cases)
    except Misconfigured as error:
        problems = [*error.problems, *problems]
        cases = []
    if problems:
        raise refusal(problems, f"{suite.file} cannot be run")
    spec = suite.spec
    return [
        *(Item(section="unit", name=c.name, where=c.where, tags=c.tags, spec=c) for c in cases),
        *(
            Item(
                section="distributional",
                name=test.name,
                where=suite.where("distributional_tests", index, "name"),
                tags=test.tags,
                spec=test,
            )
            for index, test in enumerate(spec.distributional_tests)
        ),
        *(
            Item(
                section="integration",
                name=test.name,
                where=suite.where("integration_tests", index, "name"),
                tags=test.tags,
                spec=test,
            )
            for index, test in enumerate(spec.integration_tests)
        ),
    ]


def _wrong_samples(suite: SuiteFile, ready: Prepared, names: Names) -> Iterator[Problem]:
    for index, test in enumerate(suite.spec.distributional_tests):
        try:
            claims_of(test, names)
            if test.type == "hallucination_rate":
                truth_of(test, ready.spec.evaluate.evaluators)
        except Misconfigured as error:
            key = "assertions" if error.kind == "expression" else "name"
            where = suite.where("distributional_tests", index, key)
            yield Problem(what=f"test `{test.name}`: {error.what}", where=where, fix=error.fix)


def _wrong_runs(suite: SuiteFile) -> list[Problem]:
    problems = list[Problem]()
    for index, test in enumerate(suite.spec.integration_tests):

        def where(nth: int, index: int = index) -> str:
            return suite.where("integration_tests", index, "assertions", nth)

        assertions(test.assertions, RUN, where, problems)
    return problems
