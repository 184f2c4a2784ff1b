"""What people are told of runs that are over: numbers, in few queries."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from loom_dagster.ledger import Fault, Findings, IndexRow, RunNumbers

METRICS = {"extracted": 3.0, "passed": 2.0, "cost": 0.25}
SCORE = {
    "name": "quality", "type": "semantic", "threshold": 0.7, "passed": 8, "failed": 2, "errors": 0,
    "mean": 0.8, "std": 0.1, "min": 0.5, "max": 1.0, "histogram": [],
}  # fmt: skip


@pytest.fixture
def run(ledger, snapshot_of):
    """One run of a pipeline; without ``released`` it is held."""

    def of(pipeline="reviews", partition="", status=None, *, released=True, **finish):
        handle = ledger.begin_run(pipeline, partition, "f", fresh=True)
        status = status or ("succeeded" if released else "held")
        row = snapshot_of(handle, released=released, passed=released)
        ledger.finish_run(handle, status, outcome={"big": "x"}, snapshot=row, metrics=METRICS, **finish)
        return handle.run_id

    return of


def test_a_run_is_told_with_its_numbers_its_scores_and_who_released_it(ledger, run, clock):
    run_id = run(evaluations=[SCORE])
    score = {k: v for k, v in SCORE.items() if k not in ("min", "max", "histogram")}
    assert ledger.history.runs() == [
        RunNumbers(
            run_id=run_id,
            pipeline="reviews",
            partition="",
            version=None,
            status="succeeded",
            started_at=clock.time,
            finished_at=clock.time,
            pass_rate=2 / 3,
            released_at=clock.time,
            released_by="gate",
            metrics=METRICS,
            scores=(score,),
        )
    ]


def test_a_run_that_never_ended_is_told_too(ledger):
    handle = ledger.begin_run("reviews", "", "f")
    [row] = ledger.history.runs()
    assert (row.run_id, row.status, row.pass_rate, row.metrics) == (handle.run_id, "running", None, {})


def test_runs_come_newest_first_and_can_be_narrowed(ledger, run, clock):
    first = run(partition="a")
    clock.move(3600)
    second, other, trial = run(partition="b"), run("others"), run(partition="~trial")
    ids = lambda **how: [row.run_id for row in ledger.history.runs(**how)]  # noqa: E731
    assert set(ids()) == {first, second, other}
    assert ids(pipeline="reviews") == [second, first]
    assert ids(pipeline="reviews", limit=1) == [second]
    assert ids(pipeline="reviews", partition="a") == [first]
    assert ids(pipeline="reviews", since=clock.time) == [second]
    assert ids(pipeline="reviews", until=first) == [first]
    assert set(ids(trials=True)) == {first, second, other, trial}


def test_the_newest_of_every_pipeline(ledger, run):
    mine = [run() for _ in range(4)]
    other = run("others")
    run(partition="~trial")
    found = ledger.history.newest(2, numbers=True)
    assert {name: [row.run_id for row in rows] for name, rows in found.items()} == {
        "reviews": mine[:1:-1],
        "others": [other],
    }
    assert found["others"][0].metrics == METRICS
    assert ledger.history.newest(1)["others"][0].metrics == {}


def test_what_waits_is_counted_by_pipeline(ledger, run):
    wrong = [IndexRow(record_id=str(n), stage="evaluate", kind="gate_failed", reason="low") for n in range(3)]
    run(quarantine_rows=wrong, findings=Findings(failed=[Fault(check="quality_gate", run_id="r")]))
    ledger.resolve("reviews", ["1"], resolution="fine", who="ada")
    run("others", "2026-01-01", released=False)
    run("others", "2026-01-02", released=False)
    run("others", "2026-01-02")  # the newest of its partition is released
    run("others", "~trial", released=False, quarantine_rows=wrong)
    going_on = ledger.begin_run("third", "", "f")
    standing = ledger.history.standing()
    assert standing.quarantined == {"reviews": 2}
    assert standing.alerts == {"reviews": 1}
    assert standing.held == {"others": ["2026-01-01"]}
    assert standing.running == {("third", "")}
    ledger.leave_run(going_on)
    assert ledger.history.standing().running == frozenset()


async def test_money_is_summed_by_day_and_month(ledger, clock):
    from loom_dagster.ledger import Budgets

    for days in (0, 1):
        clock.move(days * 86400)
        handle = ledger.begin_run("reviews", "", f"f{days}", fresh=True)
        with ledger.spend(handle, Budgets(), lambda key, since: None) as spend:
            spend.settle(0, 1.25)
        ledger.finish_run(handle, "succeeded", outcome={})
    standing = ledger.history.standing()
    assert standing.today == {"reviews": pytest.approx(1.25)}
    assert standing.month == {"reviews": pytest.approx(2.5)}
    [totals] = ledger.history.totals()
    assert totals.spent == pytest.approx(2.5)


def test_totals_are_of_runs_that_have_ended(ledger, run, clock):
    run()
    clock.move(60)
    run(released=False)
    ledger.release("reviews", who="ada", why="fine")
    run(partition="~trial")
    run(partition="b", status="deferred", released=False)
    again = ledger.begin_run(
        "reviews", "", "f", fresh=True
    )  # records of the quarantine, merged into the batch
    ledger.finish_run(again, "failed", outcome={}, metrics={**METRICS, "tried_again": 1.0, "calls": 2.0})
    [totals] = ledger.history.totals()
    assert totals.runs == {"succeeded": 1, "held": 1, "failed": 1}
    assert totals.sums == {"extracted": 6.0, "passed": 4.0, "calls": 2.0}
    assert totals.released_at == clock.time


def test_it_takes_as_many_queries_for_many_pipelines_as_for_one(ledger, run):
    asked = []
    event.listen(ledger._database._engine, "before_cursor_execute", lambda *a: asked.append(a[2]))

    def queries():
        asked.clear()
        ledger.history.newest(5, numbers=True)
        ledger.history.standing()
        ledger.history.totals()
        return len([q for q in asked if q.lstrip().upper().startswith("SELECT")])

    run("p0")
    few = queries()
    for number in range(1, 8):
        run(f"p{number}")
    assert queries() == few <= 14
    assert not any("outcome" in q for q in asked)
