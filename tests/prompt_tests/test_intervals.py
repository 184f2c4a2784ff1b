"""Intervals: the values of their sources, and how often they hold what they claim to."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from loom_dagster.monitors.student import t_quantile as finite_sums
from loom_dagster.prompt_tests.agreement import Confusion, agreement_interval, confusion, kappa, macro_f1
from loom_dagster.prompt_tests.beta import beta_cdf, beta_quantile, binomial_tail, t_quantile
from loom_dagster.prompt_tests.betting import bounded_mean, bounded_std
from loom_dagster.prompt_tests.intervals import (
    fraction,
    mixture,
    percentile,
    percentile_anytime,
    unbounded_mean,
    unbounded_std,
)
from tests.prompt_tests import simulation as sim


@pytest.mark.parametrize(("k", "n", "p"), [(3, 10, 0.2), (0, 5, 0.4), (6, 5, 0.4), (950, 1_000, 0.94)])
def test_a_binomial_tail_is_the_sum_that_it_stands_for(k: int, n: int, p: float) -> None:
    exact = math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
    assert binomial_tail(k, n, p) == pytest.approx(exact, rel=1e-11)


def test_quantiles_of_beta_and_t() -> None:
    assert beta_quantile(0.975, 1, 1_000) == pytest.approx(1 - 0.025**0.001, rel=1e-10)
    assert beta_cdf(0.3, 2.5, 7.0) == pytest.approx(1 - beta_cdf(0.7, 7.0, 2.5), rel=1e-12)
    for df in (1, 2, 7, 30, 999):
        assert t_quantile(0.975, df) == pytest.approx(finite_sums(0.975, df), rel=1e-8)
    assert t_quantile(0.975, 10**7) == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-5)


def test_clopper_and_pearson() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 5
    assert fraction(81, 263, 0.05) == pytest.approx((0.2527, 0.3676), abs=1e-4)
    assert fraction(15, 148, 0.05) == pytest.approx((0.0578, 0.1617), abs=1e-4)
    assert fraction(0, 20, 0.05) == pytest.approx((0.0, 0.1684), abs=1e-4)
    assert fraction(1, 29, 0.05) == pytest.approx((0.0009, 0.1776), abs=1e-4)


@pytest.mark.parametrize("n", [5, 30, 200])
def test_a_fraction_is_in_its_interval_at_least_as_often_as_it_claims(n: int) -> None:
    """Exactly, by summing over all counts, for a thousand fractions."""
    ends = [fraction(k, n, 0.05) for k in range(n + 1)]
    for p in np.linspace(0.001, 0.999, 999):
        held = math.fsum(
            math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p))
            for k, (low, high) in enumerate(ends)
            if low <= p <= high
        )  # fmt: skip
        assert held >= 0.95 - 1e-12


@pytest.mark.parametrize("p", [0.02, 0.5, 0.95])
def test_the_mixture_is_a_fair_bet(p: float) -> None:
    """Exactly 1 is expected of it under p, and less under less: no chance is given away, and none is taken."""

    def expected(truth: float, n: int = 40) -> float:
        chances = (math.comb(n, k) * truth**k * (1 - truth) ** (n - k) for k in range(n + 1))
        return math.fsum(c * math.exp(mixture(k, n, p)) for k, c in enumerate(chances))

    assert expected(p) == pytest.approx(1.0, rel=1e-9)
    assert expected(0.8 * p) < 1.0


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.9])
def test_a_fraction_is_held_whenever_one_stops(share: float) -> None:
    hits = sim.generator(21).random((sim.SUITES, 300)) < share
    assert sim.missed_by_mixture(hits, share) <= 0.05


@pytest.mark.parametrize("of", sim.BOUNDED, ids=lambda of: of[0])
def test_mean_and_std_of_scores_are_held_whenever_one_stops(of: tuple) -> None:
    _, draw, mean, std = of
    values = draw(sim.generator(22), (sim.SUITES, 500))
    assert sim.missed_by_bets(values, mean) <= 0.05
    assert sim.missed_by_pairs(values, std) <= 0.05


def test_bets_that_are_asked_for_a_threshold_and_for_an_interval_say_the_same() -> None:
    for values in sim.generator(23).beta(8, 2, (10, 300)):
        low, high = bounded_mean(values, planned=300, alpha=0.05)
        assert 0.7 < low < values.mean() < high < 0.9
        below, _ = sim.mean_below(values[None], high + 0.001)
        _, above = sim.mean_below(values[None], low - 0.001)
        assert below.found == above == 1.0
        undecided = sim.mean_below(values[None], (low + high) / 2)
        assert undecided[0].found == undecided[1] == 0.0


def test_bets_know_nothing_of_no_values_and_little_of_few() -> None:
    assert bounded_mean(np.array([]), planned=10, alpha=0.05) == (0.0, 1.0)
    low, high = bounded_mean(np.ones(5), planned=5, alpha=0.05)
    assert low < 0.6 and high == 1.0
    assert bounded_std(np.array([0.3]), planned=1, alpha=0.05) == (0.0, 0.5)
    assert bounded_std(np.full(2_000, 0.3), planned=2_000, alpha=0.05)[1] < 0.06


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_percentile_is_held(share: float) -> None:
    values = sim.generator(24).lognormal(0, 1, (sim.SUITES, 200))
    truth = math.exp(NormalDist().inv_cdf(share))
    assert (
        sim.missed(lambda v: percentile(v, share, 0.05), truth, values) <= 0.05 + 0.014
    )  # two errors of the simulation
    assert sim.missed(lambda v: percentile_anytime(v, share, 0.05), truth, values) <= 0.05


def test_the_order_statistics_of_a_median() -> None:
    # David and Nagaraja, 7.1: the 2nd and the 9th of ten values hold the median with probability 0.9785
    assert percentile(np.arange(1.0, 11.0), 0.5, 0.05) == (2.0, 9.0)
    assert percentile(np.arange(1.0, 11.0), 0.95, 0.05) == (8.0, math.inf)


@pytest.mark.parametrize("n", [50, 400])
@pytest.mark.parametrize("of", sim.UNBOUNDED[:3], ids=lambda of: of[0])
def test_the_mean_of_what_has_no_bound_is_near_its_level(of: tuple, n: int) -> None:
    _, draw, mean, _ = of
    missed = sim.missed(lambda v: unbounded_mean(v, 0.05), mean, draw(sim.generator(25), (sim.SUITES, n)))
    assert missed <= 0.075


def test_nothing_is_said_of_costs_from_a_few_records() -> None:
    assert unbounded_mean(np.ones(9), 0.05) == (-math.inf, math.inf)
    assert unbounded_std(np.ones(29), 0.05) == (0.0, math.inf)
    assert unbounded_mean(np.full(50, 0.002), 0.05) == pytest.approx((0.002, 0.002))


def test_measures_of_agreement() -> None:
    # Cohen 1960: 20 + 15 of 50 agree, chance says 0.5: kappa 0.4
    found = confusion(["y"] * 25 + ["n"] * 25, ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15)
    assert float(kappa(found.counts)) == pytest.approx(0.4)
    assert float(macro_f1(found.counts)) == pytest.approx((2 * 15 / (25 + 20) + 2 * 20 / (25 + 30)) / 2)
    assert found.classes == ("n", "y")


def test_a_class_that_is_only_said_counts_against_the_classes_of_the_truth() -> None:
    found = confusion(["a", "a", "b", "b"], ["a", "odd", "b", "b"])
    assert float(macro_f1(found.counts)) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "n"), [(0.7, 200), (0.9, 60), (0.9, 500), (0.97, 300)])
def test_agreement_is_held(share: float, n: int) -> None:
    for measure in (macro_f1, kappa):
        assert sim.missed_by_agreement(measure, share, n, 250) <= 0.05 + 0.028


def test_perfect_agreement_of_a_few_is_no_certainty() -> None:
    found = Confusion(("a", "b"), np.array([[15.0, 0.0], [0.0, 5.0]]))
    low, high = agreement_interval(found, kappa, 0.05)
    assert low < 0.6 and high == 1.0
