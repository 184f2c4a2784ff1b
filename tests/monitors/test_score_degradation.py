from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean

import pytest

from loom_dagster.monitors import Facts, Scores, judge
from loom_dagster.spec.models import Monitoring


def degraded(run: Facts, history: list[Facts], spec: object = True):
    [result] = judge(Monitoring.model_validate({"score_degradation": spec}), run, history)
    return result


def test_a_drop_beyond_chance_fails_and_says_against_what(run):
    history = [run(m) for m in (0.80, 0.81, 0.79, 0.82, 0.80, 0.78)]
    assert degraded(run(0.79), history).passed
    found = degraded(run(0.70), history)
    assert (found.passed, found.value, found.runs) == (False, 0.70, 6)
    assert 0.70 < found.threshold < 0.78
    assert found.reason == "quality: mean 0.7 < 0.749; the 6 runs before had 0.8"


def test_better_is_never_worse(run):
    assert degraded(run(0.99), [run(0.5)] * 20).passed


def test_runs_that_differ_much_from_each_other_make_it_less_sure(run):
    steady = [run(m) for m in (0.80, 0.81, 0.79, 0.80, 0.80)]
    shaky = [run(m) for m in (0.90, 0.70, 0.85, 0.75, 0.80)]
    assert not degraded(run(0.70), steady).passed
    assert degraded(run(0.70), shaky).passed


def test_a_difference_that_matters_to_nobody_is_none_however_many_records_show_it(run):
    history = [run(0.80, n=1_000_000, std=0.1)] * 20
    assert degraded(run(0.799, n=1_000_000, std=0.1), history).passed
    assert not degraded(run(0.799, n=1_000_000, std=0.1), history, {"min_drop": 0.0005}).passed
    assert not degraded(run(0.779, n=1_000_000, std=0.1), history).passed


def test_five_records_are_not_enough(run):
    found = degraded(run(0.10, n=5), [run(0.80)] * 20)
    assert found.passed
    assert found.reason == "quality: too few scores to compare, 5 of 10"
    assert not degraded(run(0.10, n=5), [run(0.80)] * 20, {"min_records": 5}).passed


def test_small_runs_are_no_history_either(run):
    found = degraded(run(0.10), [*[run(0.8, n=5)] * 20, *[run(0.8)] * 4])
    assert found.passed
    assert found.reason == "quality: not enough history, 4 of 5 runs"


def test_a_small_run_whose_scores_happen_to_be_equal_is_not_sure_of_itself(run):
    history = [run(m, n=10, std=0.3) for m in (0.80, 0.81, 0.79, 0.80, 0.80)]
    assert degraded(run(0.60, n=10, std=0.0), history).passed


def test_the_same_records_with_the_same_answers_are_one_run_however_often_they_are_run(run):
    again = [replace(run(0.8), data_version="same")] * 20
    found = degraded(run(0.6), again)
    assert found.passed
    assert "not enough history, 1 of 5 runs" in found.reason
    others = [replace(run(0.8), data_version=f"v{i}") for i in range(4)]
    assert not degraded(run(0.6), [*again, *others]).passed


def test_a_floor_needs_no_history(run):
    assert degraded(run(0.70), [], 0.7).passed
    found = degraded(run(0.69), [], 0.7)
    assert (found.passed, found.value, found.threshold) == (False, 0.69, 0.7)
    assert found.reason == "quality: mean 0.69 < 0.7"


def test_every_evaluator_is_looked_at_or_the_one_that_is_named(run):
    history = [run({"a": 0.8, "b": 0.9})] * 6
    now = run({"a": 0.8, "b": 0.6})
    found = degraded(now, history)
    assert (found.passed, found.value) == (False, 0.6)
    assert found.reason.startswith("b: mean 0.6 <")
    assert "a:" not in found.reason
    assert degraded(now, history, {"evaluator": "a"}).passed


def test_an_evaluator_of_another_type_has_no_history_under_that_name(run):
    found = degraded(run(0.5, kind="custom_criteria"), [run(0.9)] * 10)
    assert found.passed
    assert "not enough history, 0 of 5 runs" in found.reason


def test_a_drop_that_lasts_alarms_until_the_runs_before_it_have_left_the_window(run):
    history, alarms = [run(m) for m in (0.80, 0.81, 0.79, 0.82) * 5], 0
    while not degraded(run(0.6), history).passed:
        history.insert(0, run(0.6, failed=("score_degradation",)))
        alarms += 1
    assert alarms == 16


# --- how often it is wrong, and how often it is right: the numbers of docs/monitors.md


def sample(rng: random.Random, mean: float, n: int, *, between: float, binary: bool) -> Scores:
    centre = min(max(rng.gauss(mean, between), 0.0), 1.0)
    if binary:
        values = [float(rng.random() < centre) for _ in range(n)]
    else:
        values = [min(max(rng.gauss(centre, 0.15), 0.0), 1.0) for _ in range(n)]
    mean = fmean(values)
    std = fmean((v - mean) ** 2 for v in values) ** 0.5
    return Scores(type="t", n=n, errors=0, mean=mean, std=std)


def alarms(*, runs: int, n: int, drop: float, between: float = 0.03, binary: bool = False) -> float:
    """The share of pipelines that alarm. Scores lie around 0.8 with a standard deviation of 0.15 (``binary``: 0 or 1)."""
    rng, trials, found = random.Random(5), 400, 0
    for _ in range(trials):
        history = [
            Facts(scores={"e": sample(rng, 0.8, n, between=between, binary=binary)}) for _ in range(runs)
        ]
        now = Facts(scores={"e": sample(rng, 0.8 - drop, n, between=between, binary=binary)})
        found += not degraded(now, history, {"min_drop": 1e-9}).passed
    return found / trials


@pytest.mark.slow
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("between", [0.0, 0.03])
@pytest.mark.parametrize("runs", [5, 20])
def test_of_a_hundred_good_runs_one_is_alarmed_for_at_most(runs, between, binary):
    assert alarms(runs=runs, n=60, drop=0.0, between=between, binary=binary) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "drop", "least"), [(5, 0.2, 0.8), (20, 0.1, 0.5), (20, 0.2, 0.99)])
def test_drops_that_matter_are_seen(runs, drop, least):
    assert alarms(runs=runs, n=60, drop=drop) >= least
