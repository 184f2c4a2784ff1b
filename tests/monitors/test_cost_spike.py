from __future__ import annotations

from loom_dagster.monitors import Facts, judge
from loom_dagster.spec.models import Monitoring

SPEC = Monitoring.model_validate({"cost_spike": "2x"})


def paid(each: float, records: int = 100, *, failed: bool = False, unpriced: int = 0) -> Facts:
    return Facts(
        extracted=100,
        paid_records=records,
        paid_cost=each * records,
        unpriced=unpriced,
        failed=frozenset({"cost_spike"} if failed else ()),
    )


def spike(run: Facts, history: list[Facts]):
    [result] = judge(SPEC, run, history)
    return result


def test_a_record_that_costs_more_than_the_multiple_is_a_spike():
    history = [paid(0.01), paid(0.012), paid(0.008)]
    assert spike(paid(0.02), history).passed
    found = spike(paid(0.021), history)
    assert not found.passed
    assert (round(found.value, 6), found.threshold, found.runs) == (0.021, 0.02, 3)
    assert found.reason == "$0.0210 a record, 2.1x the $0.0100 of 3 runs (more than 2x)"


def test_twice_the_records_are_no_spike():
    assert spike(paid(0.01, records=10_000), [paid(0.01)] * 5).passed


def test_runs_from_the_store_neither_alarm_nor_count():
    cached = Facts(extracted=100)
    assert spike(cached, [paid(0.01)] * 5).reason == "nothing was paid for"
    with_cached = [cached] * 50 + [paid(0.01)] * 3
    assert not spike(paid(0.03), with_cached).passed, "they hide nothing either"
    assert spike(paid(0.011), with_cached).passed


def test_a_few_records_are_not_compared():
    found = spike(paid(0.9, records=9), [paid(0.01)] * 5)
    assert (found.passed, found.value) == (True, None)
    assert found.reason == "too few records were paid for to compare, 9 of 10"


def test_without_history_it_says_how_much_is_wanted():
    found = spike(paid(0.9), [paid(0.01)] * 2)
    assert found.passed
    assert "not enough history, 2 of 3 runs" in found.reason


def test_one_dear_run_before_moves_nothing():
    assert not spike(paid(0.03), [paid(9.0), *[paid(0.01)] * 4]).passed


def test_spikes_are_not_the_new_normal_until_the_runs_before_have_left_the_window():
    level = [paid(0.01)] * 20
    alarms = 0
    while not (found := spike(paid(0.03), level)).passed:
        level.insert(0, paid(0.03, failed=True))
        alarms += 1
    assert alarms == 18
    assert "not enough history, 2 of 3 runs" in found.reason


def test_calls_of_unknown_price_are_told():
    assert (
        "7 calls of unknown price are not counted" in spike(paid(0.01, unpriced=7), [paid(0.01)] * 3).reason
    )


def test_a_history_that_cost_nothing_says_so():
    assert spike(paid(0.9), [paid(0.0)] * 3).passed
