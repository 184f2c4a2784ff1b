"""Samples: whatever the order of the rows, the same ones; and each as likely as any other."""

from __future__ import annotations

import random

from loom_dagster.prompt_tests.drawing import Row, draw

ROWS = [Row(f"R-{n}", {"n": n}) for n in range(1_000)]


def ids(rows: list[Row], size: int, seed: int = 0) -> list[str]:
    return [row.id for row in draw(rows, size, seed).rows]


def test_a_sample_is_the_same_whatever_the_order_of_the_rows() -> None:
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert ids(ROWS, 50) == ids(shuffled, 50)
    assert len(set(ids(ROWS, 50))) == 50
    assert ids(ROWS, 50) != ids(ROWS, 50, seed=1)


def test_a_smaller_sample_is_the_beginning_of_a_larger_one() -> None:
    assert ids(ROWS, 200)[:50] == ids(ROWS, 50)


def test_rows_that_come_or_go_change_little() -> None:
    before, after = set(ids(ROWS, 100)), set(ids(ROWS[100:] + [Row(f"new-{n}", {}) for n in range(10)], 100))
    assert len(before & after) > 80


def test_all_rows_where_there_are_fewer() -> None:
    drawn = draw(ROWS[:7], 100, 0)
    assert drawn.available == 7 and {row.id for row in drawn.rows} == {f"R-{n}" for n in range(7)}
    assert draw([], 5, 0).rows == []


def test_each_row_is_as_likely_as_any_other_and_the_order_is_random() -> None:
    firsts = [ids(ROWS[:10], 3, seed) for seed in range(2_000)]
    for row in ROWS[:10]:
        assert 520 < sum(row.id in found for found in firsts) < 680  # 600, four errors either way
        assert 140 < sum(row.id == found[0] for found in firsts) < 260  # 200


def test_ids_that_no_encoding_can_hold() -> None:
    assert len(draw([Row("\ud800", {}), Row("a", {})], 2, 0).rows) == 2
