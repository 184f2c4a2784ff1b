"""Every local evaluator: what passes, what fails, and what cannot be judged and so never passes."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

EXACT = {"type": "exact_match", "reference_field": "expected_sentiment"}


async def test_exact_match_takes_the_field_that_the_reference_expects(score):
    assert (await score(EXACT, expected_sentiment="negative")).value == 1.0
    failed = await score(EXACT, expected_sentiment="positive")
    assert (failed.value, failed.passed, failed.explanation) == (0.0, False, "`negative` is not `positive`")


@pytest.mark.parametrize(
    ("given", "wanted", "same"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("a", "a ", False),
        (0.9, "0.90", True),
        (5, Decimal("5.0"), True),
        (5, "five", False),
        (1, True, False),
        (True, "True", True),
        (False, True, False),
        (date(2026, 1, 2), "2026-01-02", True),
        ([1, 2], [1, 2], True),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}', True),
    ],
)
async def test_exact_match_compares_by_value(score, given, wanted, same):
    evaluator = {"type": "exact_match", "field": "x", "reference_field": "wanted"}
    assert (await score(evaluator, {"x": given, "y": 1}, wanted=wanted)).value == float(same)


async def test_exact_match_can_ignore_case(score):
    assert (await score({**EXACT, "ignore_case": True}, expected_sentiment="NEGATIVE")).value == 1.0


@pytest.mark.parametrize("kind", ["exact_match", "similarity"])
@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"expected_sentiment": None}, "reference `expected_sentiment` is null"),
        ({"expected_sentiment": float("nan")}, "reference `expected_sentiment` is null"),
        ({"expected_sentiment": " "}, "reference `expected_sentiment` is empty"),
        ({}, "reference `expected_sentiment` is not a column of the record"),
    ],
)
async def test_without_a_reference_there_is_no_score(score, kind, columns, error):
    got = await score({**EXACT, "type": kind, "threshold": 0.0}, **columns)
    assert (got.value, got.passed, got.error) == (None, False, error)


@pytest.mark.parametrize(
    "evaluator",
    [
        {"type": "exact_match", "reference_field": "review"},
        {"type": "similarity", "reference_field": "review"},
        {"type": "contains", "substrings": ["a"]},
        {"type": "regex", "pattern": "a"},
        {"type": "json_schema", "schema": {}},
    ],
)
async def test_a_null_output_is_never_judged(score, evaluator):
    got = await score({**evaluator, "field": "x", "threshold": 0.0}, {"x": None, "y": 1})
    assert (got.value, got.error) == (None, "output `x` is null")
    got = await score({**evaluator, "output_field": "z", "threshold": 0.0}, {"x": None, "y": 1})
    assert (got.value, got.error) == (None, "no output `z`")


async def test_contains_scores_the_share_that_is_there(score):
    evaluator = {"type": "contains", "field": "x", "substrings": ["neg", "pos"]}
    got = await score(evaluator, {"x": "negative", "y": 1})
    assert (got.value, got.passed, got.explanation) == (0.5, False, "missing: `pos`")
    assert (await score(evaluator, {"x": "pos neg", "y": 1})).passed
    assert (await score({**evaluator, "ignore_case": True}, {"x": "POS NEG", "y": 1})).passed
    assert (await score(evaluator, {"x": " ", "y": 1})).error == "the output is empty"


async def test_regex_is_searched_for(score):
    evaluator = {"type": "regex", "field": "x", "pattern": r"(?i)order \d{4}\b"}
    assert (await score(evaluator, {"x": "see Order 1234.", "y": 1})).passed
    failed = await score(evaluator, {"x": "none", "y": 1})
    assert (failed.value, failed.explanation) == (0.0, r"no match for `(?i)order \d{4}\b`")


async def test_a_catastrophic_regex_gives_up_and_does_not_pass(score):
    got = await score({"type": "regex", "pattern": "(x+x+)+y(?!z)", "threshold": 0.0}, {"output": "x" * 40})
    assert got.value is None
    assert "too many steps" in got.error


async def test_json_schema_judges_the_whole_output_or_a_field(score):
    whole = {"type": "json_schema", "schema": {"properties": {"confidence": {"minimum": 0.95}}}}
    assert (await score(whole, {"confidence": 0.99, "when": date(2026, 1, 1)})).passed
    failed = await score(whole, {"confidence": 0.9, "when": date(2026, 1, 1)})
    assert failed.value == 0.0
    assert failed.explanation.startswith("/confidence 0.9")
    text = {"type": "json_schema", "schema": {"type": "object", "required": ["a"]}}
    assert (await score(text, {"output": '{"a": 1}'})).passed
    assert (await score(text, {"output": "[]"})).value == 0.0
    assert (await score(text, {"output": "not json"})).explanation.startswith("not JSON")
    string = {"type": "json_schema", "schema": {"type": ["string", "null"], "maxLength": 3}}
    assert (await score(string, {"output": "123"})).passed


@pytest.mark.parametrize(
    ("given", "wanted", "value"),
    [
        ("the quick fox", "the quick fox", 1.0),
        ("The quick, quick FOX", "quick quick the fox!", 1.0),
        ("a b", "a c", 0.5),
        ("a", "b", 0.0),
        ("!!!", "b", 0.0),
        ("很好", "很差", 0.5),
    ],
)
async def test_similarity_is_the_cosine_of_word_counts(score, given, wanted, value):
    evaluator = {"type": "similarity", "field": "x", "reference_field": "wanted"}
    assert (await score(evaluator, {"x": given, "y": 1}, wanted=wanted)).value == pytest.approx(value)


async def test_the_same_words_reach_a_threshold_of_one(score):
    evaluator = {"type": "similarity", "field": "x", "reference_field": "wanted"}
    words = ["one", "two", "two", "three", "three", "three"]
    assert (await score(evaluator, {"x": " ".join(words), "y": 1}, wanted=" ".join(reversed(words)))).passed


async def test_similarity_needs_words_in_the_reference(score):
    got = await score(
        {"type": "similarity", "field": "x", "reference_field": "w"}, {"x": "a", "y": 1}, w="!?"
    )
    assert (got.value, got.error) == (None, "reference `w` has no words")


async def test_the_score_carries_the_name_threshold_and_weight_of_its_evaluator(score):
    got = await score(
        {**EXACT, "name": "right", "threshold": 0.5, "weight": 3}, expected_sentiment="negative"
    )
    assert (got.name, got.threshold, got.weight) == ("right", 0.5, 3.0)
