"""Finds the JSON object in a model's answer that is not plain JSON: fenced, in prose, almost JSON.

The one rule: nothing is invented. Where two different objects could be meant, where an object was
cut, or where repairing would drop, add or move a letter or a digit, there is no answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

__all__ = ["find_object"]

_OBJECT_BEGINS = re.compile(r"""\{\s*(?:["']|[A-Za-z_]\w*\s*:|\}|$)""")
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_ESCAPE = re.compile(r"\\.")
_WORDS_FOR_CONSTANTS = re.compile(r"\b(?:null|none|true|false)\b", re.IGNORECASE)
_LETTERS_AND_DIGITS = re.compile(r"[^\W_0]+")  # a zero may go: 0.90 is 0.9
_NEVER_TEXT = frozenset({"", "NaN", "Infinity", "-Infinity"})  # unless it stands in quotes
_LONGEST_REPAIR = 200_000
_MOST_BRACES = 100


def find_object(text: str, wanted: frozenset[str]) -> dict[str, Any]:
    """The one object in ``text`` that has at least one of the ``wanted`` keys.

    Raises ValueError, saying why there is none.
    """
    text = text.rpartition("</think>")[2]
    found, broken = _whole_objects(text)
    counted = [(len(wanted & candidate.keys()), candidate) for candidate in found]
    most = max((count for count, _ in counted), default=0)
    if most and broken is None:
        first, *others = (candidate for count, candidate in counted if count == most)
        if any(other != first for other in others):
            raise ValueError("it holds two different objects, and which one is meant cannot be known")
        return first
    if broken is None:
        raise ValueError("there is no JSON object with the wanted fields in it")
    return _repaired(text[broken:], wanted)


def _whole_objects(text: str) -> tuple[list[dict[str, Any]], int | None]:
    """Every outermost well-formed object, and where one begins that is not well-formed."""
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    start = text.find("{")
    for _ in range(_MOST_BRACES):
        if start < 0:
            break
        try:
            _, end = decoder.raw_decode(text, start)
            found.append(orjson.loads(text[start:end]))  # refuses NaN and lone surrogates
        except (ValueError, RecursionError):
            if _OBJECT_BEGINS.match(text, start):
                return found, start  # what stands inside a broken object is not the answer
            end = start + 1
        start = text.find("{", end)
    return found, None


def _repaired(text: str, wanted: frozenset[str]) -> dict[str, Any]:
    """The object at the start of ``text`` with its punctuation put right."""
    import json_repair  # 20 ms, and most runs never need it

    end = text.rfind("}") + 1
    if not end or text[end:].lstrip().startswith(","):
        raise ValueError("the JSON object in it is cut")
    text = text[:end]
    if len(text) > _LONGEST_REPAIR:
        raise ValueError("it is not valid JSON, and too long to be repaired")
    try:
        document = json_repair.loads(text, skip_json_loads=True)
        if isinstance(document, dict) and wanted & document.keys() and _same_content(text, document, wanted):
            plain: dict[str, Any] = orjson.loads(orjson.dumps(document))
            return plain
    except (ValueError, TypeError, RecursionError):
        pass  # refused like any other that cannot be repaired
    raise ValueError("it is not valid JSON, and repairing it would mean guessing")


def _same_content(text: str, document: dict[str, Any], wanted: frozenset[str]) -> bool:
    """Whether repairing changed punctuation only."""
    if not document.keys() <= wanted:
        return False
    leaves = list(_leaves(document))
    if any(leaf in _NEVER_TEXT and f'"{leaf}"' not in text and f"'{leaf}'" not in text for leaf in leaves):
        return False
    text = _UNICODE_ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    return _content(_ESCAPE.sub(" ", text)) == _content(" ".join(leaves))


def _content(text: str) -> str:
    return "".join(_LETTERS_AND_DIGITS.findall(_WORDS_FOR_CONSTANTS.sub(" ", text)))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
    elif not isinstance(value, bool) and value is not None:
        yield repr(value)
