"""The text of an expression, cut into words; with bounds, so that no text takes long."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from loom_dagster.errors import Misconfigured

__all__ = ["LONGEST", "Token", "refused", "tokens"]

LONGEST = 2_000
"""Characters of one expression."""
_MOST = 400  # words: what is left to its right is one level deeper with each

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>==|!=|<=|>=|[<>+\-*/().,\[\]])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t"}
_MEANT = {"=": "==", "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not", "<>": "!=", "**": ""}
_SIGNS = re.compile(r"[=&|!<>*]+")
_LONGEST_NUMBER = 40

Sort = Literal["number", "text", "word", "sign", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """``value`` is the number, the text without its quotes, the word or the sign."""

    sort: Sort
    value: float | str
    at: int


def refused(text: str, at: int, what: str, fix: str | None = None) -> Misconfigured:
    """The error for something at column ``at`` of the expression ``text``."""
    shown = text if len(text) <= 80 else text[:77] + "..."
    return Misconfigured(f"`{shown}`, column {at}: {what}", fix=fix, kind="expression")


def tokens(text: str) -> list[Token]:
    """The words of ``text`` and the end. Raises Misconfigured (kind ``expression``)."""
    if len(text) > LONGEST:
        raise refused(text, LONGEST, f"an expression has {LONGEST:,} characters at most")
    found: list[Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise _stranger(text, place)
        found.append(_token(text, match, match.lastgroup))
        place = match.end()
        if len(found) > _MOST:
            raise refused(text, found[-1].at, f"an expression has {_MOST} words and signs at most")
    found.append(Token("end", "", end + 1))
    return found


def _token(text: str, match: re.Match[str], sort: str) -> Token:
    said, at = match[sort], match.start(sort) + 1
    if sort == "text":
        return Token("text", _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), said[1:-1]), at)
    if sort == "word":
        return Token("word", said, at)
    if sort == "sign":
        signs = _SIGNS.match(text, match.start(sort))
        if signs is not None and signs[0] in _MEANT:
            raise _stranger(text, match.start(sort))
        return Token("sign", said, at)
    value = float(said) if len(said) <= _LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise refused(text, at, "the number is too large or too long")
    return Token("number", value, at)


def _stranger(text: str, place: int) -> Misconfigured:
    place += len(text[place:]) - len(text[place:].lstrip())
    signs = _SIGNS.match(text, place)
    said = signs[0] if signs is not None else text[place]
    if said in "'\"":
        return refused(text, place + 1, "the text that begins here does not end", f"close it with {said}")
    fix = f"write `{_MEANT[said]}`" if _MEANT.get(said) else None
    return refused(text, place + 1, f"`{said}` means nothing here", fix)
