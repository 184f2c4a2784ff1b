"""The identity of a question: equal keys mean that the stored answer may be used."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from loom_dagster.gateway.question import Model, Question
from loom_dagster.records import to_json

__all__ = ["model_prefix", "question_key"]

_FORMAT = b"loom-question-1\0"  # another way of computing keys gets another number


def model_prefix(model: Model) -> Any:
    """The hash of what all keys of ``model`` have in common; made once, copied for every key."""
    return hashlib.sha256(_FORMAT + to_json(model.identity))


def question_key(question: Question, prefix: Any | None = None) -> bytes:
    """32 bytes over everything that determines the answer: model and parameters, messages (or
    ``identity``), schema, sample and salt. Limits, timeouts, prices and origin do not count."""
    state = model_prefix(question.model) if prefix is None else prefix.copy()
    schema = question.schema.digest if question.schema is not None else b""
    if question.identity is not None:
        state.update(b"\0identity\0" + len(question.identity).to_bytes(8, "big") + question.identity)
    else:
        messages = orjson.dumps(list(question.messages), option=orjson.OPT_SORT_KEYS)
        state.update(b"\0messages\0" + len(messages).to_bytes(8, "big") + messages)
    state.update(b"%d\0%s\0%s" % (question.sample, schema, question.salt.encode()))
    key: bytes = state.digest()
    return key
