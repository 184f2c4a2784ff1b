from __future__ import annotations

import pytest

from loom_dagster.monitors import Budget, Facts, judge
from loom_dagster.spec.models import Monitoring
from tests.monitors.conftest import scores


def one(spec: dict, run: Facts):
    [result] = judge(Monitoring.model_validate(spec), run, ())
    return result


def test_nothing_is_looked_at_that_is_not_asked_for():
    assert judge(Monitoring(), Facts(), ()) == []


@pytest.mark.parametrize(
    ("spec", "good", "bad", "said"),
    [
        (
            {"latency_sla": {"p50": 1, "p95": 5}},
            Facts(latencies={"p50": 1.0, "p95": 5.0, "p99": 60.0}),
            Facts(latencies={"p50": 1.001, "p95": 6.0, "p99": 60.0}),
            "p50 1.001s > 1s, p95 6s > 5s",
        ),
        (
            {"quality_threshold": 0.7},
            Facts(extracted=2, scores={"a": scores(0.7), "b": scores(0.9)}),
            Facts(extracted=2, scores={"a": scores(0.6999), "b": scores(0.9)}),
            "a: mean 0.6999 < 0.7",
        ),
        (
            {"quality_threshold": {"min_score": 0.7, "evaluator": "b"}},
            Facts(extracted=2, scores={"a": scores(0.1), "b": scores(0.9)}),
            Facts(extracted=2, scores={"a": scores(0.9), "b": scores(0.1)}),
            "b: mean 0.1 < 0.7",
        ),
        (
            {"rejection_rate": 0.2},
            Facts(extracted=12, quarantined=2, deferred=2),
            Facts(extracted=12, quarantined=3, deferred=2),
            "3 of 10 records are in quarantine (30% > 20%)",
        ),
        ({"empty_input": True}, Facts(extracted=1), Facts(), "nothing was extracted"),
        (
            {"cost_budget": 1.0, "on_budget": "warn"},
            Facts(cost=1.0),
            Facts(cost=1.5),
            "$1.50 of $1.00 a run",
        ),
    ],
)
def test_each_passes_and_fails_when_it_should(spec, good, bad, said):
    assert one(spec, good).passed
    failed = one(spec, bad)
    assert (failed.passed, failed.reason) == (False, said)
    assert failed.value is not None
    assert failed.threshold is not None


def test_the_worst_percentile_is_the_value():
    found = one({"latency_sla": {"p50": 1, "p95": 5}}, Facts(latencies={"p50": 4.0, "p95": 6.0, "p99": 6.0}))
    assert (found.value, found.threshold) == (4.0, 1.0)


def test_a_run_from_the_store_has_no_latency_to_complain_of():
    assert one({"latency_sla": 5}, Facts(extracted=3)).passed


def test_a_score_that_could_not_be_had_is_never_a_good_one():
    lost = Facts(extracted=3, scores={"a": scores(0.9), "b": scores(None, n=0, std=None, errors=3)})
    found = one({"quality_threshold": 0.7}, lost)
    assert not found.passed
    assert "b: no score could be had" in found.reason
    assert one({"quality_threshold": 0.7}, Facts()).passed, "an empty run has none to have"


def test_a_budget_that_stopped_the_run_fails_although_it_is_not_overspent():
    day = Budget(name="day", limit=2.0, used=1.9)
    stopped = Facts(cost=0.5, budgets=[Budget(name="run", limit=1.0, used=0.5), day], used_up="day")
    found = one({"cost_budget": {"run": 1, "day": 2}}, stopped)
    assert (found.passed, found.value, found.threshold) == (False, 1.9, 2.0)
    assert found.reason == "$1.90 of $2.00 a day, used up: there is no room for the next call"
    assert one({"cost_budget": {"run": 1}}, Facts(cost=0.5, used_up="month")).passed, "not its own"


def test_severity_and_blocking_are_as_they_are_written():
    empty = Facts()
    written = {
        "rejection_rate": 0.2,
        "empty_input": {"severity": "error"},
        "latency_sla": {"p95": 1, "blocking": True},
    }
    found = {r.name: (r.severity, r.blocking) for r in judge(Monitoring.model_validate(written), empty, ())}
    assert found == {
        "latency_sla": ("error", True),
        "rejection_rate": ("warn", False),
        "empty_input": ("error", False),
    }
