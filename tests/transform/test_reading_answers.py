"""An answer that holds the output, however it is dressed, gives the output."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_dagster.errors import Permanent

GOOD = '{"sentiment": "positive", "confidence": 0.9, "reasoning": "They like it"}'
OUTPUT = {"sentiment": "positive", "confidence": 0.9, "reasoning": "They like it"}


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"  \n{GOOD}\n",
        f"\ufeff{GOOD}",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"Here is the result:\n{GOOD}\nLet me know {{if}} you need more.",
        f"Using the form {{see above}}: {GOOD}",
        f"<think>Maybe {GOOD.replace('positive', 'negative')}?</think>{GOOD}",
        f'The input was {{"review": "ok"}}. Result: {GOOD}',
        f"{GOOD}\n\nAgain: {GOOD}",
        f"[{GOOD}]",
        GOOD.replace("}", ',"extra": {"a": 1}}'),
        GOOD.replace("}", ",}"),
        GOOD.replace('"', "'"),
        GOOD.replace('"sentiment"', "sentiment"),
        GOOD.replace(', "confidence"', ' "confidence"'),
        GOOD.replace("0.9", '" 0.90 "'),
        GOOD.replace("positive", " Positive "),
        GOOD.replace("positive", "POSITIVE"),
    ],
)
def test_the_object_is_found_in_what_the_model_says(sentiment, text):
    assert sentiment.parse(text) == OUTPUT


def test_columns_come_in_the_order_of_the_schema(sentiment):
    shuffled = json.dumps(dict(reversed(OUTPUT.items())))
    assert list(sentiment.parse(shuffled)) == ["sentiment", "confidence", "reasoning"]


def test_unescaped_quotes_and_newlines_inside_a_text_are_kept_as_they_are(sentiment):
    text = '{"sentiment": "positive", "confidence": 1, "reasoning": "He said "great"\nand left"}'
    assert sentiment.parse(text)["reasoning"] == 'He said "great"\nand left'


@given(st.text().filter(lambda t: t.strip()), st.floats(0, 1), st.sampled_from(["positive", "negative"]))
def test_any_text_survives_strict_json(sentiment_for_hypothesis, reasoning, confidence, choice):
    output = {"sentiment": choice, "confidence": confidence, "reasoning": reasoning}
    assert sentiment_for_hypothesis.parse(json.dumps(output)) == output


@pytest.fixture(scope="module")
def sentiment_for_hypothesis():
    from loom_dagster.spec.models import FieldSpec
    from loom_dagster.transform import OutputSchema

    return OutputSchema.of(
        {
            "sentiment": FieldSpec(type="string"),
            "confidence": FieldSpec(type="float"),
            "reasoning": FieldSpec(type="string"),
        }
    )


@pytest.mark.parametrize(
    ("field", "given_value", "wanted"),
    [
        ("float", "1", 1.0),
        ("float", '"0.95"', 0.95),
        ("float", '"-1e-3"', -0.001),
        ("integer", "5.0", 5),
        ("integer", '"12"', 12),
        ("integer", str(2**63 - 1), 2**63 - 1),
        ("boolean", '"True"', True),
        ("boolean", "false", False),
        ("date", '"2026-02-03"', date(2026, 2, 3)),
        ("timestamp", '"2026-02-03T04:05:06"', datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("timestamp", '"2026-02-03T04:05:06+02:00"', datetime(2026, 2, 3, 2, 5, 6, tzinfo=UTC)),
        ("timestamp", '"2026-02-03T04:05:06.123456Z"', datetime(2026, 2, 3, 4, 5, 6, 123456, tzinfo=UTC)),
        ("array", '["a", "b"]', ["a", "b"]),
        ({"type": "array", "items": "int"}, '["1", 2.0]', [1, 2]),
        ({"type": "array", "items": "date"}, '["2026-02-03"]', [date(2026, 2, 3)]),
        ("object", '{"a": [1, null]}', '{"a":[1,null]}'),
        ("object", r'"{\"a\": 1}"', '{"a": 1}'),
        (
            {"type": "object", "fields": {"day": "date", "n": {"type": "int", "nullable": True}}},
            '{"day": "2026-02-03", "more": 1}',
            {"day": date(2026, 2, 3), "n": None},
        ),
        ({"type": "date", "nullable": True}, "null", None),
        ({"type": "string", "enum": ["a"], "nullable": True}, "null", None),
    ],
)
def test_values_become_those_of_the_column(schema_of, field, given_value, wanted):
    schema = schema_of({"x": field})
    output = schema.parse(f'{{"x": {given_value}}}')
    assert output == {"x": wanted}
    assert type(output["x"]) is type(wanted)
    table = pa.Table.from_pylist([output], schema=schema.arrow)
    assert table.to_pylist() == [output]


def test_a_missing_nullable_field_is_none(schema_of):
    schema = schema_of({"a": "string", "b": {"type": "float", "nullable": True}})
    assert schema.parse('{"a": "x"}') == {"a": "x", "b": None}


def test_without_fields_the_text_itself_is_the_output(schema_of):
    schema = schema_of(None)
    assert schema.parse(' {"not": "parsed"} ') == {"output": ' {"not": "parsed"} '}
    assert schema.arrow.names == ["output"]
    assert not schema.structured


def test_an_output_made_by_hand_is_checked_like_an_answer(sentiment):
    made = {"sentiment": "Neutral", "confidence": 0, "reasoning": "fallback"}
    assert sentiment.check(made) == {"sentiment": "neutral", "confidence": 0.0, "reasoning": "fallback"}
    with pytest.raises(Permanent) as caught:
        sentiment.check({**made, "mood": "good"})
    assert caught.value.kind == "wrong_schema"
    assert "`mood`" in str(caught.value)
    with pytest.raises(Permanent):
        sentiment.check({"sentiment": "neutral"})


def test_a_date_made_by_hand_is_a_date(schema_of):
    assert schema_of({"d": "date"}).check({"d": date(2026, 1, 2)}) == {"d": date(2026, 1, 2)}
    assert schema_of(None).check({"output": "unknown"}) == {"output": "unknown"}
