"""Stored answers, read for people: with whom they were for, and when they were stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from loom_dagster.ledger.answer_place import AnswerPlace
from loom_dagster.ledger.answers import COLUMNS

__all__ = ["StoredAnswer", "read_answers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """As in the store. ``cost`` in USD (None: unknown), ``latency`` in seconds, ``created_at`` in UNIX seconds; pipeline,
    record and prompt are those it was asked for first."""

    key: bytes
    model: str
    text: str
    finish: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: float | None
    latency: float
    simulated: bool
    created_at: float
    pipeline: str
    record_id: str
    purpose: str
    prompt: str


def read_answers(place: AnswerPlace, beginnings: Iterable[bytes]) -> dict[bytes, StoredAnswer]:
    """The answers whose keys begin so, by these beginnings; what is not there is left out. The store at ``place`` is
    neither made nor written. Raises Misconfigured when it cannot be read."""
    found: dict[bytes, StoredAnswer] = {}
    # a key is its own index: those that begin so lie between two values
    query = f"SELECT {', '.join(COLUMNS)} FROM {place.table} WHERE key >= ? AND key < ? ORDER BY key LIMIT 1"  # noqa: S608
    for beginning in dict.fromkeys(beginnings):
        for row in place.rows(query, (beginning, _after(beginning))):
            values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
            found[beginning] = StoredAnswer(**{**values, "simulated": bool(values["simulated"])})
    return found


def _after(beginning: bytes) -> bytes:
    """Greater than every key of 32 bytes that begins so."""
    return beginning + b"\xff" * 33
