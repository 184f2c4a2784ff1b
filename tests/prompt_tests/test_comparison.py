"""Two versions on the same inputs: who changed, whether one is worse, and what would have been seen."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.prompt_tests.compared_words import changed_words, compared_document, compared_words
from loom_dagster.prompt_tests.drawing import Row
from loom_dagster.prompt_tests.pairs import flip_p_values, mcnemar_p_value
from loom_dagster.prompt_tests.regression import Sides, compare, recorded, run_regression
from loom_dagster.prompt_tests.verdicts import Change, Compared, Comparison, Side
from tests.prompt_tests import simulation as sim

WORSE, BETTER, SAME = Comparison.WORSE, Comparison.BETTER, Comparison.SAME


def side(passed: bool, score: float | None = None) -> Side:
    return Side(
        passed=passed,
        score=score,
        output={"team": "a" if passed else "b"},
        reason="" if passed else "not a",
        cost=0.001,
    )


def changes(worse: int = 0, better: int = 0, both: int = 0) -> list[Change]:
    pairs = [(True, False)] * worse + [(False, True)] * better + [(True, True)] * both
    return [Change(case=f"c{i}", before=side(b), after=side(a)) for i, (b, a) in enumerate(pairs)]


def compared(*pairs: Change, **more: int) -> Compared:
    return compare(pairs or changes(**more), baseline="HEAD")


def test_mcnemar_is_the_tail_of_a_fair_coin() -> None:
    assert mcnemar_p_value(5, 0) == pytest.approx(1 / 32)
    assert mcnemar_p_value(8, 2) == pytest.approx(56 / 1_024)
    assert mcnemar_p_value(0, 0) == 1.0


def test_swaps_of_few_pairs_are_all_tried() -> None:
    low, high = flip_p_values(np.array([-0.1, -0.2, -0.3, 0.0]))
    assert float(low) == pytest.approx(1 / 8) and float(high) == 1.0


@pytest.mark.parametrize("n", [30, 900, 3_000])
def test_swaps_of_many_pairs_come_near_the_normal_limit(n: int) -> None:
    gains = np.random.default_rng(1).normal(-0.01, 0.1, n)
    z = gains.sum() / np.sqrt((gains**2).sum())
    low, high = flip_p_values(gains)
    expected = 0.5 * (1 + np.vectorize(__import__("math").erf)(z / np.sqrt(2)))
    assert float(low) == pytest.approx(float(expected), abs=0.02)
    assert float(low) + float(high) == pytest.approx(1.0, abs=0.01)


def test_one_flaky_case_is_no_regression_and_is_shown_all_the_same() -> None:
    found = compared(worse=1, both=49)
    assert found.verdict is SAME and found.passed
    assert [c.case for c in found.worse] == ["c0"] and found.better == []


def test_many_losses_are_one_and_many_gains_are_none() -> None:
    assert compared(worse=10, better=1, both=89).verdict is WORSE
    assert compared(worse=1, better=10, both=89).verdict is BETTER
    assert compared(worse=10, better=10, both=80).verdict is SAME
    assert not compared(worse=10, both=10).passed


def test_scores_show_a_loss_that_no_gate_shows() -> None:
    luck = random.Random(3)
    pairs = []
    for i in range(60):
        score = luck.uniform(0.8, 0.9)
        pairs.append(
            Change(case=str(i), before=side(True, score), after=side(True, score - luck.uniform(0, 0.04)))
        )
    found = compared(*pairs)
    assert found.verdict is WORSE
    assert [test.verdict for test in found.tests] == [SAME, WORSE]


def test_an_output_that_could_not_be_judged_scores_nothing() -> None:
    change = Change(case="c", before=side(True, 0.9), after=Side(passed=False))
    assert change.gain == -0.9


def test_what_would_have_been_seen() -> None:
    passed, *_ = compared(both=200).tests
    assert passed.detectable == pytest.approx(0.039, abs=0.002)  # 5 of 200 worse, 9 times in 10
    assert compared(both=4).tests[0].detectable is None
    wide = compared(worse=30, better=30, both=140).tests[0]
    assert wide.detectable is not None and wide.detectable > 0.1
    words = list(compared_words(compared(both=4)))
    assert words[-1] == "4 pairs are too few to show any loss"


def test_a_loss_as_large_as_said_is_seen_nine_times_in_ten() -> None:
    rng = sim.generator(41)
    passed = compared(both=300).tests[0]
    assert passed.detectable is not None
    before = np.ones((300, sim.SUITES), bool)
    found = sim.regressions(before, rng.random(before.shape) >= passed.detectable, None)
    assert found.found >= 0.88


def test_nothing_in_common_is_an_error_with_a_fix() -> None:
    with pytest.raises(Misconfigured, match="none of these inputs"):
        compare([], baseline="run 3", missing=5)


def versions(loss: float, n: int) -> tuple[list[Row], Sides, Sides]:
    def of(loss: float) -> Sides:
        async def said(row: Row, sample: int) -> Side:
            await asyncio.sleep(0)
            luck = random.Random(f"{row.id}-{sample}").random()
            return side(luck >= 0.05 + loss, 0.9 - loss)

        return said

    return [Row(str(i), {}) for i in range(n)], of(0.0), of(loss)


def test_a_large_loss_is_certain_early() -> None:
    rows, before, after = versions(0.3, 800)
    found = asyncio.run(run_regression(rows, before, after, baseline="HEAD"))
    assert found.verdict is WORSE and found.certain and len(found.changes) < 200
    assert found.saved == pytest.approx(0.002 * (800 - len(found.changes)))
    assert found.stopped.startswith(f"stopped after {len(found.changes)} of 800, saved about $1.")


def test_repeats_are_pairs_and_all_are_asked_where_each_counts() -> None:
    rows, before, after = versions(0.3, 100)
    found = asyncio.run(
        run_regression(rows, before, after, baseline="HEAD", repeats=lambda row: 3, early=False)
    )
    assert len(found.changes) == 300 and not found.certain and found.verdict is WORSE
    assert {c.sample for c in found.changes} == {0, 1, 2}


def test_the_same_version_is_never_worse() -> None:
    rows, before, after = versions(0.0, 400)
    found = asyncio.run(run_regression(rows, before, after, baseline="HEAD"))
    assert found.verdict is SAME and len(found.changes) == 400 and found.worse == []


def test_records_that_a_run_does_not_have_are_left_out_and_counted() -> None:
    rows, _, after = versions(0.0, 100)
    before = recorded({str(i): side(True, 0.9) for i in range(60)})
    found = asyncio.run(run_regression(rows, before, after, baseline="run 1"))
    assert len(found.changes) == 60 and found.missing == 40
    assert "40 left out: the baseline does not have them" in list(compared_words(found))


def test_in_words_several_pairs_of_a_case_stand_together() -> None:
    twice = [
        Change(case="refund", before=side(True, 0.9), after=side(False, 0.2), sample=n) for n in range(2)
    ]
    [(name, lines)] = list(changed_words(twice))
    assert name == "refund (2 times)"
    assert lines == ['before: {"team":"a"} (score 0.90)', 'now:    {"team":"b"} (score 0.20): not a']
    many = list(changed_words(changes(worse=12)))
    assert many[-1] == ("and 2 more: `--json` has them all", [])
    document = compared_document(compare(twice, baseline="HEAD"))
    assert (
        document["worse"][0]["after"]["output"] == {"team": "b"}
        and document["verdict"] == "no difference shown"
    )
