"""Assertions about many records: pass, fail, or not enough samples; how many it would take; what holds together."""

from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.claims import Claim, Claims
from loom_dagster.prompt_tests.estimates import Estimate
from loom_dagster.prompt_tests.expressions import parse
from loom_dagster.prompt_tests.looks import Look, looks
from loom_dagster.prompt_tests.needed import needed_for, needed_for_fraction
from loom_dagster.prompt_tests.nodes import Call, Name
from loom_dagster.prompt_tests.ranges import Range, compare, together
from loom_dagster.prompt_tests.scopes import Names
from loom_dagster.prompt_tests.verdicts import Finding, Verdict
from loom_dagster.spec import FieldSpec

PASSED, FAILED, UNDECIDED = Verdict.PASSED, Verdict.FAILED, Verdict.UNDECIDED
NAMES = Names(fields={"n": FieldSpec(type="float")}, evaluators=["q"], columns=["label"])
LAST = Look(n=100, planned=100, spends=False)

Known = dict[str, tuple[float, float, float]]


def claims(*texts: str) -> Claims:
    parsed = [parse(text, NAMES.of_sample(agreement=True)) for text in texts]
    return Claims([Claim(one.text, one.node) for one in parsed], 0.05)


def findings(known: Known, *texts: str, look: Look = LAST) -> list[Finding]:
    def estimator(statistic: Call | Name, _: Look, __: float) -> Estimate | None:
        name = statistic.function if isinstance(statistic, Call) else statistic.path[0]
        found = known.get(name)
        return None if found is None else Estimate(value=found[0], low=found[1], high=found[2], method="m")

    return claims(*texts).look(estimator, look)


KNOWN: Known = {"mean": (0.8, 0.78, 0.82), "std": (0.2, 0.1, 0.3), "median": (0.5, 0.4, 0.6)}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("mean(evaluation_scores) > 0.75", PASSED),
        ("0.75 < mean(evaluation_scores)", PASSED),
        ("mean(evaluation_scores) > 0.85", FAILED),
        ("mean(evaluation_scores) > 0.80", UNDECIDED),
        ("mean(evaluation_scores) >= 0.78", PASSED),
        ("mean(evaluation_scores) > 0.78", UNDECIDED),
        ("mean(evaluation_scores) > 0.82", FAILED),
        ("mean(evaluation_scores) >= 0.82", UNDECIDED),
        ("mean(evaluation_scores) < 0.85", PASSED),
        ("mean(evaluation_scores) - std(evaluation_scores) > 0.45", PASSED),
        ("mean(evaluation_scores) - std(evaluation_scores) > 0.55", UNDECIDED),
        ("mean(evaluation_scores) * 1000 < 800", UNDECIDED),
        ("-mean(evaluation_scores) < -0.7 and abs(-std(evaluation_scores)) < 0.35", PASSED),
        ("std(evaluation_scores) / mean(evaluation_scores) < 0.4", PASSED),
        ("mean(evaluation_scores) > 0.75 and std(evaluation_scores) < 0.2", UNDECIDED),
        ("mean(evaluation_scores) > 0.85 and std(evaluation_scores) < 0.2", FAILED),
        ("mean(evaluation_scores) > 0.75 or std(evaluation_scores) < 0.2", PASSED),
        ("not mean(evaluation_scores) > 0.85", PASSED),
        ("not std(evaluation_scores) < 0.2", UNDECIDED),
        ("median(latency) < 0.5", UNDECIDED),
        ("percentile(latency, 95) < 0.5", UNDECIDED),  # nothing is known of it yet
    ],
)
def test_the_verdict_follows_from_the_intervals(text: str, verdict: Verdict) -> None:
    [found] = findings(KNOWN, text)
    assert found.verdict is verdict
    assert found.text == text


def test_a_compound_assertion_shows_its_parts() -> None:
    [found] = findings(
        KNOWN, "mean(evaluation_scores) > 0.75 and not (std(evaluation_scores) > 0.15 or accuracy > 2 * 0.4)"
    )
    left, right = found.parts
    assert left.text == "mean(evaluation_scores) > 0.75" and left.value == 0.8
    assert right.text == "not (std(evaluation_scores) > 0.15 or accuracy > 2 * 0.4)"


def test_the_error_is_shared_among_the_statistics_of_a_test_each_counted_once() -> None:
    assert claims("mean(cost) < 1").each == 0.05
    assert claims("mean(cost) < 1", "mean( cost ) > 0.1").each == 0.05
    assert claims("mean(cost) < 1 and std(cost) < 2", "accuracy > 0.9").each == pytest.approx(0.05 / 3)
    assert claims("mean(cost) < 1", "min(cost) > 0", "count() > 5").each == 0.05  # of the sample itself


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mean(cost) == 1", "no sample shows that an estimate is `==`"),
        ("mean(cost) < 1 and not mean(latency) != 2", "column 38"),
        ("true", "nothing is compared here"),
    ],
)
def test_what_no_sample_can_decide_is_refused_with_its_column(text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        claims(text)


def test_what_was_known_at_an_earlier_look_stays_known() -> None:
    both = claims("mean(evaluation_scores) > 0.75")
    seen = iter([(0.8, 0.76, 0.9), (0.77, 0.7, 0.85), (0.2, 0.1, 0.3)])

    def estimator(*_: object) -> Estimate:
        value, low, high = next(seen)
        return Estimate(value=value, low=low, high=high, method="m")

    assert both.look(estimator, LAST)[0].verdict is PASSED
    second = both.look(estimator, LAST)[0]
    assert second.verdict is PASSED and second.interval is not None
    assert (second.interval.low, second.interval.high) == (0.76, 0.85)
    assert (
        both.look(estimator, LAST)[0].verdict is PASSED
    )  # one of them was wrong, and the first one had its say


def test_how_many_it_would_take() -> None:
    # half as far again from the bound as the interval is wide: (0.02 / 0.01)^2 times as many
    [found] = findings(KNOWN, "mean(evaluation_scores) > 0.79")
    assert found.needed == 400
    [found] = findings(KNOWN, "mean(evaluation_scores) > 0.8")
    assert found.needed is None and "at the bound" in found.reason
    assert needed_for(Range(0.5, 0.1, 0.9), Range(0.499999, 0.499999, 0.499999), 10) is None
    assert needed_for(Range(0.5, 0.2, 0.6), Range(0.1, 0.1, 0.4), 100) == 230


def test_how_many_it_would_take_for_a_fraction_is_exact() -> None:
    # none in n: 1 - (alpha/2)^(1/n) < 0.05 from n = 72 on
    assert needed_for_fraction(0.0, 0.05, 0.05) in (72, 73)
    assert needed_for_fraction(0.5, 0.5, 0.05) is None


def test_logic_with_what_is_not_known() -> None:
    assert together("and", [PASSED, UNDECIDED]) is UNDECIDED
    assert together("and", [FAILED, UNDECIDED]) is FAILED
    assert together("or", [FAILED, UNDECIDED]) is UNDECIDED
    assert together("or", [PASSED, UNDECIDED]) is PASSED
    assert together("or", [FAILED, FAILED]) is FAILED


def test_nothing_follows_from_a_division_by_what_may_be_zero() -> None:
    assert Range(1, 1, 1).combined("/", Range(0.1, -0.1, 0.3)) is None
    assert Range(1, 1, 1).combined("/", Range(0.5, 0.25, 1)) == Range(2, 1, 4)
    wide = Range(0.0, 0.0, float("inf"))
    assert wide.combined("*", Range(0.0, 0.0, 0.0)) == Range(0, 0, 0)
    assert compare("<", Range(0.0, 0.0, 0.0), wide) is UNDECIDED


def test_looks_grow_to_all_records_and_spend_no_more_than_there_is() -> None:
    for planned in (1, 24, 25, 60, 100, 1_000, 12_345):
        plan = looks(planned)
        sizes = [look.n for look in plan]
        assert sizes == sorted(set(sizes)) and sizes[-1] == planned and plan[-1].last
        spent = [s for s in (look.spent(0.05) for look in plan) if s is not None]
        assert sum(spent) <= 0.05 + 1e-12
        assert plan[0].early(0.05) + plan[-1].final(0.05) == pytest.approx(0.05)
    assert [look.n for look in looks(1_000) if look.spends] == [125, 250, 500]
