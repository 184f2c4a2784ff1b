"""Which snapshots nobody reads: told by the ledger's rows alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from loom_dagster.ledger import Slot, SnapshotRow
from loom_dagster.release import unread

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def row(name, *, age, released=True, increment=False, loaded=True, released_age=None, cleaned=False):
    at = NOW - timedelta(days=age)
    return SnapshotRow(
        run_id=name,
        pipeline="p",
        partition="",
        created_at=at,
        folder=name,
        data_version="v",
        counts={},
        verdict_passed=released,
        verdict_reason="",
        released_at=(at if released_age is None else NOW - timedelta(days=released_age))
        if released
        else None,
        loaded_at=at if loaded else None,
        increment=increment,
        cleaned_at=NOW if cleaned else None,
    )


def gone(*rows, waiting=(), going_on=(), partition="", stream=False, abandoned=False):
    slot = Slot(
        partition=partition, rows=rows, waiting=frozenset(waiting), going_on=frozenset(going_on), taken=False
    )
    found = unread(slot, NOW - timedelta(days=30), stream=stream, abandoned=abandoned)
    return [row.run_id for row in found]


def test_older_ones_go_and_the_newest_released_one_stays():
    assert gone(row("c", age=40), row("b", age=50), row("a", age=60)) == ["b", "a"]
    assert gone(row("b", age=1), row("a", age=29)) == []


def test_the_newest_released_one_stays_behind_held_ones():
    held = [row("d", age=33, released=False), row("c", age=35, released=False)]
    assert gone(*held, row("b", age=40), row("a", age=50)) == ["c", "a"]


def test_a_held_one_that_waits_for_a_person_stays():
    assert gone(row("b", age=90, released=False), row("a", age=99)) == []


def test_all_that_an_increment_is_added_to_stays():
    parts = [row("d", age=40, increment=True), row("c", age=50, increment=True), row("b", age=60)]
    assert gone(*parts, row("a", age=70), row("0", age=80, increment=True)) == ["a", "0"]


def test_a_held_increment_between_them_is_part_of_nothing():
    parts = [row("d", age=40, increment=True), row("c", age=50, increment=True, released=False)]
    assert gone(*parts, row("b", age=60)) == ["c"]


def test_records_that_wait_and_runs_that_go_on_keep_theirs():
    assert gone(row("c", age=40), row("b", age=50), row("a", age=60), waiting={"a"}) == ["b"]
    assert gone(row("c", age=40), row("b", age=50), row("a", age=60), going_on={"b"}) == ["a"]


def test_of_a_stream_what_is_not_loaded_stays():
    rows = [row("c", age=40), row("b", age=50, loaded=False), row("a", age=60)]
    assert gone(*rows, stream=True) == ["a"]
    assert gone(*rows) == ["b", "a"]


def test_a_release_counts_from_the_day_of_the_release():
    assert gone(row("b", age=1), row("a", age=90, released_age=2)) == []


def test_what_is_removed_already_is_not_removed_again():
    assert gone(row("b", age=40), row("a", age=60, cleaned=True)) == []


@pytest.mark.parametrize("given", [{"abandoned": True}, {"partition": "~trial"}])
def test_trials_and_pipelines_that_are_gone_are_read_by_nobody(given):
    assert gone(row("b", age=40), row("a", age=60), **given) == ["b", "a"]
    assert gone(row("b", age=40), row("a", age=60), waiting={"b"}, **given) == ["a"]
