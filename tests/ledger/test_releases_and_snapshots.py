"""Which snapshot is the newest, which is released, and what a human may release."""

from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured


def test_nothing_is_released_before_something_is(ledger, finished):
    assert ledger.latest_snapshot("reviews") is None
    run = finished("held", released=False)
    assert ledger.latest_snapshot("reviews").run_id == run.run_id
    assert ledger.released_snapshot("reviews") is None


def test_a_held_snapshot_does_not_hide_the_released_one(ledger, finished):
    good, bad = finished(), finished("held", released=False)
    assert ledger.released_snapshot("reviews").run_id == good.run_id
    assert ledger.latest_snapshot("reviews").run_id == bad.run_id
    assert [s.run_id for s in ledger.snapshots("reviews")] == [bad.run_id, good.run_id]


def test_a_human_releases_the_newest_and_it_is_kept_who_and_why(ledger, finished, clock):
    finished()
    held = finished("held", released=False)
    clock.move(100)
    snapshot = ledger.release("reviews", who="ada", why="checked by hand")
    assert (snapshot.run_id, snapshot.released_by, snapshot.why) == (held.run_id, "ada", "checked by hand")
    assert snapshot.released_at == clock.now()
    assert ledger.released_snapshot("reviews") == snapshot
    assert snapshot.outcome == {"status": "held"}
    assert snapshot.fingerprint == "f"


def test_an_older_held_one_cannot_be_released_any_more(ledger, finished):
    finished("held", released=False)
    finished()
    with pytest.raises(Misconfigured, match=r"nothing of reviews is held.*older ones are superseded"):
        ledger.release("reviews", who="ada", why="late")


def test_without_a_snapshot_there_is_nothing_to_release(ledger):
    with pytest.raises(Misconfigured, match="nothing of reviews can be released"):
        ledger.release("reviews", who="ada", why="hope")


def test_a_release_waits_for_a_run_that_may_replace_what_it_releases(ledger, finished):
    finished("deferred", released=False)
    going_on = ledger.begin_run("reviews", "", "f")
    with pytest.raises(Misconfigured, match="another run of reviews is going on"):
        ledger.release("reviews", who="ada", why="now")
    ledger.leave_run(going_on)
    ledger.release("reviews", who="ada", why="now")


def test_a_released_deferred_run_has_ended_so_that_nothing_changes_what_was_released(ledger, finished):
    run = finished("deferred", released=False)
    ledger.release("reviews", who="ada", why="the rest can wait")
    assert ledger.run(run.run_id).status == "held"
    assert not ledger.begin_run("reviews", "", "f").resumed


def test_a_continued_run_replaces_its_own_snapshot(ledger, finished, snapshot_of):
    finished("deferred", released=False)
    run = ledger.begin_run("reviews", "", "f")
    ledger.finish_run(run, "succeeded", outcome={}, snapshot=snapshot_of(run, folder="second"))
    [snapshot] = ledger.snapshots("reviews")
    assert (snapshot.folder, snapshot.released_by) == ("second", "gate")


def test_partitions_have_their_own(ledger, finished):
    one = finished(partition="2026-01-01")
    two = finished("held", partition="2026-01-02", released=False)
    assert ledger.released_snapshot("reviews") is None
    assert ledger.released_snapshot("reviews", "2026-01-01").run_id == one.run_id
    assert ledger.released_snapshot("reviews", "2026-01-02") is None
    assert {s.run_id for s in ledger.snapshots("reviews")} == {one.run_id, two.run_id}
    with pytest.raises(Misconfigured, match="reviews, partition 2026-01-01 is held"):
        ledger.release("reviews", "2026-01-01", who="ada", why="x")
