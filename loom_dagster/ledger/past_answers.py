"""What earlier answers of a pipeline came to: read from the answer store, which is neither made nor written for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from loom_dagster.ledger.answer_place import AnswerPlace

__all__ = ["PastAnswer", "past_answers", "past_texts"]

_MOST = 20_000
_RECENT = """
SELECT model, purpose, prompt, record_id, input_tokens, cached_tokens, output_tokens
FROM {table} WHERE pipeline = ? AND NOT simulated ORDER BY {newest} LIMIT ?
"""
_TEXTS = """
SELECT text FROM {table}
WHERE pipeline = ? AND purpose = 'transform' AND NOT simulated AND finish = 'stop' ORDER BY {newest} LIMIT ?
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


def past_answers(place: AnswerPlace, pipeline: str, most: int = _MOST) -> Sequence[PastAnswer]:
    """The newest ones of ``pipeline`` in the store at ``place``; none when it is not there."""
    query = _RECENT.format(table=place.table, newest=place.newest)
    return [PastAnswer(*row) for row in place.rows(query, (pipeline, most))]


def past_texts(place: AnswerPlace, pipeline: str, most: int) -> Sequence[str]:
    """The newest answers to its prompt, as they came."""
    query = _TEXTS.format(table=place.table, newest=place.newest)
    return [row[0] for row in place.rows(query, (pipeline, most))]
