"""How long answers will be: as earlier ones were, else as the examples of the prompt are, else as the schema allows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Length", "of_answers", "of_examples", "of_schema", "of_text", "typical"]

_FEW = 8  # answers: fewer say little
_WORDS = {
    "short": 1,
    "typical": 20,
    "long": 120,
    "text": 200,
}  # of a text that nothing is known of; of an answer that is one
_ITEMS = {"short": 0, "typical": 2, "long": 8, "text": 2}
_SIZES = ("short", "typical", "long")


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Tokens of an answer. Known from ``seen`` answers: ``mean`` and ``deviation``; else guessed, and between ``low`` and
    ``high``. ``source`` in words."""

    mean: float
    deviation: float
    seen: int
    low: float
    high: float
    source: str

    @property
    def guessed(self) -> bool:
        return self.seen == 0


def of_answers(tokens: Sequence[int], source: str) -> Length | None:
    """As earlier answers; None when there are too few."""
    n = len(tokens)
    if n < _FEW:
        return None
    mean = sum(tokens) / n
    deviation = math.sqrt(sum((t - mean) ** 2 for t in tokens) / (n - 1))
    return Length(mean=mean, deviation=deviation, seen=n, low=min(tokens), high=max(tokens), source=source)


def of_examples(tokens: Sequence[int], most: int) -> Length | None:
    """As the answers of few-shot examples, half as long or twice as long; None without any."""
    if not tokens:
        return None
    mean = min(sum(tokens) / len(tokens), most)
    n = len(tokens)
    return Length(
        mean=mean,
        deviation=0.0,
        seen=0,
        low=min(tokens) / 2,
        high=min(2 * max(tokens), most),
        source=f"guessed from the prompt's {n} example{'s' if n > 1 else ''}",
    )


def of_schema(body: Mapping[str, Any], count: Callable[[str], int], most: int) -> Length:
    """As documents that fit the schema, with short, typical and long texts."""
    sizes = {
        size: min(count(json.dumps(typical(body, size=size), ensure_ascii=False)), most) for size in _SIZES
    }
    return Length(
        mean=_of_choices(body, count, sizes["typical"], most),
        deviation=0.0,
        seen=0,
        low=min(sizes.values()),
        high=max(sizes.values()),
        source="guessed from the schema",
    )


def of_text(most: int) -> Length:
    """Of a free text nothing is known but that it ends at ``most``."""
    mean = min(_WORDS["text"], most)
    return Length(
        mean=mean,
        deviation=0.0,
        seen=0,
        low=_WORDS["short"],
        high=most,
        source="guessed: free text, up to max_tokens",
    )


def _of_choices(body: Mapping[str, Any], count: Callable[[str], int], size: int, most: int) -> float:
    """``size`` with the average of the values of each enum in place of its first one."""
    extra = 0.0
    for part in body.get("properties", {}).values():
        choices = part.get("enum") or ()
        if choices:
            sizes = [count(str(choice)) for choice in choices]
            extra += sum(sizes) / len(sizes) - sizes[0]
    return min(max(size + extra, 1.0), float(most))


def typical(schema: Mapping[str, Any], *, size: str = "typical", variant: int = 0) -> Any:
    """A value that fits ``schema`` (a JSON schema), with texts and lists of that ``size``; another ``variant`` is another
    value, where there are several."""
    return _Typical(schema, size, variant).value(schema)


@dataclass(frozen=True, slots=True)
class _Typical:
    root: Mapping[str, Any]
    size: str
    variant: int

    def value(self, schema: Mapping[str, Any]) -> Any:
        if ref := schema.get("$ref"):
            return self.value(self.root.get("$defs", {}).get(str(ref).rpartition("/")[2], {}))
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self.value(next((s for s in schema[several] if s.get("type") != "null"), {}))
        if choices := schema.get("enum"):
            return choices[self.variant % len(choices)]
        kinds = schema.get("type", "string")
        kind = next((k for k in kinds if k != "null"), "null") if isinstance(kinds, list) else kinds
        match kind:
            case "object":
                return {name: self.value(part) for name, part in schema.get("properties", {}).items()}
            case "array":
                return [self.value(schema.get("items", {})) for _ in range(_ITEMS[self.size])]
            case "number":
                return min(round(0.87 - self.variant / 1000, 3), schema.get("maximum", 1))
            case "integer":
                return 42 + self.variant
            case "boolean":
                return self.variant % 2 == 0
            case "null":
                return None
            case _:
                return self._text(schema)

    def _text(self, schema: Mapping[str, Any]) -> str:
        given = {"date": "2026-01-01", "date-time": "2026-01-01T10:00:00Z", "time": "10:00:00"}
        if schema.get("format") in given:
            return given[schema["format"]]
        words = [str(self.variant)] * (self.variant > 0) + ["word"] * _WORDS[self.size]
        text = " ".join(words)
        return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), "x")
