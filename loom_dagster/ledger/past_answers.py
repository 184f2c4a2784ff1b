"""What earlier answers of a pipeline came to: read from the answer store, which is neither made nor written for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from loom_dagster.errors import Misconfigured

__all__ = ["PastAnswer", "past_answers", "past_texts"]

_MOST = 20_000
_RECENT = """
SELECT model, purpose, prompt, record_id, input_tokens, cached_tokens, output_tokens
FROM answers WHERE pipeline = ? AND simulated = 0 ORDER BY rowid DESC LIMIT ?
"""
_TEXTS = """
SELECT text FROM answers
WHERE pipeline = ? AND purpose = 'transform' AND simulated = 0 AND finish = 'stop' ORDER BY rowid DESC LIMIT ?
"""


class PastAnswer(NamedTuple):
    """One answer that was paid for, without its text. ``prompt`` is ``NAME@VERSION``, empty for a judge's."""

    model: str
    purpose: str
    prompt: str
    record_id: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int


def past_answers(path: Path, pipeline: str, most: int = _MOST) -> Sequence[PastAnswer]:
    """The newest ones of ``pipeline`` in the store at ``path``; none when it is not there."""
    return [PastAnswer(*row) for row in _read(path, _RECENT, pipeline, most)]


def past_texts(path: Path, pipeline: str, most: int) -> Sequence[str]:
    """The newest answers to its prompt, as they came."""
    return [row[0] for row in _read(path, _TEXTS, pipeline, most)]


def _read(path: Path, query: str, pipeline: str, most: int) -> Sequence[tuple[Any, ...]]:
    if not path.exists():
        return []
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30.0)
        ) as connection:
            return connection.execute(query, (pipeline, most)).fetchall()
    except sqlite3.Error as error:
        raise Misconfigured("the answer store cannot be read", where=str(path), why=str(error)) from error
