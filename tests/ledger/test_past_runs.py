"""Which runs a later one is compared with."""

from __future__ import annotations

import pytest

from loom_dagster.ledger import PastRun

REAL = {"simulated": 0.0, "tried_again": 0.0, "cost": 1.5}
SCORE = {
    "name": "quality", "type": "semantic", "threshold": 0.7, "passed": 8, "failed": 2, "errors": 0,
    "mean": 0.8, "std": 0.1, "min": 0.5, "max": 1.0, "histogram": [],
}  # fmt: skip
LAST = "99990101T000000-ffffff"


@pytest.fixture
def ids(ledger):
    def of(partition="", before=LAST, **how):
        return [run.run_id for run in ledger.past_runs.before("reviews", partition, before, **how)]

    return of


def test_a_past_run_brings_its_numbers_and_its_scores(ledger, finished):
    run = finished(metrics=REAL, evaluations=[SCORE])
    [past] = ledger.past_runs.before("reviews", "", LAST)
    kept = {k: v for k, v in SCORE.items() if k not in ("threshold", "min", "max", "histogram")}
    assert past == PastRun(run_id=run.run_id, data_version="v", metrics=REAL, scores=(kept,))


def test_they_are_those_before_it_newest_first_and_no_more_than_are_wanted(finished, ids):
    runs = [finished(metrics=REAL).run_id for _ in range(4)]
    assert ids() == runs[::-1]
    assert ids(before=runs[2]) == [runs[1], runs[0]]
    assert ids(before=None) == ids()
    assert ids(limit=2) == [runs[3], runs[2]]


def test_only_what_was_released_counts(ledger, finished, ids):
    finished("held", released=False, metrics=REAL)
    assert ids() == []
    ledger.release("reviews", who="ada", why="checked")
    assert len(ids()) == 1


def test_simulated_runs_are_compared_with_simulated_ones(finished, ids):
    real, offline = finished(metrics=REAL), finished(metrics=REAL | {"simulated": 1.0})
    assert ids() == [real.run_id]
    assert ids(simulated=True) == [offline.run_id]


def test_records_that_were_tried_again_are_no_run_to_compare_with(finished, ids):
    finished(metrics=REAL | {"tried_again": 1.0})
    assert ids() == []


def test_trials_and_other_pipelines_do_not_count(ledger, finished, ids):
    finished(metrics=REAL, partition="~trial")
    assert ids() == []
    assert ids(partition="2026-01-09", series=True) == []
    assert ledger.past_runs.before("others", "", LAST) == []


def test_in_a_series_the_newest_run_of_each_earlier_partition_counts(finished, ids):
    days = {
        day: [finished(metrics=REAL, partition=day).run_id for _ in range(2)][-1]
        for day in ("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")
    }
    assert ids("2026-01-03", series=True) == [days["2026-01-02"], days["2026-01-01"]]
    assert ids("2026-01-05", series=True, limit=2) == [days["2026-01-04"], days["2026-01-03"]]
    assert len(ids("2026-01-03")) == 2, "without a series: its own"
