"""``load.fallback`` without a model: fixed values, or a summary made of the record's own sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from loom_dagster.errors import Misconfigured, Permanent, Problem
from loom_dagster.prompts import check_value, render_value
from loom_dagster.spec.documents import document_key
from loom_dagster.spec.models import Fallback, Load, Summary
from loom_dagster.transform import OutputSchema, extractive_summary

__all__ = ["check_fallback", "chosen_fallback", "fallback_values"]

Values = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def chosen_fallback(load: Load, columns: Sequence[str]) -> Fallback | None:
    """``load.fallback``; of documents, where none is named, a summary of their text."""
    if load.on_failure == "fallback" and load.fallback is None and document_key(columns):
        return Fallback(summary=Summary(of="text"))
    return load.fallback


def fallback_values(fallback: Fallback | None, schema: OutputSchema) -> Values | None:
    """A function from a record's source columns to an output that fits ``schema``; None where there is none."""
    if fallback is None or fallback.model is not None:
        return None
    if fallback.summary is not None:
        return _summary(fallback.summary, schema)
    return _fixed(fallback.values or {}, schema)


def check_fallback(
    load: Load,
    columns: Sequence[str],
    schema: OutputSchema | None,
    *,
    where: Callable[..., str],
) -> Iterator[Problem]:
    """What is wrong with it, by the columns of the source and of the output."""
    outputs = [] if schema is None else list(schema.fields)
    fallback = chosen_fallback(load, columns)
    if load.on_failure == "fallback" and fallback is None:
        yield Problem(
            what="`on_failure: fallback` does not say what to fall back to, and these are no documents",
            where=where("load", "on_failure"),
            fix="add `load.fallback` with `model`, `values` or `summary`",
        )
    if fallback is not None and fallback.values is not None:
        for name, value in fallback.values.items():
            place = where("load", "fallback", "values", name)
            if name not in outputs:
                yield Problem(
                    what=f"`load.fallback` sets `{name}`, which is not an output column", where=place
                )
            if isinstance(value, str):
                yield from check_value(value, columns, where=place)
    if fallback is not None and fallback.summary is not None and schema is not None:
        yield from _check_summary(fallback.summary, columns, schema, where=where)


def _check_summary(
    summary: Summary, columns: Sequence[str], schema: OutputSchema, *, where: Callable[..., str]
) -> Iterator[Problem]:
    place = where("load", "fallback", "summary")
    if summary.of not in columns:
        known = f"the source has: {', '.join(columns[:20])}"
        yield Problem(what=f"there is no column `{summary.of}` to summarise", where=place, fix=known)
    try:
        into = _into(summary, schema)
        extractive_summary(summary.sentences)
    except Misconfigured as error:
        yield Problem(what=error.what, where=place, fix=error.fix)
        return
    for name, field in schema.fields.items():
        if name != into and not field.nullable:
            fix = f"write `nullable: true` for `{name}`"
            yield Problem(what=f"a summary gives no `{name}`, which must not be null", where=place, fix=fix)


def _into(summary: Summary, schema: OutputSchema) -> str:
    """The output column of a summary. Raises Misconfigured."""
    fields = schema.fields
    if summary.into is None and len(fields) > 1:
        known = f"the output has: {', '.join(fields)}"
        raise Misconfigured("`load.fallback.summary` does not say `into` which column", fix=known)
    into = summary.into or next(iter(fields))
    if into not in fields or fields[into].type != "string":
        raise Misconfigured(
            f"`load.fallback.summary` goes into `{into}`, which is no text column of the output"
        )
    return into


def _summary(summary: Summary, schema: OutputSchema) -> Values:
    into, shorten = _into(summary, schema), extractive_summary(summary.sentences)

    def make(columns: Mapping[str, Any]) -> Mapping[str, Any]:
        text = columns.get(summary.of)
        if not isinstance(text, str):
            raise Permanent(f"`{summary.of}` is no text to summarise", kind="empty_text")
        rest = dict.fromkeys(name for name in schema.fields if name != into)
        return schema.check({**rest, into: shorten(text)})

    return make


def _fixed(values: Mapping[str, Any], schema: OutputSchema) -> Values:
    def make(columns: Mapping[str, Any]) -> Mapping[str, Any]:
        output = {
            name: render_value(value, columns) if isinstance(value, str) else value
            for name, value in values.items()
        }
        return schema.check(output)

    return make
