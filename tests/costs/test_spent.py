from __future__ import annotations

from loom_dagster.costs import fields_for, spent_by
from loom_dagster.ledger.books import BookRow
from loom_dagster.ledger.spend import Entry


def row(day="2026-11-21", purpose="transform", prompt="p@v1", spent=10**12, model="m", **numbers):
    return BookRow(day, "reviews", purpose, model, prompt, "run1", Entry(spent=spent, calls=1, **numbers))


def shown(rows, *by):
    return [(s.by, round(s.cost, 9)) for s in spent_by(rows, by)]


def test_days_become_weeks_that_begin_on_monday_and_months():
    rows = [row("2026-11-15"), row("2026-11-16"), row("2026-11-22"), row("2026-12-01")]
    assert shown(rows, "week") == [(("2026-11-09",), 1.0), (("2026-11-16",), 2.0), (("2026-11-30",), 1.0)]
    assert shown(rows, "month") == [(("2026-11",), 3.0), (("2026-12",), 1.0)]


def test_stages_gather_repairs_and_judges_and_what_is_not_known_says_so():
    rows = [
        row(), row(purpose="repair"), row(purpose="evaluate:tone", prompt=""),
        row(purpose="evaluate:tone:repair", prompt=""), row(purpose="", prompt="", model="", spent=5),
    ]  # fmt: skip
    assert dict(shown(rows, "stage")) == {("transform",): 2.0, ("evaluate",): 2.0, ("not known",): 0.0}
    assert dict(shown(rows, "prompt")) == {("p@v1",): 2.0, ("evaluate:tone",): 2.0, ("not known",): 0.0}
    assert fields_for(["prompt", "week"]) == ["day", "prompt", "purpose"]


def test_in_time_and_then_the_dearest_first():
    rows = [
        row("2026-11-22", model="b"),
        row("2026-11-21", model="a"),
        row("2026-11-21", model="c", spent=2 * 10**12),
    ]
    found = [by for by, _ in shown(rows, "model", "day")]
    assert found == [("c", "2026-11-21"), ("a", "2026-11-21"), ("b", "2026-11-22")]


def test_a_million_picodollars_are_not_rounded_away():
    [total] = spent_by([row(spent=1)] * 1_000, [])
    assert total.cost == 1e-9
    assert total.calls == 1_000
