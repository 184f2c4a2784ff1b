"""What the offline provider says when it is asked to judge: Arbiter's prompts, answered without a model.

With a reference to compare with, the score says how much of the words agree. Where sense would
have to be judged it is high, unless the output is empty or its mood is the opposite of the
reference's; a little of the output's hash tells the scores apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["is_judge", "verdict"]

_END = r"(?=\n\s*(?:REFERENCE[^\n]*:|SOURCE DOCUMENTS[^\n]*:|EVALUATION CRITERIA:|OUTPUT[^\n]*:|Your task:|Provide |Assess |Evaluate )|\Z)"
_OUTPUT = re.compile(
    r"^(?:OUTPUT(?: \([^)\n]*\)| TO EVALUATE)?|TEXT TO FACT-CHECK|Text to evaluate):\n(.*?)" + _END,
    re.M | re.S,
)
_COHERENCE = re.compile(
    r"^Evaluate the semantic coherence and clarity of this text:\n\n(.*?)" + _END, re.M | re.S
)
_TRUTH = re.compile(r"^REFERENCE \(ground truth\):\n(.*?)" + _END, re.M | re.S)
_CONTEXT = re.compile(
    r"^(?:REFERENCE CONTEXT|REFERENCE \(source of truth\)|SOURCE DOCUMENTS[^\n]*|QUERY[^\n]*):\n(.*?)" + _END,
    re.M | re.S,
)
_GOOD = frozenset(
    "positive good great excellent love loved loves wonderful perfect amazing best fantastic happy recommend "
    "delicious impressed enjoyed brilliant beautiful pleased awesome superb".split()
)
_BAD = frozenset(
    "negative bad terrible awful hate hated worst horrible poor disappointed disappointing broken refund waste "
    "useless never boring rude slow disgusting bland mediocre defective".split()
)
_FAULTS = ("key_differences", "criteria_not_met", "missing_points")
_UNNAMED = ("non_factual_claims", "uncertain_claims", "ungrounded_statements", "irrelevant_content")
_SHORT = 8  # words; below that a text is a label or a name
_WORD = re.compile(r"\w+")


def is_judge(schema: Mapping[str, Any] | None, asked: str) -> bool:
    """Whether a question wants a judge's verdict."""
    wanted = (schema or {}).get("properties", {})
    return "score" in wanted and "explanation" in wanted and _sections(asked) is not None


def verdict(asked: str, schema: Mapping[str, Any]) -> str:
    """The verdict as JSON that Arbiter accepts."""
    output = _sections(asked) or ""
    truth, context = _TRUTH.search(asked), _CONTEXT.search(asked)
    if not output.strip():
        score, why = 0.0, "the output is empty"
    elif truth is not None:
        score, why = _against(output, truth[1])
    else:
        score, why = _plausible(output, context[1] if context is not None else "")
    answer: dict[str, Any] = {"score": round(score, 3), "confidence": 0.6, "explanation": f"simulated: {why}"}
    for name, part in schema.get("properties", {}).items():
        if name not in answer:
            answer[name] = _entry(name, part, why, good=score >= 0.5)
    return orjson.dumps(answer).decode()


def _sections(asked: str) -> str | None:
    found = _OUTPUT.search(asked) or _COHERENCE.search(asked)
    return found[1].strip() if found else None


def _against(output: str, truth: str) -> tuple[float, str]:
    ours, theirs = _words(output), _words(truth)
    if ours == theirs:
        return 0.98, "the same as the reference"
    shared = len(set(ours) & set(theirs)) / max(1, len(set(ours) | set(theirs)))
    if len(ours) <= _SHORT and len(theirs) <= _SHORT:
        return 0.1 + 0.8 * shared, "not the same as the reference"
    return 0.2 + 0.75 * shared, f"{shared:.0%} of the words are in both"


def _plausible(output: str, context: str) -> tuple[float, str]:
    nudge = hashlib.sha256(output.encode("utf-8", "replace")).digest()[0] / 255 * 0.1 - 0.05
    if _mood(output) * _mood(context) < 0:
        return 0.35 + nudge, "the mood of the output is the opposite of what it is about"
    return 0.9 + nudge, "nothing speaks against it"


def _mood(text: str) -> int:
    words = _words(text)
    balance = sum(word in _GOOD for word in words) - sum(word in _BAD for word in words)
    return (balance > 0) - (balance < 0)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _entry(name: str, part: Mapping[str, Any], why: str, *, good: bool) -> Any:
    if part.get("type") == "array":
        if name in _UNNAMED:
            return [] if good or name == "uncertain_claims" else [why]
        return [why] if (name in _FAULTS) is not good else []
    if part.get("type") == "object" or "additionalProperties" in part:
        return {}
    return part.get("default", 0.5 if part.get("type") == "number" else f"simulated: {why}")
