"""The `offline/` provider: deterministic, free, in this process, and open about being simulated.

It lets somebody without an API key see the whole product work. It answers with the few-shot
example whose question is nearest to the one asked (cosine of token counts, weighted by how rare a
token is among the questions), or with values made up from the schema. A judge's question is
answered by comparing the texts it is shown.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from loom_dagster.gateway.lane import Reply
from loom_dagster.gateway.question import Message, Question
from loom_dagster.records import Usage

__all__ = ["Offline"]

_TOKEN = re.compile(r"\w+")
_HEAD = r"(?:OUTPUT|REFERENCE|SOURCE DOCUMENTS|QUERY|EVALUATION CRITERIA|TEXT TO FACT-CHECK|Text to evaluate)"
_SECTION = re.compile(
    rf"^({_HEAD})[^\n]*:\n(.*?)(?=\n\s*(?:{_HEAD})[^\n]*:\n|\n\s*\n(?:Your task|Provide|Evaluate|Assess)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_NEAR = 0.15  # below this no example is like the question


class Offline:
    """Answers at once and never fails. Tokens are counted as words."""

    def __init__(self) -> None:
        self._shots: dict[tuple[str, ...], _Shots] = {}

    async def send(self, question: Question, messages: Sequence[Message]) -> Reply:
        """The simulated answer."""
        asked = messages[-1]["content"]
        schema = question.schema.body if question.schema is not None else None
        if schema is not None and {"score", "explanation"} <= set(schema.get("properties", ())):
            text = orjson.dumps(_judgement(asked, schema)).decode()
        else:
            text = self._nearest(messages, asked) or _made_up(asked, schema)
        words = sum(len(_TOKEN.findall(m["content"])) for m in messages)
        usage = Usage(input_tokens=words, output_tokens=len(_TOKEN.findall(text)))
        return Reply(text=text, usage=usage, simulated=True)

    def _nearest(self, messages: Sequence[Message], asked: str) -> str | None:
        turns = [m["content"] for m in messages[:-1] if m["role"] != "system"]
        pairs = tuple(turns[: len(turns) // 2 * 2])
        if not pairs:
            return None
        shots = self._shots.get(pairs)
        if shots is None:
            shots = self._shots[pairs] = _Shots.of(pairs)
        return shots.answer(asked)


@dataclass(frozen=True, slots=True)
class _Shots:
    """Few-shot examples: the questions as weighted token vectors, and their answers."""

    rarity: Mapping[str, float]
    unseen: float
    questions: Sequence[Mapping[str, float]]
    answers: Sequence[str]

    @classmethod
    def of(cls, pairs: Sequence[str]) -> _Shots:
        asked, answers = pairs[0::2], pairs[1::2]
        counts = [Counter(_tokens(text)) for text in asked]
        seen = Counter(token for count in counts for token in count)
        # a token of every example is the template's, not the record's: it weighs nothing
        n = len(asked)
        rarity = {t: math.log((n + 1) / (df + 1)) if n > 1 else 1.0 for t, df in seen.items()}
        unseen = math.log(n + 1)
        questions = [_unit({t: c * rarity[t] for t, c in count.items()}) for count in counts]
        return cls(rarity, unseen, questions, answers)

    def answer(self, text: str) -> str:
        counts = Counter(_tokens(text))
        vector = _unit({t: c * self.rarity.get(t, self.unseen) for t, c in counts.items()})
        likeness = [sum(w * vector.get(t, 0.0) for t, w in q.items()) for q in self.questions]
        best = max(range(len(likeness)), key=likeness.__getitem__)
        if likeness[best] >= _NEAR:
            return self.answers[best]
        return self.answers[best] if likeness[best] > 0 else Counter(self.answers).most_common(1)[0][0]


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _unit(vector: Mapping[str, float]) -> Mapping[str, float]:
    length = math.sqrt(sum(w * w for w in vector.values()))
    return {t: w / length for t, w in vector.items() if w} if length else {}


def _judgement(asked: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A score from the texts in the question, in the shape the judge wants."""
    sections = {name.upper(): body.strip() for name, body in _SECTION.findall(asked)}
    output = next(
        (sections[n] for n in ("OUTPUT", "TEXT TO FACT-CHECK", "TEXT TO EVALUATE") if n in sections), asked
    )
    against = sections.get("REFERENCE") if "EVALUATION CRITERIA" not in sections else None
    if against is not None:
        score, why = _likeness(output, against), "how alike output and reference are, by their words"
    elif not output:
        score, why = 0.0, "the output is empty"
    else:
        share = int.from_bytes(hashlib.sha256(output.encode()).digest()[:2], "big") / 65535
        score, why = round(0.82 + 0.15 * share, 2), "nothing was read; a plausible number"
    made: dict[str, Any] = {"score": score, "confidence": 0.6, "explanation": f"simulated: {why}"}
    lists = [n for n, p in schema.get("properties", {}).items() if p.get("type") == "array"]
    if lists:
        made[lists[0]] = ["simulated"]
    return made


def _likeness(one: str, other: str) -> float:
    """1.0 for the same words; for single words same or not; else the cosine of the words."""
    a, b = Counter(_tokens(one)), Counter(_tokens(other))
    if a == b:
        return 1.0
    if not a or not b or min(len(a), len(b)) == 1:
        return 0.1
    dot = sum(n * b[t] for t, n in a.items())
    norm = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return round(dot / norm, 2)


def _made_up(asked: str, schema: Mapping[str, Any] | None) -> str:
    words = " ".join(asked.split()[-12:])
    if schema is None:
        return f"simulated: {words}"
    return orjson.dumps(_value(schema, words)).decode()


def _value(schema: Mapping[str, Any], words: str) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            return {name: _value(part, words) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [_value(schema.get("items", {}), words)]
        case "number" | "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 1)
            return low if kind == "integer" else min(max(0.5, low), high)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return _text(schema, words)


def _text(schema: Mapping[str, Any], words: str) -> str:
    fixed = {"date": "2000-01-01", "date-time": "2000-01-01T00:00:00Z"}
    return fixed.get(schema.get("format", ""), f"simulated: {words}")
