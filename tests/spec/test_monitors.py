from __future__ import annotations

import pytest

from loom_dagster.spec.models import Monitoring

PIPELINE = """name: x
extract: {{source: a}}
transform: {{prompt: p}}
evaluate: {evaluate}
load: {{destination: b}}
monitoring:
  {monitoring}
"""
SCORED = "[{type: exact_match, reference_field: y}]"


def text(monitoring: str, evaluate: str = SCORED) -> str:
    return PIPELINE.format(monitoring=monitoring, evaluate=evaluate)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("latency_sla: 5", "latency_sla: {p95: 5}"),
        ("quality_threshold: 0.7", "quality_threshold: {min_score: 0.7}"),
        ("score_degradation: true", "score_degradation: {min_drop: 0.02, min_records: 10}"),
        ("score_degradation: 0.7", "score_degradation: {min_score: 0.7}"),
        ("cost_spike: true", "cost_spike: {times: 2}"),
        ("cost_spike: 2.5x", "cost_spike: {times: 2.5}"),
        ("rejection_rate: 0.2", "rejection_rate: {max_rate: 0.2}"),
        ("empty_input: true", "empty_input: {blocking: false}"),
        ("empty_input: false", "on_budget: stop"),
    ],
)
def test_the_short_forms_mean_the_long_ones(spec_of, short, long):
    assert spec_of(text(short)).monitoring == spec_of(text(long)).monitoring


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("latency_slo: 5", "did you mean `latency_sla`?"),
        ("latency_sla: {}", "name at least one of p50, p95 and p99"),
        ("latency_sla: {p95: -1}", "`monitoring.latency_sla.p95` must be more than 0"),
        ("latency_sla:", "`monitoring.latency_sla`: it is empty"),
        ("cost_spike: double", "`double` is not a multiple; write 2x"),
        ("cost_spike: 1x", "must be more than 1"),
        ("rejection_rate: 1.5", "must be between 0 and 1"),
        ("rejection_rate: {max_rat: 0.5}", "did you mean `max_rate`?"),
        ("score_degradation: {severity: fatal}", "known: error, warn"),
        ("empty_input: {severity: warn, blocking: true}", "a monitor that blocks is an error"),
        ("quality_threshold: {min_score: 1, evaluator: exact_mach}", "did you mean `exact_match`?"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(problems_of, written, said):
    found = problems_of(text(written))
    assert found
    assert all(problem.startswith("pipelines/x.yaml:7: ") for problem in found)
    assert said in " ".join(found)


@pytest.mark.parametrize("monitor", ["quality_threshold: 0.7", "score_degradation: true"])
def test_scores_are_not_watched_over_where_none_are_given(problems_of, monitor):
    [found] = problems_of(text(monitor, evaluate="[]"))
    assert "watches over scores, and there is no evaluator" in found


def test_severity_and_blocking_say_how_bad_it_is():
    def level(**written):
        return Monitoring.model_validate({"empty_input": written}).empty_input.level

    assert level() == "warn"
    assert level(severity="error") == "error"
    assert level(blocking=True) == "error"


# --- an alert of a monitor says the same as its short form


def of_alerts(*alerts, **written):
    given = {"alerts": [{"channel": "slack", **alert} for alert in alerts], **written}
    return Monitoring.model_validate(given).monitors()


def test_the_alerts_of_the_seed_switch_their_monitors_on():
    found = of_alerts(
        {"type": "score_degradation", "threshold": "0.7"}, {"type": "cost_spike", "threshold": "2x"}
    )
    assert list(found) == ["score_degradation", "cost_spike"]
    assert found["score_degradation"].min_score == 0.7
    assert found["cost_spike"].times == 2.0


def test_an_alert_adds_its_threshold_to_what_is_written():
    found = of_alerts(
        {"type": "score_degradation", "threshold": "0.7"},
        score_degradation={"min_drop": 0.1, "blocking": True},
    )
    monitor = found["score_degradation"]
    assert (monitor.min_score, monitor.min_drop, monitor.blocking) == (0.7, 0.1, True)


def test_without_a_threshold_it_takes_the_monitor_as_it_is():
    assert list(of_alerts({"type": "empty_input"}, {"type": "cost_spike"})) == ["cost_spike", "empty_input"]
    assert of_alerts({"type": "latency_sla"}, latency_sla=5)["latency_sla"].p95 == 5
    assert list(of_alerts({"type": "cost_budget"}, cost_budget=3)) == ["cost_budget"]


@pytest.mark.parametrize(
    ("alerts", "written", "said"),
    [
        (
            [{"type": "rejection_rate"}],
            {},
            "would never come: write `rejection_rate` as well, or a `threshold`",
        ),
        ([{"type": "cost_budget"}], {}, "would never come: write `cost_budget` as well"),
        ([{"type": "cost_budget", "threshold": "5"}], {"cost_budget": 3}, "takes no `threshold`"),
        ([{"type": "empty_input", "threshold": "5"}], {}, "takes no `threshold`"),
        (
            [{"type": "cost_spike", "threshold": "2x"}],
            {"cost_spike": "3x"},
            "two thresholds, 3x and, in an alert, 2x",
        ),
        ([{"type": "cost_spike", "threshold": t} for t in ("2x", "5x")], {}, "two thresholds"),
    ],
)
def test_alerts_that_contradict_what_is_written_are_refused(alerts, written, said):
    with pytest.raises(ValueError, match=said):
        of_alerts(*alerts, **written)
