"""What is wrong is written once, with the run, and is over when it passes again: in a file and on Postgres."""

from __future__ import annotations

from datetime import timedelta

import pytest

from loom_dagster.errors import Misconfigured
from loom_dagster.ledger import Fault, Findings


def fault(run_id, check="quality_gate", channels=("ops",), **facts):
    return Fault(check=check, run_id=run_id, channels=channels, facts={"summary": "bad", **facts})


def end(ledger, findings, *, status="held", fingerprint="f", partition=""):
    handle = ledger.begin_run("reviews", partition, fingerprint, dagster_run_id="d-1")
    made = Findings(
        failed=[fault(handle.run_id, check) for check in findings.get("failed", ())],
        passed=findings.get("passed", ()),
    )
    ledger.finish_run(handle, status, outcome={}, findings=made)
    return handle.run_id


def told(ledger):
    return [(row.event, row.check_name, row.run_id) for row, _ in ledger.outbox.list()]


def test_a_run_and_its_alerts_are_kept_together(ledger):
    run_id = end(ledger, {"failed": ["quality_gate", "shape"]})
    assert sorted(told(ledger)) == [("failed", "quality_gate", run_id), ("failed", "shape", run_id)]
    assert {row.dagster_run_id for row, _ in ledger.outbox.list()} == {"d-1"}
    assert ledger.outbox.explained("reviews", "d-1")
    assert not ledger.outbox.explained("others", "d-1")


def test_a_run_that_has_lost_its_lease_tells_nothing(ledger):
    handle = ledger.begin_run("reviews", "", "f")
    ledger.leave_run(handle)
    with pytest.raises(Misconfigured):
        ledger.finish_run(handle, "held", outcome={}, findings=Findings(failed=[fault(handle.run_id)]))
    assert told(ledger) == []


def test_what_passes_again_closes_every_alert_of_its_check_and_partition_only(ledger, clock):
    end(ledger, {"failed": ["quality_gate", "shape"]})
    clock.move(60)
    end(ledger, {"failed": ["quality_gate"]})
    clock.move(60)
    end(ledger, {"failed": ["quality_gate"]}, partition="p")
    clock.move(60)
    last = end(ledger, {"passed": ["quality_gate"]}, status="succeeded")
    assert told(ledger)[0] == ("recovered", "quality_gate", last)
    still_open = [(row.check_name, row.partition) for row, _ in ledger.outbox.list(only_open=True)]
    assert still_open == [("quality_gate", "p"), ("shape", "")]
    clock.move(60)
    end(ledger, {"passed": ["quality_gate"]}, status="succeeded")
    assert len(told(ledger)) == 5  # it had recovered already


def test_what_passed_earlier_says_nothing_of_what_failed_since(ledger, clock):
    end(ledger, {"failed": ["mine"]})
    earlier = clock.now() - timedelta(minutes=5)
    ledger.outbox.tell("reviews", "", Findings(passed=["mine"]), run_id="old", at=earlier)
    assert len(ledger.outbox.list(only_open=True)) == 1


def test_a_run_that_goes_on_and_fails_by_what_had_passed_in_between_tells_it_again(ledger, clock):
    said = [{"failed": ["run_failed"]}, {"failed": ["run_failed"]}, {"passed": ["run_failed"]}]
    for findings in (*said, *said):
        clock.move(60)
        end(ledger, findings, status="deferred")
    events = [row.event for row, _ in ledger.outbox.list()]
    assert events == ["recovered", "failed"] * 2
    assert len({row.alert_id for row, _ in ledger.outbox.list()}) == 4


def test_what_is_told_once_is_told_again_when_it_is_over_or_no_longer_muted(ledger, clock):
    def told_in(run_id):
        word = Fault(check="shape", run_id=run_id, channels=("ops",), once=True)
        return len(ledger.outbox.tell("reviews", "", Findings(failed=[word]), run_id=run_id))

    assert [told_in("1"), told_in("2"), told_in("3")] == [1, 0, 0]
    ledger.outbox.tell("reviews", "", Findings(passed=["shape"]), run_id="4")
    ledger.outbox.mute("reviews", "", until=clock.now() + timedelta(hours=1), why="known", who="ann")
    assert [told_in("5"), told_in("6")] == [1, 0]
    clock.move(7200)
    assert [told_in("7"), told_in("8")] == [1, 0]


def test_a_release_by_hand_closes_the_alerts_of_monitors_that_held_the_batch_alone(ledger, snapshot_of):
    handle = ledger.begin_run("reviews", "p", "f")
    holds = {"name": "cost_spike", "passed": False, "blocking": True}
    monitors = [holds, {"name": "latency_sla", "passed": False, "blocking": False}]
    ledger.finish_run(
        handle,
        "held",
        outcome={"monitors": monitors},
        snapshot=snapshot_of(handle, passed=False, released=False, partition="p"),
        findings=Findings(failed=[fault(handle.run_id, m["name"]) for m in monitors]),
    )
    ledger.release("reviews", "p", who="ann", why="looked at it")
    assert [row.check_name for row, _ in ledger.outbox.list(only_open=True)] == ["latency_sla"]


def test_a_release_by_hand_closes_the_gates_alert_and_says_who_and_why(ledger, snapshot_of, clock):
    handle = ledger.begin_run("reviews", "", "f")
    row = snapshot_of(handle, passed=False, released=False)
    ledger.finish_run(
        handle, "held", outcome={}, snapshot=row, findings=Findings(failed=[fault(handle.run_id)])
    )
    ledger.release("reviews", who="ann", why="looked at it")
    (recovered, _), (failed, _) = ledger.outbox.list()
    assert recovered.facts["summary"] == failed.resolution == "released by ann: looked at it"


def test_a_channel_is_served_by_one_at_a_time_and_freed_by_silence(ledger, clock):
    end(ledger, {"failed": ["quality_gate"]})
    deliveries = ledger.outbox.deliveries
    first = deliveries.claim("ops")
    assert deliveries.claim("ops") is None
    clock.move(61)
    second = deliveries.claim("ops")
    assert second is not None
    assert not deliveries.keep(first)
    [(alert, _)] = deliveries.waiting("ops", 10)
    assert not deliveries.delivered(first, alert.alert_id)  # sent all the same: it is not sent again
    assert deliveries.waiting("ops", 10) == []
    deliveries.let_go(second)


def test_alerts_are_found_by_the_beginning_of_their_id(ledger):
    end(ledger, {"failed": ["quality_gate"]})
    [(row, _)] = ledger.outbox.list()
    assert ledger.outbox.find(row.alert_id[:4]) == [row]
    assert ledger.outbox.find("%") == []


def test_how_far_a_feed_was_read_is_kept(ledger):
    assert ledger.outbox.position("dagster x") is None
    for position in ({"updated": 1.5, "seen": ["a"]}, {"updated": 2.5, "seen": []}):
        ledger.outbox.advance("dagster x", position)
        assert ledger.outbox.position("dagster x") == position
