"""Whether a difference between two runs is more than chance."""

from __future__ import annotations

import random
from statistics import fmean, pstdev

import pytest

from loom_dagster.reports.difference import of_means, of_shares


def test_the_example_of_newcombes_paper():
    found = of_shares(56, 70, 48, 80)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))
    assert found.real


def test_shares_at_the_ends_have_an_interval_too():
    found = of_shares(10, 10, 0, 10)
    assert found.value == 1.0 and 0 < found.low < 1 and found.high == 1.0
    assert of_shares(0, 10, 0, 10).low < 0 < of_shares(0, 10, 0, 10).high
    assert of_shares(0, 0, 1, 2) is None


def test_welchs_interval_by_the_textbook():
    # two samples of unequal variance: t(0.975, 7.03 -> 7) = 2.3646
    a, b = [20.0, 22.0, 19.0, 20.0, 22.0, 18.0], [17.0, 30.0, 24.0, 12.0, 27.0, 22.0]
    found = of_means(fmean(a), pstdev(a), 6, fmean(b), pstdev(b), 6)
    variances = [sum((x - fmean(s)) ** 2 for x in s) / 5 / 6 for s in (a, b)]
    df = sum(variances) ** 2 / sum(v**2 / 5 for v in variances)
    quantiles = {5: 2.5706, 6: 2.4469, 7: 2.3646}
    reach = quantiles[int(df)] * sum(variances) ** 0.5
    assert found.high - found.value == pytest.approx(reach, rel=1e-4)
    assert not found.real


def test_runs_that_do_not_scatter_differ_exactly():
    found = of_means(0.9, 0.0, 50, 0.8, 0.0, 50)
    assert found.low == found.value == found.high and found.real
    assert not of_means(0.8, 0.0, 50, 0.8, 0.0, 50).real
    assert of_means(0.8, 0.0, 1, 0.8, 0.0, 50) is None


@pytest.mark.parametrize("size", [15, 150])
def test_about_one_in_twenty_pairs_of_equal_runs_looks_different(size):
    luck = random.Random(11)
    alarms = {"means": 0, "shares": 0}
    for _ in range(1000):
        one, other = ([luck.betavariate(5, 2) for _ in range(size)] for _ in range(2))
        alarms["means"] += of_means(fmean(one), pstdev(one), size, fmean(other), pstdev(other), size).real
        passed = [sum(value > 0.6 for value in run) for run in (one, other)]
        alarms["shares"] += of_shares(passed[0], size, passed[1], size).real
    assert all(number <= 70 for number in alarms.values()), alarms
    assert all(number >= 15 for number in alarms.values()), alarms
