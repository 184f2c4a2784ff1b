"""What does not hold the output is refused, with the reason; nothing is ever made up."""

from __future__ import annotations

import pytest

from loom_dagster.errors import Misconfigured, Permanent

GOOD = '{"sentiment": "positive", "confidence": 0.9, "reasoning": "They like it"}'


def refusal(schema, text):
    with pytest.raises(Permanent) as caught:
        schema.parse(text)
    assert caught.value.raw == text
    return caught.value


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_answer_is_no_output(sentiment, schema_of, text):
    assert refusal(sentiment, text).kind == "empty_answer"
    assert refusal(schema_of(None), text).kind == "empty_answer"


@pytest.mark.parametrize(
    "text",
    [
        "I cannot tell.",
        '"positive"',
        "42",
        "null",
        "[]",
        '{"sentiment": "positive", "confidence": 0.9, "reasoning": "cut he',
        '{"reasoning": "x", "sentiment": {"a": 1}, "confidence": 0.9, "reas',
        GOOD.replace("0.9", ""),
        GOOD.replace("0.9", "1e400"),
        GOOD.replace('"They like it"', r'"\ud800"'),
        GOOD.replace('"They like it"', "NaN"),
        f"{GOOD} // or so: {{'sentiment': 'neg",
        f"Either {GOOD} or {GOOD.replace('positive', 'negative')}",
        # what stands inside a broken object is not the answer
        '{"reasoning": oops ], "inner": {"sentiment": "positive", "confidence": 1, "reasoning": "x"}',
        "{" * 100_000,
        '{"sentiment":' * 20_000,
        "[" * 100_000,
    ],
)
def test_an_answer_without_one_whole_object_is_malformed(sentiment, text):
    assert refusal(sentiment, text).kind == "malformed_answer"


def test_repairing_never_drops_a_word(sentiment):
    swallowed = GOOD.replace('"They like it"', '"it" is "bad", "sentiment": "negative" really')
    assert refusal(sentiment, swallowed).kind == "malformed_answer"


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", '"NaN"', '"1e999"', '"0,95"', '"95%"', "true", "null"]
)
def test_only_a_number_is_a_number(sentiment, number):
    assert refusal(sentiment, GOOD.replace("0.9", number)).kind in ("malformed_answer", "wrong_schema")


def test_a_number_beyond_all_bounds_is_none(schema_of):
    assert refusal(schema_of({"x": "float"}), '{"x": "1e999"}').kind == "wrong_schema"


def test_every_violation_is_named(schema_of):
    schema = schema_of(
        {
            "mood": {"type": "string", "enum": ["good", "bad"]},
            "score": {"type": "float", "maximum": 1},
            "code": {"type": "string", "pattern": "^[A-Z]+$"},
            "n": "integer",
            "day": "date",
            "at": "timestamp",
            "meta": "object",
            "tags": "array",
            "inner": {"type": "object", "fields": {"a": "int", "b": "int"}},
            "missing": "string",
        }
    )
    error = refusal(
        schema,
        '{"mood": "so-so", "score": 7, "code": "x1", "n": 99999999999999999999, "day": "tomorrow", '
        '"at": "0001-01-01T00:00:00+14:00", "meta": "[]", "tags": ["a", 5], "inner": {"a": "x"}}',
    )
    assert error.kind == "wrong_schema"
    for part in ("`mood`", "`score`", "`code`", "`n`", "`day`", "`at`", "`meta`", "`tags[1]`", "`inner.a`"):
        assert part in str(error)
    assert "`inner.b` is missing" in str(error)
    assert "`missing` is missing" in str(error)


def test_a_long_value_is_shortened_in_the_reason(sentiment):
    error = refusal(sentiment, GOOD.replace("positive", "p" * 100_000))
    assert len(str(error)) < 1000


def test_an_integer_must_fit_the_column(schema_of):
    assert refusal(schema_of({"n": "integer"}), f'{{"n": {2**63}}}').kind == "wrong_schema"
    assert refusal(schema_of({"n": "integer"}), f'{{"n": "{-(2**63) - 1}"}}').kind == "wrong_schema"
    assert refusal(schema_of({"n": "integer"}), '{"n": 1.5}').kind == "wrong_schema"
    assert refusal(schema_of({"n": "integer"}), '{"n": true}').kind == "wrong_schema"


def test_an_ambiguous_choice_is_not_guessed(schema_of):
    schema = schema_of({"code": {"type": "string", "enum": ["us", "US", "de"]}})
    assert schema.parse('{"code": "US"}') == {"code": "US"}
    assert schema.parse('{"code": "DE"}') == {"code": "de"}
    assert refusal(schema, '{"code": "Us"}').kind == "wrong_schema"


def test_text_that_no_file_can_hold_is_malformed(schema_of):
    assert refusal_of_surrogate(schema_of(None)).kind == "malformed_answer"


def refusal_of_surrogate(schema):
    with pytest.raises(Permanent) as caught:
        schema.parse("caf\ud800")
    return caught.value


def test_a_pattern_that_does_not_compile_is_known_before_the_first_call(schema_of):
    with pytest.raises(Misconfigured, match="pattern"):
        schema_of({"x": {"type": "string", "pattern": "["}})


def test_a_catastrophic_pattern_ends(schema_of):
    schema = schema_of({"x": {"type": "string", "pattern": "(x+x+)+y(?!z)"}})
    assert refusal(schema, f'{{"x": "{"x" * 40}"}}').kind == "wrong_schema"
