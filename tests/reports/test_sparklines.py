from __future__ import annotations

import math

from loom_dagster.reports import sparkline


def test_the_lowest_is_low_and_the_highest_high():
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert sparkline([8, 1]) == "█▁"


def test_equal_values_lie_in_the_middle():
    assert sparkline([0.3, 0.3, 0.1 + 0.2]) == "▅▅▅"


def test_what_is_not_known_is_a_blank():
    assert sparkline([1, None, math.nan, 2]) == "▁  █"
    assert sparkline([None, None]) == ""
    assert sparkline([]) == ""


def test_the_ends_of_the_scale_can_be_given():
    assert sparkline([0.9, 1.0], low=0.0, high=1.0) == "██"
    assert sparkline([-5, 5], low=0.0, high=1.0) == "▁█"


def test_ascii_will_do():
    assert sparkline([1, 2, 3], unicode=False).isascii()
