"""Prompts that are longer than a model's context.

Without the model's tokenizer a prompt is refused before it is sent only when it cannot fit: more
than 8 bytes for every token of the window, runs of white space counted as one. (English takes about
4 bytes a token, other scripts fewer.) What lies between is sent, and the provider's own word counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from loom_dagster.errors import Permanent
from loom_dagster.gateway.question import Message

__all__ = ["estimate", "excess", "share_that_fits", "shorten"]

_MOST_BYTES = 8  # a token, on the average of a long text
_USUAL_BYTES = 4
_LIMIT = re.compile(
    r"(?:maximum|max|limit)\D{0,40}?(\d{3,})|(\d{3,})\s*(?:token\w*\s*)?(?:maximum|max|limit)", re.IGNORECASE
)


def estimate(messages: Sequence[Message]) -> int:
    """About how many tokens, for the pace of tokens a minute."""
    return sum(len(m["content"]) for m in messages) // _USUAL_BYTES + 1


def excess(messages: Sequence[Message], window: int) -> float | None:
    """The share of the prompt that can stay, when it is certain that it does not fit; else None."""
    if sum(len(m["content"]) for m in messages) * 4 <= window * _MOST_BYTES:
        return None  # a character takes at most 4 bytes
    size = sum(len(" ".join(m["content"].split()).encode("utf-8", "replace")) for m in messages)
    return window * _MOST_BYTES / size if size > window * _MOST_BYTES else None


def share_that_fits(error: Permanent) -> float:
    """How much of the prompt the provider would have taken, by the numbers in its complaint; else three quarters."""
    text = (error.why or "").replace(",", "")
    limit = _LIMIT.search(text)
    counts = [int(n) for n in re.findall(r"\d{3,}", text)]
    if limit is not None:
        share = int(limit[1] or limit[2]) / max(counts) * 0.97
        if 0 < share < 0.97:
            return share
    return 0.75


def shorten(messages: Sequence[Message], share: float) -> list[Message] | None:
    """The messages with the end of the last user message cut off, so that ``share`` of the whole is
    left; None when that message is not long enough."""
    last = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=None)
    if last is None:
        return None
    text = messages[last]["content"]
    keep = len(text) - int(sum(len(m["content"]) for m in messages) * (1 - share)) - 1
    if keep <= 0:
        return None
    return [{**m, "content": text[:keep]} if i == last else m for i, m in enumerate(messages)]
