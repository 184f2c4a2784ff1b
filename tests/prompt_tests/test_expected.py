"""What a case expects of an output, field by field."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import pytest

from loom_dagster.prompt_tests.expected import Wrong, expectations
from loom_dagster.spec import FieldSpec, Plain

FIELDS = {
    "sentiment": FieldSpec(type="string", enum=("positive", "negative", "2.10")),
    "confidence": FieldSpec(type="float"),
    "count": FieldSpec(type="integer", nullable=True),
    "urgent": FieldSpec(type="boolean"),
    "due": FieldSpec(type="date"),
    "at": FieldSpec(type="timestamp"),
    "tags": FieldSpec(type="array"),
    "min_price": FieldSpec(type="float"),
    "address": FieldSpec.model_validate({"type": "object", "fields": {"city": "string", "zip": "string"}}),
    "extra": FieldSpec(type="object"),
}
OUTPUT = {
    "sentiment": "positive",
    "confidence": 0.3,
    "count": None,
    "urgent": True,
    "due": date(2026, 1, 2),
    "at": datetime(2026, 1, 2, 10, tzinfo=UTC),
    "tags": ["a", "b"],
    "min_price": 2.0,
    "address": {"city": "Ulm", "zip": "01067"},
    "extra": '{"x": {"y": 1, "z": 2}}',
}


def failures(expected: dict[str, Any]) -> list[str]:
    return [said for one in expectations(expected, FIELDS) if (said := one.failure(OUTPUT)) is not None]


@pytest.mark.parametrize(
    "expected",
    [
        {"sentiment": "positive", "urgent": Plain("true"), "due": Plain("2026-01-02")},
        {"at": Plain("2026-01-02T10:00:00Z")},
        {"at": "2026-01-02 11:00:00+01:00"},
        {"at": {"any_of": ["2026-01-02T10:00"]}},
        {"confidence": 0.1 + 0.2},
        {"min_confidence": Plain("0.3"), "max_confidence": 0.3},
        {"min_price": Plain("2")},
        {"count": None},
        {"tags": ["a", "b"]},
        {"tags": {"contains": "b"}},
        {"sentiment": {"regex": "^pos"}},
        {"sentiment": {"contains": ["pos", "tive"]}},
        {"sentiment": {"any_of": ["negative", "positive"]}},
        {"address": {"zip": Plain("01067")}},
        {"address": {"city": {"regex": "^U"}}},
        {"extra": {"x": {"y": Plain("1")}}},
    ],
)
def test_an_output_as_expected(expected: dict[str, Any]) -> None:
    assert failures(expected) == []


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"sentiment": Plain("2.10")}, "sentiment is '2.10' (actual: 'positive')"),
        ({"confidence": 0.3001}, "confidence is 0.3001 (actual: 0.3)"),
        ({"min_confidence": 0.9}, "confidence at least 0.9 (actual: 0.3)"),
        ({"max_confidence": 0.2}, "confidence at most 0.2 (actual: 0.3)"),
        ({"min_count": 1}, "count at least 1 (actual: null)"),
        ({"tags": ["a"]}, """tags is ["a"] (actual: ["a", "b"])"""),
        ({"tags": {"contains": ["a", "c"]}}, "tags contains 'a' and 'c'"),
        ({"sentiment": {"regex": "^neg"}}, "sentiment matches '^neg' (actual: 'positive')"),
        ({"urgent": False}, "urgent is false (actual: true)"),
        ({"address": {"city": "Bonn"}}, "address.city is 'Bonn' (actual: 'Ulm')"),
        ({"extra": {"x": {"y": 2}}}, "extra has"),
    ],
)
def test_an_output_that_is_not(expected: dict[str, Any], words: str) -> None:
    [said] = failures(expected)
    assert words in said


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"sentimnet": "positive"}, "did you mean `sentiment`?"),
        ({"min_confidense": 1}, "did you mean `min_confidence`?"),
        ({"min_sentiment": 1}, "bounds `sentiment`, which is a text"),
        ({"sentiment": "positve"}, "did you mean `positive`?"),
        ({"confidence": "high"}, "is a number, and `high` is none"),
        ({"count": 10**400}, "a number that no output can have"),
        ({"min_confidence": math.nan}, "a number that no output can have"),
        ({"at": "yesterday"}, "`yesterday` is not a timestamp"),
        ({"urgent": "very"}, "is true or false"),
        ({"sentiment": {"regex": "("}}, "is not a regular expression"),
        ({"sentiment": {"startswith": "p"}}, "write a value, or {regex"),
        ({"sentiment": {"any_of": "positive"}}, "takes a list"),
        ({"address": {"cty": "Ulm"}}, "`address` has no field `cty`"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_asked(expected: dict[str, Any], words: str) -> None:
    with pytest.raises(Wrong) as raised:
        expectations(expected, FIELDS)
    assert words in f"{raised.value.what} {raised.value.fix}"
