"""Prompt tests spend without a run: in the books, within the budgets, and in nobody's way."""

from __future__ import annotations

import pytest

from loom_dagster.errors import OverBudget
from loom_dagster.ledger import Budgets, Ledger


def nothing_stored(key, since):
    return None


async def test_all_who_share_a_name_share_the_budget(path, clock):
    with Ledger(path, clock=clock) as one, Ledger(path, clock=clock) as other:
        first, second = one.trying.handle("reviews", "abc"), other.trying.handle("tickets", "abc")
        assert first.run_id == second.run_id
        budgets = Budgets(run=1.0)
        with (
            one.spend(first, budgets, nothing_stored) as spend,
            other.spend(second, budgets, nothing_stored) as more,
        ):
            spend.settle(await spend.reserve(b"a" * 32, 0.6), 0.6)
            spend.settle(await spend.reserve(b"b" * 32, 0.1), 0.1)  # the first is in the ledger by now
            with pytest.raises(OverBudget):
                await more.reserve(b"c" * 32, 0.6)
        alone = one.trying.handle("reviews")
        assert alone.run_id != first.run_id
        with one.spend(alone, budgets, nothing_stored) as spend:
            assert await spend.reserve(b"d" * 32, 0.9)


async def test_it_counts_for_the_month_and_is_no_run(ledger):
    handle = ledger.trying.handle("reviews")
    with ledger.spend(handle, Budgets(month=1.0), nothing_stored) as spend:
        spend.settle(await spend.reserve(b"a" * 32, 0.9), 0.9)
    assert ledger.runs() == ledger.runs("reviews") == []
    assert ledger.history.runs("reviews", trials=True) == []
    running = ledger.begin_run("reviews", "", "f")  # nobody holds a lease
    with (
        ledger.spend(running, Budgets(month=1.0), nothing_stored) as spend,
        pytest.raises(OverBudget, match="a month"),
    ):
        await spend.reserve(b"b" * 32, 0.2)
    [row] = ledger.books.rows(["pipeline"])
    assert (row.pipeline, row.entry.spent) == ("reviews", 900_000_000_000)
