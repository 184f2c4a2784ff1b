"""The four gates, exactly: a missing score never helps, and every reason can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_dagster.evaluate import Gate
from loom_dagster.records import Score
from loom_dagster.spec.models import GateSpec


def gate(kind, threshold=None):
    return Gate(GateSpec(type=kind, threshold=threshold))


def score(name, value, threshold=0.75, weight=1.0, error=None):
    return Score(name=name, value=value, threshold=threshold, weight=weight, error=error)


SHARE = st.floats(0, 1)
SCORES = st.lists(
    st.builds(
        score,
        name=st.sampled_from("abc"),
        value=st.none() | SHARE,
        threshold=SHARE,
        weight=st.floats(0.01, 100),
    ),
    min_size=1,
    max_size=6,
)
GATES = st.sampled_from(["all_pass", "majority_pass", "any_pass"]).map(gate) | SHARE.map(
    lambda t: gate("weighted", t)
)


@pytest.mark.parametrize("kind", ["all_pass", "majority_pass", "any_pass"])
def test_without_evaluators_everything_passes(kind):
    assert gate(kind).decide([]).passed
    assert gate("weighted", 0.9).decide([]).passed


def test_all_pass_needs_every_score():
    good, bad = score("a", 0.75), score("quality_criteria", 0.7)
    assert gate("all_pass").decide([good]).passed
    decision = gate("all_pass").decide([good, bad, score("b", None, error="judge failed: timeout")])
    assert not decision.passed
    assert decision.reason == "quality_criteria 0.70 < 0.75; b: judge failed: timeout"
    assert decision.scores == (good, bad, score("b", None, error="judge failed: timeout"))


def test_majority_is_more_than_half():
    good, bad = score("a", 1.0), score("b", 0.1)
    assert gate("majority_pass").decide([good, good, bad]).passed
    decision = gate("majority_pass").decide([good, bad])
    assert decision.reason == "1 of 2 passed, more than half needed: b 0.10 < 0.75"


def test_any_needs_one():
    assert gate("any_pass").decide([score("a", 0.1), score("b", 0.8)]).passed
    decision = gate("any_pass").decide([score("a", 0.1), score("b", None)])
    assert decision.reason == "none of 2 passed: a 0.10 < 0.75; b: no score"


def test_weighted_counts_a_missing_score_as_nothing():
    decision = gate("weighted", 0.75).decide([score("a", 0.9, weight=2), score("b", None, error="timeout")])
    assert decision.reason == "weighted 0.60 < 0.75 (a 0.90 x2, b missing x1); b: timeout"
    assert gate("weighted", 0.6).decide([score("a", 0.9, weight=2), score("b", None)]).passed


def test_weighted_forgives_what_floats_lose():
    assert (0.1 + 0.7) / 2 < 0.4
    assert gate("weighted", 0.4).decide([score("a", 0.1), score("b", 0.7)]).passed
    assert not gate("weighted", 0.4001).decide([score("a", 0.1), score("b", 0.7)]).passed


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 85.0, -0.1])
@pytest.mark.parametrize("kind", ["all_pass", "majority_pass", "any_pass", "weighted"])
def test_a_value_that_is_no_score_never_passes(kind, value):
    threshold = 0.5 if kind == "weighted" else None
    assert not gate(kind, threshold).decide([score("a", value, threshold=0.0)]).passed


def test_a_reason_never_says_that_a_number_is_less_than_itself():
    assert gate("all_pass").decide([score("a", 0.7499)]).reason == "a 0.7499 < 0.7500"


@given(GATES, SCORES)
def test_a_reason_is_given_exactly_when_it_does_not_pass(one, scores):
    decision = one.decide(scores)
    assert decision.passed == (not decision.reason)
    assert decision.scores == tuple(scores)


@given(GATES, SCORES, st.data())
def test_a_higher_score_never_hurts(one, scores, data):
    at = data.draw(st.integers(0, len(scores) - 1))
    higher = data.draw(st.floats(scores[at].value or 0.0, 1.0))
    better = [*scores[:at], replace(scores[at], value=higher), *scores[at + 1 :]]
    assert one.decide(better).passed >= one.decide(scores).passed


@given(GATES, SCORES, st.data())
def test_a_missing_score_never_helps(one, scores, data):
    at = data.draw(st.integers(0, len(scores) - 1))
    worse = [*scores[:at], replace(scores[at], value=None, error="gone"), *scores[at + 1 :]]
    assert one.decide(worse).passed <= one.decide(scores).passed


@given(GATES, SCORES)
def test_nothing_passes_on_missing_scores_alone(one, scores):
    asks_for_something = one._spec.threshold is None or one._spec.threshold > 1e-6
    assert not (one.decide([replace(s, value=None) for s in scores]).passed and asks_for_something)


@given(SCORES, SHARE)
def test_a_weighted_mean_lies_between_the_worst_and_the_best(scores, threshold):
    values = [s.value or 0.0 for s in scores]
    decision = gate("weighted", threshold).decide(scores)
    if min(values) >= threshold:
        assert decision.passed
    if max(values) < threshold - 1e-6:
        assert not decision.passed
