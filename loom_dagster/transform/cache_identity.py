"""``cache.key_fields``: which of a record's columns make its question a different one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence

from loom_dagster.errors import Problem
from loom_dagster.records import Record, digest
from loom_dagster.spec.models import Cache

__all__ = ["check_key_fields", "key_columns", "record_identity"]

# May be listed, and count whether listed or not.
_ALWAYS = frozenset(
    {
        "model",
        "model_version",
        "prompt",
        "prompt_version",
        "context",
        "context_version",
        "parameters",
        "temperature",
        "max_tokens",
        "top_p",
        "seed",
        "schema",
    }
)


def check_key_fields(
    cache: Cache, columns: Collection[str], *, where: Callable[..., str | None] = lambda *_: None
) -> tuple[Problem, ...]:
    """A problem for each of ``key_fields`` that is neither a column nor a word that always counts."""
    problems = []
    place = where("transform", "cache", "key_fields")
    for name in cache.key_fields:
        if name not in columns and name not in _ALWAYS:
            near = difflib.get_close_matches(name, [*columns, *_ALWAYS], n=1)
            fix = f"did you mean `{near[0]}`?" if near else f"columns: {', '.join(sorted(columns))}"
            problems.append(
                Problem(what=f"cache.key_fields names `{name}`, which the source lacks", where=place, fix=fix)
            )
    return tuple(problems)


def key_columns(cache: Cache, record: Record) -> tuple[str, ...]:
    """The columns that ``key_fields`` names; empty when it narrows nothing.

    Without a column of the record every record would be one question, so then nothing is narrowed;
    nor when a named column is missing.
    """
    named = tuple(name for name in cache.key_fields if name in record.columns or name not in _ALWAYS)
    return named if all(name in record.columns for name in named) else ()


def record_identity(fixed: bytes, columns: Sequence[str], record: Record, said: Sequence[str]) -> bytes:
    """What stands for the messages in the answer's key: ``fixed`` (prompt and contexts), the named
    columns, and what was said after the rendered prompt."""
    return digest(fixed, {name: record.columns[name] for name in columns}, list(said))
