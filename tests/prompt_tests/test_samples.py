"""A distributional test: asked in growing pieces until the verdict is certain, and honest about what it does not know."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from loom_dagster.errors import Misconfigured, Outage, OverBudget
from loom_dagster.prompt_tests import Observed
from loom_dagster.prompt_tests.distributional import run_distributional
from loom_dagster.prompt_tests.drawing import Row, draw
from loom_dagster.prompt_tests.scopes import Names
from loom_dagster.prompt_tests.subjects import reference_of, truth_of
from loom_dagster.prompt_tests.table import Reference
from loom_dagster.prompt_tests.verdicts import Sampled, Verdict
from loom_dagster.spec import FieldSpec
from loom_dagster.spec.evaluators import CustomCriteria, EvaluatorBase, Factuality, Groundedness, Relevance
from loom_dagster.spec.suites import DistributionalTest

ROWS = [Row(str(i), {"i": i, "label": "pos" if i % 3 else "neg"}) for i in range(3_000)]
NAMES = Names(
    fields={"sentiment": FieldSpec(type="string"), "confidence": FieldSpec(type="float")},
    evaluators=["quality", "grounded"],
    columns=["i", "label"],
)
Says = Callable[[int, random.Random], Observed]


def usual(i: int, luck: random.Random) -> Observed:
    score = min(1.0, max(0.0, luck.gauss(0.87, 0.1)))
    said = ("pos" if i % 3 else "neg") if luck.random() < 0.9 else "neg"
    return Observed(
        output={"sentiment": said, "confidence": luck.random()},
        scores={"quality": score, "grounded": luck.random()},
        score=score,
        passed=score > 0.7,
        cost=luck.lognormvariate(-6.5, 0.4),
        paid=0.001,
        latency=luck.random(),
    )


class Pipeline:
    """Says of each row what ``says`` does, as long as there is money for more."""

    def __init__(self, says: Says = usual, most: int = 10_000) -> None:
        self.says, self.most, self.asked = says, most, list[int]()

    async def ask(self, columns: Mapping[str, Any], *, sample: int = 0) -> Observed:
        if len(self.asked) >= self.most:
            raise OverBudget("the budget of this test run has no room for the call")
        self.asked.append(columns["i"])
        await asyncio.sleep(0)
        return self.says(columns["i"], random.Random(columns["i"]))


def run(pipeline: Pipeline | None = None, *, rows: list[Row] = ROWS, **spec: Any) -> Sampled:
    test = DistributionalTest.model_validate({"name": "t", "sample_size": 1_000, **spec})
    return asyncio.run(
        run_distributional(
            test,
            draw(rows, test.sample_size, test.seed),
            pipeline or Pipeline(),
            names=NAMES,
            truth={"grounded": 0.02},
            reference=Reference(field="sentiment", column="label"),
        )
    )


def test_it_stops_when_the_verdict_is_certain_and_says_what_that_saved() -> None:
    pipeline = Pipeline()
    found = run(pipeline, type="statistical", assertions=["mean(evaluation_scores) > 0.75"])
    assert found.verdict is Verdict.PASSED and found.certain
    assert found.seen == len(pipeline.asked) < 200 and found.planned == 1_000
    assert found.saved == pytest.approx(found.cost / found.seen * (1_000 - found.seen))  # type: ignore[operator]
    assert found.stopped == f"stopped after {found.seen} of 1,000, saved about ${found.saved:.2f}"
    [finding] = found.findings
    assert finding.interval is not None and 0.75 < finding.interval.low < 0.87 < finding.interval.high


def test_the_same_seed_asks_the_same_records_and_finds_the_same() -> None:
    one, two, other = Pipeline(), Pipeline(), Pipeline()
    spec: dict[str, Any] = {
        "type": "agreement",
        "reference": "label",
        "assertions": ["kappa > 0.6", "f1 > 0.7"],
    }
    assert run(one, **spec) == run(two, **spec)
    run(other, **spec, seed=1)
    assert sorted(one.asked) == sorted(two.asked) != sorted(other.asked)


def test_it_fails_as_soon_as_that_is_certain() -> None:
    found = run(
        type="statistical", assertions=["mean(evaluation_scores) > 0.97", "std(evaluation_scores) < 0.5"]
    )
    assert found.verdict is Verdict.FAILED and found.certain and not found.passed


def test_what_is_of_the_sample_itself_is_known_when_all_of_it_is() -> None:
    found = run(type="statistical", assertions=["min(evaluation_scores) > 0.1"])
    assert found.passed and found.seen == 1_000 and found.findings[0].interval is None
    found = run(type="statistical", assertions=["max(latency) < 0.5"])
    assert not found.passed and found.seen < 1_000  # one is enough


def test_too_few_records_are_no_verdict_and_say_how_many_it_takes() -> None:
    found = run(rows=ROWS[:40], type="statistical", assertions=["fraction(passed) > 0.9"])
    assert found.verdict is Verdict.UNDECIDED and not found.passed and found.findings[0].needed
    assert "there are 40 records" in found.warnings[0]


def test_a_hallucination_rate_is_of_records_with_an_output_and_an_unjudged_one_counts() -> None:
    def says(i: int, luck: random.Random) -> Observed:
        if i % 4 == 0:
            return Observed(output=None, error="refused", kind="refused", cost=0.001)
        unsure = None if i % 4 == 1 else 0.9
        return Observed(
            output={"sentiment": "pos"}, scores={"grounded": unsure}, score=0.5, passed=True, cost=0.001
        )

    found = run(Pipeline(says), type="hallucination_rate", threshold=0.9)
    [finding] = found.findings
    assert finding.value == pytest.approx(1 / 3, abs=0.1)
    assert found.unanswered > 0 and any("left out: no output" in w for w in found.warnings)


def test_a_score_that_could_not_be_had_counts_as_zero() -> None:
    def says(i: int, luck: random.Random) -> Observed:
        score = None if i % 2 else 1.0
        return Observed(output={}, scores={"quality": score}, score=score, cost=0.0)

    found = run(
        Pipeline(says),
        type="statistical",
        assertions=["mean(scores.quality) > 0.4", "mean(evaluation_scores) < 0.6"],
    )
    assert found.passed


def test_a_cost_budget_is_of_so_many_records() -> None:
    assert run(type="cost_budget", max_cost=2.5).passed  # 1.66 in the mean
    found = run(type="cost_budget", max_cost=1.0)
    assert found.verdict is Verdict.FAILED
    assert found.findings[0].text == "cost of 1,000 records < $1.00"
    assert found.findings[0].value == pytest.approx(1.66, abs=0.2)


def test_a_price_that_nobody_knows_is_no_cost() -> None:
    pipeline = Pipeline(lambda i, luck: Observed(output={}, cost=None))
    with pytest.raises(Misconfigured, match=r"transform\.price"):
        run(pipeline, type="cost_budget", max_cost=1.0)


def test_an_unanswered_record_agrees_with_nothing() -> None:
    def says(i: int, luck: random.Random) -> Observed:
        return (
            Observed(output=None, error="x")
            if i % 2
            else Observed(output={"sentiment": "pos" if i % 3 else "neg"})
        )

    found = run(Pipeline(says), type="agreement", reference="label", assertions=["accuracy < 0.6"])
    assert found.passed


def test_classes_are_compared_as_they_are_written() -> None:
    rows = [Row(str(i), {"i": i, "label": ["1", 1.0, True, None][i % 4]}) for i in range(400)]
    outputs: list[Any] = [1, "1", "true", "never asked for"]
    pipeline = Pipeline(lambda i, luck: Observed(output={"sentiment": outputs[i % 4]}, cost=0.0))
    found = run(pipeline, rows=rows, type="agreement", reference="label", assertions=["accuracy > 0.9"])
    assert found.passed and found.findings[0].value == 1.0
    assert any("no `label` to compare with" in w for w in found.warnings)


def test_a_spend_cap_leaves_the_verdict_open_and_says_so() -> None:
    pipeline = Pipeline(most=100)
    found = run(pipeline, type="statistical", assertions=["fraction(passed) > 0.95"])
    assert found.verdict is Verdict.UNDECIDED and found.seen == 89
    assert found.reason.startswith("stopped after 89 of 1,000: the budget")
    with pytest.raises(OverBudget):
        run(Pipeline(most=3), type="statistical", assertions=["fraction(passed) > 0.95"])


def test_an_outage_is_no_verdict() -> None:
    class Down(Pipeline):
        async def ask(self, columns: Mapping[str, Any], *, sample: int = 0) -> Observed:
            raise Outage("down")

    with pytest.raises(Outage):
        run(Down(), type="statistical", assertions=["fraction(passed) > 0.95"])


def test_no_records_are_no_sample() -> None:
    with pytest.raises(Misconfigured, match="no records to sample"):
        run(rows=[], type="cost_budget", max_cost=1.0)


def spec(**more: Any) -> DistributionalTest:
    return DistributionalTest.model_validate(
        {"name": "t", "type": "hallucination_rate", "threshold": 0.05, **more}
    )


def test_which_evaluators_tell_what_is_made_up() -> None:
    criteria = CustomCriteria(
        name="quality", type="custom_criteria", criteria="Accurate, no hallucination", threshold=0.75
    )
    other = CustomCriteria(name="tone", type="custom_criteria", criteria="Polite")
    judges: list[EvaluatorBase] = [
        criteria,
        other,
        Groundedness(name="g", type="groundedness"),
        Factuality(name="f", type="factuality"),
    ]
    assert truth_of(spec(), judges) == {"quality": 0.75, "g": 0.7, "f": 0.7}
    assert truth_of(spec(evaluators=["tone"]), judges) == {"tone": 0.7}
    with pytest.raises(Misconfigured, match="did you mean `tone`"):
        truth_of(spec(evaluators=["ton"]), judges)
    with pytest.raises(Misconfigured, match="type: groundedness"):
        truth_of(spec(), [other, Relevance(name="r", type="relevance")])


def test_which_field_the_reference_is_about() -> None:
    def of(fields: list[str], columns: list[str], **more: Any) -> Reference | None:
        test = DistributionalTest.model_validate(
            {"name": "t", "type": "agreement", "assertions": ["accuracy > 0.5"], **more}
        )
        return reference_of(test, fields, columns)

    assert of(["sentiment", "why"], ["expected_sentiment"], reference="expected_sentiment") == Reference(
        field="sentiment", column="expected_sentiment"
    )
    assert of(["team"], ["label"], reference="label") == Reference(field="team", column="label")
    assert of(["team", "why"], ["label"], reference="label", field="why") == Reference(
        field="why", column="label"
    )
    for fields, columns, more, says in [
        (["team", "why"], ["label"], {"reference": "label"}, "not clear which field"),
        (["team"], ["label"], {"reference": "labl"}, "did you mean `label`"),
        (["team"], ["label"], {"reference": "label", "field": "tema"}, "did you mean `team`"),
    ]:
        with pytest.raises(Misconfigured, match=says):
            of(fields, columns, **more)
