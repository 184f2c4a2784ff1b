"""The JSON Schema of a pipeline's YAML, for editors: every spelling that loads, loads green."""

from __future__ import annotations

from typing import Any

from loom_dagster.spec.models import Pipeline
from loom_dagster.spec.spellings import FIELD_TYPES, PRESETS

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one pipeline file, short spellings included."""
    schema = Pipeline.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    evaluators = _evaluators(definitions)
    for each in (schema, *definitions.values()):
        _short_fields(each, definitions["FieldSpec"])
    for place in (definitions["Evaluate"]["properties"]["evaluators"], *_lists(schema)):
        place["items"] = {"anyOf": [*evaluators, {"enum": sorted(PRESETS)}]}
    gate = definitions["Evaluate"]["properties"]["quality_gate"]
    definitions["Load"]["properties"]["quality_gate"] = {k: v for k, v in gate.items() if k != "default"}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "A pipeline of loom_dagster"
    return schema


def _evaluators(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """References to the evaluators. Their options may stand under ``config:``, so which of them are
    there is for `loom validate` to say; presets are types too."""
    mapping = definitions["Evaluate"]["properties"]["evaluators"]["items"]["discriminator"]["mapping"]
    for kind, reference in mapping.items():
        evaluator = definitions[reference.rpartition("/")[2]]
        properties = evaluator["properties"]
        options = {k: v for k, v in properties.items() if k not in ("name", "type")}
        properties["config"] = {"type": "object", "properties": options, "additionalProperties": False}
        words = [kind, *(p for p, spec in PRESETS.items() if spec["type"] == kind and p != kind)]
        properties["type"] = {"enum": words}
        evaluator["required"] = ["type"]
    return [{"$ref": reference} for reference in mapping.values()]


def _lists(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The places where a plain list of evaluators stands for the whole `evaluate` block."""
    return [a for a in schema["properties"]["evaluate"].get("anyOf", []) if a.get("type") == "array"]


def _short_fields(schema: dict[str, Any], field: dict[str, Any]) -> None:
    """A column may be just its type, and types have other names."""
    words = [*field["properties"]["type"]["enum"]]
    if schema is field:
        words = [*words, *(t for t in sorted(FIELD_TYPES) if t not in words)]
        field["properties"]["type"]["enum"] = words
    names = sorted({*words, *FIELD_TYPES})
    for each in schema["properties"].values():
        _replace(each, names)


def _replace(schema: Any, names: list[str]) -> None:
    """Every reference to FieldSpec below ``schema`` also takes the name of a type."""
    if isinstance(schema, list):
        for each in schema:
            _replace(each, names)
    if not isinstance(schema, dict):
        return
    if schema.get("$ref") == "#/$defs/FieldSpec":
        del schema["$ref"]
        schema["anyOf"] = [{"$ref": "#/$defs/FieldSpec"}, {"enum": names}]
        return
    for each in schema.values():
        _replace(each, names)
