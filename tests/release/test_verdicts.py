"""When a batch may go on."""

from __future__ import annotations

import pytest

from loom_dagster.release import Counts, batch_verdict
from loom_dagster.spec.models import Evaluate


def judge(threshold=None, **counts):
    return batch_verdict(Counts(**counts), Evaluate(batch_threshold=threshold))


@pytest.mark.parametrize(
    ("passed", "quarantined", "threshold", "released"),
    [
        (95, 5, 0.95, True),
        (94, 6, 0.95, False),
        (1, 99, None, True),
        (7, 93, 0.07, True),
        (100, 0, 1.0, True),
    ],
)
def test_the_rate_is_held_against_the_threshold(passed, quarantined, threshold, released):
    verdict = judge(threshold, extracted=100, passed=passed, quarantined=quarantined)
    assert verdict.passed is released
    assert verdict.pass_rate == passed / 100
    assert verdict.threshold == threshold


def test_rows_that_never_became_records_do_not_count_against_the_model():
    verdict = judge(0.9, extracted=20, passed=9, quarantined=11, source_errors=10)
    assert (verdict.passed, verdict.pass_rate) == (True, 0.9)


def test_fallback_values_are_no_merit():
    verdict = judge(0.9, extracted=10, passed=10, fallbacks=2)
    assert (verdict.passed, verdict.pass_rate) == (False, 0.8)
    assert "2 more by fallback values" in verdict.reason


def test_records_that_were_skipped_count_as_not_passed():
    assert not judge(0.9, extracted=10, passed=8, quarantined=2, skipped=2).passed


def test_nothing_is_decided_while_records_are_deferred():
    verdict = judge(0.5, extracted=10, passed=9, deferred=1)
    assert (verdict.passed, verdict.pass_rate) == (False, 1.0)
    assert verdict.reason == "1 of 10 record is deferred: held until a run settles them"
    assert not judge(None, extracted=10, passed=9, deferred=1).passed


def test_an_empty_run_passes_and_says_so():
    verdict = judge(0.95)
    assert (verdict.passed, verdict.pass_rate) == (True, None)
    assert "empty" in verdict.reason


@pytest.mark.parametrize("source_errors", [0, 5])
def test_nothing_passed_though_something_came_in(source_errors):
    verdict = judge(None, extracted=5, quarantined=5, source_errors=source_errors)
    assert not verdict.passed
    assert verdict.reason == "nothing passed: 0 of 5 records"


def test_a_sum_that_does_not_hold_never_passes():
    verdict = judge(None, extracted=10, passed=9)
    assert not verdict.passed
    assert "do not add up" in verdict.reason


def test_the_words_tell_a_near_miss_from_a_pass():
    verdict = judge(0.95, extracted=10_000, passed=9_499, quarantined=501)
    assert verdict.reason == "9,499 of 10,000 records passed (94.99%) < batch_threshold 95%"
    verdict = judge(0.8, extracted=10, passed=8, quarantined=2)
    assert verdict.reason == "8 of 10 records passed (80%) >= batch_threshold 80%"
