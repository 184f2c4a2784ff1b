"""What the ledger lets go of old runs, and what it never does."""

from __future__ import annotations

import pytest

from loom_dagster.ledger import Deed, IndexRow


def everything(slot):
    return [row.run_id for row in slot.rows if row.cleaned_at is None]


def deed(ids):
    return Deed(action="clean", who="ada", subject="snapshots", detail={"snapshots": len(ids)})


@pytest.fixture
def held(finished):
    rows = [IndexRow(record_id=f"r{i}", stage="evaluate", kind="gate", reason="poor") for i in range(3)]
    return finished("held", released=False, quarantine_rows=rows)


def test_what_is_marked_says_when_and_the_deed_is_kept_with_it(ledger, finished, clock):
    first, second = finished(), finished()
    assert sorted(ledger.retention.mark("reviews", everything, deed)) == sorted([first.run_id, second.run_id])
    assert {row.cleaned_at for row in ledger.snapshots("reviews")} == {clock.now()}
    assert [entry.detail for entry in ledger.audit.entries()] == [{"snapshots": 2}]
    assert ledger.retention.mark("reviews", everything, deed) == []
    assert len(ledger.audit.entries()) == 1


def test_a_partition_in_which_a_run_is_going_on_is_left_alone(ledger, finished):
    finished(partition="a")
    other = finished(partition="b")
    going_on = ledger.begin_run("reviews", "a", "g")
    assert ledger.retention.alive() == {"reviews"}
    assert ledger.retention.mark("reviews", everything, deed) == [other.run_id]
    assert {slot.partition: slot.taken for slot in ledger.retention.slots("reviews")} == {
        "a": True,
        "b": False,
    }
    assert going_on.run_id in ledger.retention.slots("reviews")[0].going_on


def test_nothing_is_marked_while_a_reader_runs(ledger, finished):
    finished()
    ledger.begin_run("below", "", "f")
    assert ledger.retention.mark("reviews", everything, deed, readers=["below"]) == []
    assert ledger.audit.entries() == []


def test_runs_that_have_not_ended_and_records_that_wait_are_told(ledger, held):
    run = ledger.begin_run("reviews", "", "g")
    ledger.leave_run(run)
    [slot] = ledger.retention.slots("reviews")
    assert (slot.waiting, slot.going_on) == ({held.run_id}, {run.run_id})
    assert [r.run_id for r in ledger.retention.open_runs()] == [run.run_id]
    assert ledger.retention.pipelines() == ["reviews"]


def test_samples_go_and_the_rest_of_an_outcome_stays(ledger, clock):
    run = ledger.begin_run("reviews", "", "f")
    outcome = {"sample": [{"text": "x" * 100}], "quarantine_sample": [], "counts": {"passed": 1}}
    ledger.finish_run(run, "succeeded", outcome=outcome)
    assert ledger.retention.samples(["reviews"], clock.now())[0] == 0
    clock.move(10)
    number, size = ledger.retention.samples(["reviews"], clock.now())
    assert (number, 100 < size < 150) == (1, True)
    assert ledger.retention.trim(["other"], clock.now()) == 0
    assert ledger.retention.trim(["reviews"], clock.now()) == 1
    assert ledger.run(run.run_id).outcome == {"sample": [], "quarantine_sample": [], "counts": {"passed": 1}}
    assert ledger.retention.trim(["reviews"], clock.now()) == 0


def test_the_samples_of_a_run_that_goes_on_stay(ledger, clock):
    run = ledger.begin_run("reviews", "", "f")
    ledger.finish_run(run, "deferred", outcome={"sample": [{"a": 1}]})
    clock.move(10)
    assert ledger.retention.trim(["reviews"], clock.now()) == 0


def test_only_settled_entries_of_the_quarantine_go(ledger, held, clock):
    ledger.resolve("reviews", ["r1"], resolution="spam", who="bo")
    clock.move(10)
    assert (
        ledger.retention.resolved(["reviews"], clock.now()) == 0
    )  # its snapshot is there, and needs the word
    ledger.retention.mark("reviews", everything, deed)
    assert ledger.retention.resolved(["reviews"], clock.now()) == 1
    assert ledger.retention.forget_resolved(["reviews"], clock.now()) == 1
    assert sorted(e.record_id for e in ledger.quarantine("reviews")) == ["r0", "r2"]
    assert ledger.retention.forget_resolved(["reviews"], clock.now()) == 0
