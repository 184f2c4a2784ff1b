"""The JSON schema that goes out is one that providers take as strict; the Arrow schema fits it."""

from __future__ import annotations

import jsonschema_rs
import orjson
import pyarrow as pa

FIELDS = {
    "mood": {"type": "string", "enum": ["good", "bad"], "nullable": True, "description": "How it feels"},
    "score": {"type": "float", "minimum": 0, "maximum": 1},
    "count": "int",
    "sure": "bool",
    "day": "date",
    "at": "timestamp",
    "tags": "list",
    "meta": "object",
    "place": {"type": "object", "fields": {"city": "string", "zip": {"type": "string", "pattern": "^\\d+$"}}},
    "parts": {"type": "array", "items": {"type": "object", "fields": {"n": "int"}}},
}


def every_object(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object" or "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from every_object(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from every_object(inner)


def test_every_object_is_closed_and_requires_all_it_has(schema_of):
    body = schema_of(FIELDS).body
    jsonschema_rs.meta.validate(body)
    objects = list(every_object(body))
    assert len(objects) == 3
    for one in objects:
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])


def test_what_users_write_is_what_the_provider_is_told(schema_of):
    told = schema_of(FIELDS).body["properties"]
    assert told["mood"] == {
        "type": ["string", "null"],
        "enum": ["good", "bad", None],
        "description": "How it feels",
    }
    assert told["score"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert told["count"] == {"type": "integer"}
    assert told["day"] == {"type": "string", "format": "date"}
    assert told["at"] == {"type": "string", "format": "date-time"}
    assert told["tags"] == {"type": "array", "items": {"type": "string"}}
    assert told["place"]["properties"]["zip"]["pattern"] == "^\\d+$"


def test_columns_have_their_types(schema_of):
    wanted = {
        "mood": pa.string(),
        "score": pa.float64(),
        "count": pa.int64(),
        "sure": pa.bool_(),
        "day": pa.date32(),
        "at": pa.timestamp("us", tz="UTC"),
        "tags": pa.list_(pa.string()),
        "meta": pa.string(),
        "place": pa.struct([("city", pa.string()), ("zip", pa.string())]),
        "parts": pa.list_(pa.struct([("n", pa.int64())])),
    }
    arrow = schema_of(FIELDS).arrow
    assert {field.name: field.type for field in arrow} == wanted
    assert all(field.nullable for field in arrow)


def test_the_hint_holds_the_schema(sentiment, schema_of):
    assert orjson.dumps(sentiment.body).decode() in sentiment.to_prompt_hint()
    assert "JSON" not in schema_of(None).to_prompt_hint()
