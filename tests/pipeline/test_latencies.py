"""Percentiles in bounded memory are as good as exact ones, but for half a percent."""

from __future__ import annotations

import math
import random

import pytest

from loom_dagster.pipeline.latencies import Latencies

SHARES = (0.0, 0.5, 0.95, 0.99, 1.0)


def of(values):
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    return latencies


def test_without_any_there_is_no_percentile():
    assert Latencies().percentile(0.5) is None


@pytest.mark.parametrize("value", [0.2, 1e-4, 300.0])
def test_what_is_always_the_same_is_exact(value):
    assert {of([value] * 10).percentile(share) for share in SHARES} == {value}


@pytest.mark.parametrize("draw", [random.expovariate, lambda mean: random.lognormvariate(-2, 2)])
def test_they_are_within_half_a_percent_of_the_nearest_rank(draw):
    random.seed(7)
    values = sorted(draw(3.0) for _ in range(20_000))
    latencies = of(values)
    for share in SHARES:
        exact = values[max(0, math.ceil(share * len(values)) - 1)]
        assert latencies.percentile(share) == pytest.approx(exact, rel=0.0051, abs=1e-6)


def test_memory_does_not_grow_with_their_number():
    random.seed(7)
    latencies = of(random.expovariate(1.0) for _ in range(50_000))
    assert len(latencies._counts) < 2_000


def test_a_clock_that_was_set_back_breaks_nothing():
    assert of([-1.0, 0.0]).percentile(0.5) == pytest.approx(1e-6)
