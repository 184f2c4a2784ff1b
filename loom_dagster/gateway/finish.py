"""What the end of an answer says of its use, and a prompt that is too long in words."""

from __future__ import annotations

from loom_dagster.errors import Permanent
from loom_dagster.gateway.question import Model
from loom_dagster.records import Answer

__all__ = ["too_long", "usable"]

_REFUSED = {"content_filter": "content_filter", "refused": "refused", "refusal": "refused"}


def usable(answer: Answer) -> Answer:
    """The answer, unless its end says that it is none. Raises Permanent."""
    finish = answer.finish
    if finish == "stop":
        return answer
    kind = _REFUSED.get(finish) or ("truncated" if finish in ("length", "max_tokens") else None)
    if kind is None:
        return answer
    what = {
        "truncated": f"the answer of {answer.model} was cut at its token limit",
        "refused": f"{answer.model} refused to answer",
        "content_filter": f"the answer of {answer.model} was filtered",
    }[kind]
    error = Permanent(
        what, raw=answer.text, kind=kind, fix="raise `max_tokens`" if kind == "truncated" else None
    )
    error.answers = (answer,)
    raise error


def too_long(model: Model, window: int | None) -> Permanent:
    """``window``: how many tokens it takes, where that is known."""
    return Permanent(
        f"the prompt is too long for {model.name}",
        why=None if window is None else f"it takes {window:,} tokens",
        fix="shorten the text, take another model, or set `on_too_long: truncate`",
        kind="too_long",
    )
