"""The parts of one record's story, as documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from loom_dagster.ledger.answer_reading import StoredAnswer

__all__ = ["answer_documents", "explanation_in", "score_documents"]

_LEEWAY = 1.0  # seconds between a store's clock and the ledger's


def answer_documents(
    beginnings: Sequence[bytes],
    stored: Mapping[bytes, StoredAnswer],
    samples: Mapping[bytes, int],
    *,
    record_id: str,
    ended: datetime | None,
) -> list[dict[str, Any]]:
    """Each answer that a record was made of, in order. ``state``: stored; replaced (a later run was answered anew, so the
    text is not the one that was used); gone. ``samples`` are known where the question is."""
    return [_answer(b, stored.get(b), samples.get(b), record_id, ended) for b in beginnings]


def _answer(
    beginning: bytes, stored: StoredAnswer | None, sample: int | None, record_id: str, ended: datetime | None
) -> dict[str, Any]:
    if stored is None:
        return {"key": beginning.hex(), "state": "gone"}
    replaced = ended is not None and stored.created_at > ended.timestamp() + _LEEWAY
    return {
        "key": stored.key.hex(),
        "state": "replaced" if replaced else "stored",
        "purpose": stored.purpose,
        "sample": sample,
        "model": stored.model,
        "simulated": stored.simulated,
        "text": stored.text,
        "finish": stored.finish,
        "input_tokens": stored.input_tokens,
        "output_tokens": stored.output_tokens,
        "cached_tokens": stored.cached_tokens,
        "cost_usd": stored.cost,
        "latency_s": stored.latency,
        "stored_at": datetime.fromtimestamp(stored.created_at, UTC).isoformat(timespec="seconds"),
        "asked_for": None if stored.record_id == record_id else stored.record_id,
    }


def score_documents(
    values: Mapping[str, float | None], thresholds: Mapping[str, float], answers: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Of a record that passed: each evaluator's score, and what its judge said of it."""
    return [
        {
            "name": name,
            "value": value,
            "threshold": thresholds.get(name),
            "passed": value is not None and value >= thresholds.get(name, 0.0),
            "explanation": explanation_in(answers, name),
        }
        for name, value in values.items()
    ]


def explanation_in(answers: Sequence[Mapping[str, Any]], evaluator: str) -> str:
    """What the last answer of this evaluator's judge says; empty where there is none, or it cannot be read."""
    mine = {f"evaluate:{evaluator}", f"evaluate:{evaluator}:repair"}
    for answer in reversed(answers):
        if answer.get("purpose") not in mine:
            continue
        try:
            said = orjson.loads(str(answer["text"]))
        except orjson.JSONDecodeError:
            return ""
        return str(said.get("explanation", "")) if isinstance(said, dict) else ""
    return ""
