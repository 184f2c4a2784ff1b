"""What is wrong with evaluators is known before the first call, with the place and the nearest name."""

from __future__ import annotations

import pytest

from loom_dagster.evaluate import check_evaluators
from loom_dagster.spec.models import Evaluate

COLUMNS = ["review", "expected_sentiment"]
FIELDS = ["sentiment", "confidence"]


@pytest.fixture
def check(tmp_path):
    def problems(*evaluators, fields=FIELDS):
        return check_evaluators(
            Evaluate(evaluators=evaluators),
            COLUMNS,
            fields,
            where=lambda *loc: "p.yaml:" + ".".join(map(str, loc)),
            root=tmp_path,
        )

    return problems


def test_what_is_right_has_no_problems(check, tmp_path):
    (tmp_path / "good_judges_of_ours.py").write_text("def f(output, record, extra=None): return 1")
    assert not check(
        {"type": "semantic", "reference_field": "expected_sentiment"},
        {"type": "custom_criteria", "criteria": "x", "output_field": "sentiment"},
        {"type": "exact_match", "reference_field": "expected_sentiment"},
        {"type": "contains", "substrings": "x", "field": "sentiment"},
        {"type": "regex", "pattern": "^a", "field": "sentiment"},
        {"type": "json_schema", "schema": {"type": "object"}},
        {"type": "python", "function": "good_judges_of_ours:f"},
    )


@pytest.mark.parametrize(
    ("evaluator", "key", "fix"),
    [
        (
            {"type": "semantic", "reference_field": "expected_sentimnt"},
            "reference_field",
            "`expected_sentiment`",
        ),
        ({"type": "groundedness", "sources_field": "reviews"}, "sources_field", "`review`"),
        ({"type": "relevance", "query_field": "zzz"}, "query_field", "known: review"),
        ({"type": "factuality", "output_field": "sentimnt"}, "output_field", "`sentiment`"),
        ({"type": "contains", "substrings": "x", "field": "confidense"}, "field", "`confidence`"),
        ({"type": "regex", "pattern": "["}, "pattern", "JSON schema"),
        ({"type": "json_schema", "schema": {"type": "nope"}}, "schema", "JSON schema"),
        ({"type": "json_schema", "schema": {"$ref": "http://127.0.0.1:9/x"}}, "schema", "JSON schema"),
        ({"type": "python", "function": "nowhere_to_be_found:f"}, "function", "module:function"),
    ],
)
def test_each_mistake_is_named_with_its_place_and_a_fix(check, evaluator, key, fix):
    (problem,) = check({"type": "factuality"}, {**evaluator, "name": "mine"})
    assert problem.level == "error"
    assert "`mine`" in problem.what
    assert problem.where == f"p.yaml:evaluate.evaluators.1.{key}"
    assert fix in problem.fix
    assert "\n" not in str(problem)


def test_two_names_for_the_field_must_agree(check):
    both = {"type": "contains", "substrings": "x", "field": "sentiment"}
    assert not check({**both, "output_field": "sentiment"})
    (problem,) = check({**both, "output_field": "confidence"})
    assert "keep one" in problem.fix


def test_every_mistake_is_reported_at_once(check):
    assert len(check({"type": "semantic", "reference_field": "x", "output_field": "y"})) == 2


def test_semantic_without_a_reference_is_warned_about(check):
    (problem,) = check({"type": "semantic"})
    assert problem.level == "warning"
    assert "coherent" in problem.what


def test_exact_match_of_the_whole_output_is_warned_about(check):
    evaluator = {"type": "exact_match", "reference_field": "review"}
    (problem,) = check(evaluator)
    assert problem.level == "warning"
    assert not check({**evaluator, "field": "sentiment"})
    assert not check(evaluator, fields=["output"])
