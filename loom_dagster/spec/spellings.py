"""The other ways to write things that load as well: short forms, and those of the first Loom.

Each function is run before validation and gives the canonical form; what it does not know it
hands on unchanged, so that validation reports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom_dagster.spec.scalars import resolve

__all__ = [
    "FIELD_TYPES",
    "PRESETS",
    "budget_as_mapping",
    "evaluate_as_mapping",
    "evaluator_as_mapping",
    "field_as_mapping",
    "gate_as_mapping",
    "incremental_as_mapping",
    "keyed_by_path",
    "lift_gate",
    "one_or_many",
    "timeout_as_mapping",
]

PRESETS: Mapping[str, Mapping[str, str]] = {
    "semantic": {"type": "semantic"},
    "factuality": {"type": "factuality"},
    "groundedness": {"type": "groundedness"},
    "relevance": {"type": "relevance"},
    "completeness": {
        "type": "custom_criteria",
        "criteria": "Complete: every important point of the reference context that the task asks for "
        "is in the output.",
    },
    "no_hallucination": {
        "type": "custom_criteria",
        "criteria": "No hallucination: everything the output states is supported by the reference context.",
    },
    "attribution": {
        "type": "custom_criteria",
        "criteria": "Attribution: every claim in the output names the source in the reference context "
        "that it comes from.",
    },
}

FIELD_TYPES: Mapping[str, str] = {
    "bool": "boolean",
    "datetime": "timestamp",
    "double": "float",
    "int": "integer",
    "json": "object",
    "list": "array",
    "number": "float",
    "str": "string",
    "text": "string",
}
"""Other words for the types of output columns."""


def one_or_many(value: Any) -> Any:
    """``id`` means ``[id]``."""
    return (value,) if isinstance(value, str) else value


def incremental_as_mapping(value: Any) -> Any:
    """``true`` takes new files, ``false`` is as if it were not there."""
    value = resolve(value)
    return {} if value is True else None if value is False else value


def timeout_as_mapping(value: Any) -> Any:
    """``timeout: 30`` is the total, and no read may take longer."""
    if isinstance(value, str | int | float):
        return {"total": value, "read": value}
    return value


def budget_as_mapping(value: Any) -> Any:
    """``cost_budget: 10.00`` is a run's."""
    return {"run": value} if isinstance(value, str | int | float) else value


def gate_as_mapping(value: Any) -> Any:
    """``all_pass`` means ``{type: all_pass}``."""
    return {"type": value} if isinstance(value, str) else value


def field_as_mapping(value: Any) -> Any:
    """``float`` means ``{type: float}``; int, number, bool, list, ... are understood."""
    if isinstance(value, str):
        value = {"type": value}
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        return {**value, "type": FIELD_TYPES.get(value["type"], value["type"])}
    return value


def evaluator_as_mapping(value: Any) -> Any:
    """A preset's name, options under ``config:``, no ``name``: all become one flat mapping."""
    if isinstance(value, str):
        value = {"name": str(value), **PRESETS[value]} if value in PRESETS else {"type": value}
    if not isinstance(value, Mapping):
        return value
    flat = dict(value)
    config = flat.pop("config", None)
    if isinstance(config, Mapping):
        for key, option in config.items():
            if key in flat and flat[key] != option:
                raise ValueError(f"`{key}` stands both beside and under `config:`; keep one")
            flat[key] = option
    elif config is not None:
        flat["config"] = config
    kind = flat.get("type")
    if isinstance(kind, str) and kind in PRESETS and PRESETS[kind]["type"] != kind:
        flat = {"name": str(kind), **PRESETS[kind], **flat, "type": PRESETS[kind]["type"]}
    if isinstance(kind, str):
        flat.setdefault("name", str(kind))
    return flat


def evaluate_as_mapping(value: Any) -> Any:
    """A plain list is the list of evaluators."""
    return {"evaluators": value} if isinstance(value, list | tuple) else value


def keyed_by_path(extract: Any) -> Any:
    """Documents are known by their path, unless something else is said."""
    if isinstance(extract, Mapping) and extract.get("format") == "documents" and "key" not in extract:
        return {**extract, "key": ("path",)}
    return extract


def lift_gate(data: Any) -> Any:
    """``quality_gate`` may stand under ``load``, where the first Loom's RAG example has it."""
    if not isinstance(data, Mapping) or not isinstance(data.get("load"), Mapping):
        return data
    if "quality_gate" not in data["load"]:
        return data
    load = dict(data["load"])
    gate = load.pop("quality_gate")
    evaluate = evaluate_as_mapping(data.get("evaluate", {}))
    if isinstance(evaluate, Mapping):
        if "quality_gate" in evaluate and evaluate["quality_gate"] != gate:
            raise ValueError("`quality_gate` stands under both `evaluate` and `load`; keep one")
        evaluate = {**evaluate, "quality_gate": gate}
    return {**data, "load": load, "evaluate": evaluate}
