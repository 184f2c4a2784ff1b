"""Summaries without a model: the sentences of a text that say most of what is in it (Luhn's method)."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from typing import Any

from loom_dagster.errors import Misconfigured, Permanent

__all__ = ["extractive_summary"]

_MOST = 300  # sentences that are weighed: those at a document's begin
_LONG = 40  # words after which a text without full stops is cut
_END = re.compile(r"""(?<=[.!?…])["'”’)\]]*\s+(?=[^\sa-z])|(?<=[。！？])""")
_MARK = re.compile(r"^\s*([#>*+\-=_|]+\s*|\d+[.)]\s+)+")  # of Markdown and lists
_HAN = "\u3040-\u30ff\u3400-\u9fff"  # scripts without spaces: each sign counts as a word
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")


def extractive_summary(sentences: int) -> Callable[[str], str]:
    """A function from a text to its ``sentences`` most telling ones, in their order.

    Raises Misconfigured if sumy is not installed; the function raises Permanent for a text without words.
    """
    if importlib.util.find_spec("sumy") is None:
        raise Misconfigured(
            "`load.fallback.summary` needs a library that is not installed",
            fix="pip install 'loom-dagster[summaries]'",
        )

    def summary(text: str) -> str:
        found = _sentences(text)
        if not found:
            raise Permanent("there is no text to summarise", kind="empty_text")
        if len(found) > sentences:
            found = [str(sentence) for sentence in _ranked(found[:_MOST], sentences)]
        return " ".join(found)

    return summary


class _Tokenizer:
    """What sumy wants to know of a language; its own tokenizer would download data."""

    def to_words(self, text: str) -> tuple[str, ...]:
        return tuple(_WORD.findall(text.lower()))


def _ranked(found: list[str], sentences: int) -> Any:
    from sumy.models.dom import (
        ObjectDocumentModel,
        Paragraph,
        Sentence,
    )  # half a second: not before one is needed
    from sumy.summarizers.luhn import LuhnSummarizer

    tokenizer = _Tokenizer()
    document = ObjectDocumentModel([Paragraph([Sentence(text, tokenizer) for text in found])])
    return LuhnSummarizer()(document, sentences)


def _sentences(text: str) -> list[str]:
    """The sentences of a text; one that has no end is cut into pieces."""
    pieces: list[str] = []
    for part in (part for block in _blocks(text) for part in _END.split(block)):
        words = part.split()
        for at in range(0, len(words), _LONG):
            piece = " ".join(words[at : at + _LONG])
            if _WORD.search(piece):
                pieces.append(piece)
    return pieces


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs, headings and points of lists, without their marks; a line's end alone ends nothing."""
    block: list[str] = []
    for line in text.splitlines():
        mark = _MARK.match(line)
        if block and (mark or not line.strip()):
            yield " ".join(block)
            block = []
        block.append(line[mark.end() :] if mark else line)
        if line.startswith("#"):
            yield block.pop()
    yield " ".join(block)
