"""How often a true loss is found and a false one is not, over a thousand suites, early stopping included."""

from __future__ import annotations

import pytest

from tests.prompt_tests import simulation as sim


@pytest.mark.parametrize("scored", [True, False], ids=["with scores", "without evaluators"])
@pytest.mark.parametrize("same", [0.0, 0.5, 1.0], ids=lambda same: f"{same:.0%} of the luck shared")
def test_a_pass_rate_that_falls_from_95_to_90_percent_is_found(same: float, scored: bool) -> None:
    rng = sim.generator(31)
    before, after = sim.passes(rng, sim.PAIRS, 0.95, 0.90, same=same)
    found = sim.regressions(before, after, sim.scores(rng, sim.PAIRS, 0.0) if scored else None)
    assert found.found >= 0.90
    assert found.average < sim.PAIRS


def test_a_mean_score_that_falls_by_five_hundredths_is_found_soon() -> None:
    rng = sim.generator(32)
    before, after = sim.passes(rng, sim.PAIRS, 0.95, 0.95, same=0.5)
    found = sim.regressions(before, after, sim.scores(rng, sim.PAIRS, 0.05))
    assert found.found >= 0.90
    assert found.average < sim.PAIRS / 2


@pytest.mark.parametrize("scored", [True, False], ids=["with scores", "without evaluators"])
@pytest.mark.parametrize("same", [0.0, 0.5], ids=lambda same: f"{same:.0%} of the luck shared")
def test_no_loss_is_called_one_in_one_of_twenty_suites_at_most(same: float, scored: bool) -> None:
    rng = sim.generator(33)
    before, after = sim.passes(rng, sim.PAIRS, 0.95, 0.95, same=same)
    found = sim.regressions(before, after, sim.scores(rng, sim.PAIRS, 0.0) if scored else None)
    assert found.found <= 0.05


def test_few_pairs_raise_no_more_false_alarms() -> None:
    rng = sim.generator(34)
    before, after = sim.passes(rng, 40, 0.8, 0.8, same=0.0)
    assert sim.regressions(before, after, sim.scores(rng, 40, 0.0)).found <= 0.05


def test_an_assertion_about_a_mean_score() -> None:
    rng, shape = sim.generator(35), (sim.SUITES, 500)
    fails, passes = sim.mean_below(rng.beta(15, 5, shape), 0.80)  # the truth: 0.75
    assert fails.found >= 0.90 and passes == 0.0 and fails.average < 250
    fails, passes = sim.mean_below(rng.beta(17, 3, shape), 0.80)  # 0.85
    assert passes >= 0.90 and fails.found == 0.0
    fails, passes = sim.mean_below(rng.beta(16, 4, shape), 0.80)  # at the bound: neither may be said
    assert fails.found + passes <= 0.05


def test_an_assertion_about_a_fraction() -> None:
    rng, shape = sim.generator(36), (sim.SUITES, 500)
    fails, passes = sim.fraction_below(rng.random(shape) < 0.90, 0.95)
    assert fails.found >= 0.90 and passes == 0.0 and fails.average < 500
    fails, passes = sim.fraction_below(rng.random(shape) < 0.98, 0.95)
    assert passes >= 0.90 and fails.found == 0.0
    fails, passes = sim.fraction_below(rng.random(shape) < 0.95, 0.95)
    assert fails.found + passes <= 0.05
