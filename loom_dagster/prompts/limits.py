"""How much one rendering may do, so that no template can eat the machine.

Two counters hold it all: ``steps`` (loop turns, calls, elements of lists) and ``chars`` (text that
is built on the way). Whatever could grow beyond what it was given asks here first.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from decimal import Decimal
from typing import Any

from jinja2 import Undefined

from loom_dagster.errors import Permanent
from loom_dagster.prompts.values import UNRENDERABLE, as_json, as_text

__all__ = ["MAX_OUTPUT", "Limits", "TooMuch"]

MAX_OUTPUT = 16 * 1024 * 1024
"""Characters of one rendered message."""

_STEPS = 1_000_000
_CHARS = 4 * MAX_OUTPUT
_BITS = 10_000
_WIDTH = 1_000
_SPEC = re.compile(r"%(?:\((?P<key>[^)]*)\))?[-#0 +]*(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d+))?[a-zA-Z%]")


class TooMuch(Permanent):
    """The template does more than any prompt needs."""

    kind = UNRENDERABLE


class Limits:
    """The two counters of one template, and the operations that are counted."""

    __slots__ = ("_chars", "_steps")

    def __init__(self) -> None:
        self._steps = self._chars = 0

    def reset(self) -> None:
        """A new rendering begins."""
        self._steps = self._chars = 0

    def step(self, count: int = 1) -> None:
        """``count`` more loop turns, calls or elements."""
        self._steps += count
        if self._steps > _STEPS:
            raise TooMuch(f"the template takes more than {_STEPS:,} steps", fix="loop over less")

    def chars(self, count: int) -> None:
        """``count`` more characters will be built."""
        self._chars += count
        if count > MAX_OUTPUT or self._chars > _CHARS:
            raise TooMuch(f"the template builds more than {MAX_OUTPUT:,} characters", fix="repeat less")

    def weigh(self, value: Any) -> None:
        """Count every element and character in ``value``, however often it is shared."""
        pending = [value]
        while pending:
            each = pending.pop()
            if isinstance(each, str):
                self.chars(len(each))
            elif isinstance(each, Mapping):
                self.step(len(each) + 1)
                pending += each.values()
            elif isinstance(each, list | tuple):
                self.step(len(each) + 1)
                pending += each

    def weighed(self, value: Any) -> Any:
        """``value``, counted if it is text or a collection."""
        self.weigh(value)
        return value

    def each(self, items: Any) -> Any:
        """What a loop runs over, counted."""
        if isinstance(items, Undefined):
            return items
        if isinstance(items, Sized):
            self.step(len(items))
            return items
        return self._counted(items)

    def range(self, *bounds: int) -> range:
        """The numbers of a loop."""
        numbers = range(*bounds)
        self.step(len(numbers))
        return numbers

    def text(self, value: Any) -> str:
        """The text of ``value`` as the prompt shows it."""
        return as_text(value, self.weigh)

    def json(self, value: Any, indent: Any = None) -> str:
        """The ``tojson`` filter: plain JSON, nothing escaped for HTML."""
        return as_json(value, self.weigh, indent=bool(indent))

    def concat(self, pieces: Iterable[Any]) -> str:
        """Put texts together."""
        texts = [self.text(piece) for piece in pieces]
        self.chars(sum(map(len, texts)))
        return "".join(texts)

    def join(self, items: Iterable[Any], separator: Any = "") -> str:
        """Texts with a separator between them."""
        texts = [self.text(item) for item in self.each(items)]
        glue = self.text(separator)
        self.chars(sum(map(len, texts)) + len(glue) * max(len(texts) - 1, 0))
        return glue.join(texts)

    def replace(self, value: Any, old: Any, new: Any, count: int | None = None) -> str:
        """Replace ``old`` by ``new``, ``count`` times at most."""
        text, old, new = self.text(value), self.text(old), self.text(new)
        times = text.count(old) if count is None or count < 0 else min(count, text.count(old))
        self.chars(len(text) + times * len(new))
        return text.replace(old, new, times)

    def format(self, value: Any, *args: Any, **kwargs: Any) -> str:
        """The ``format`` filter (``%.2f``), with widths and precisions up to a thousand."""
        template = self.text(value)
        for spec in _SPEC.finditer(template):
            for number in (spec["width"], spec["precision"]):
                if number is not None and (number == "*" or int(number[:9]) > _WIDTH):
                    raise TooMuch(f"`{spec[0][:40]}` formats wider than {_WIDTH} characters")
        shown = kwargs or tuple(a if isinstance(a, int | float | Decimal) else self.text(a) for a in args)
        self.weigh(shown)
        self.chars(len(template) * 2 + _WIDTH)
        return template % shown

    def pad(self, width: Any) -> int:
        """A width for ``center`` and ``indent``."""
        if not isinstance(width, int) or not 0 <= width <= _WIDTH:
            raise TooMuch(f"a width of {width!s:.40} is not one between 0 and {_WIDTH}")
        return width

    def multiply(self, left: Any, right: Any) -> Any:
        """``*``"""
        for one, other in ((left, right), (right, left)):
            if isinstance(one, int) and isinstance(other, str | list | tuple):
                self.chars(len(other) * max(one, 0))
        if isinstance(left, int) and isinstance(right, int):
            self._bits(left.bit_length() + right.bit_length())
        return self.weighed(left * right)

    def power(self, left: Any, right: Any) -> Any:
        """``**``"""
        if isinstance(left, int) and isinstance(right, int):
            self._bits(left.bit_length() * min(max(right, 0), _BITS + 1))
        return left**right

    def add(self, left: Any, right: Any) -> Any:
        """``+``"""
        if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            self.chars(len(left) + len(right))
        return self.weighed(left + right)

    def modulo(self, left: Any, right: Any) -> Any:
        """``%``, of numbers or as formatting."""
        if isinstance(left, str):
            return self.format(left, *(right if isinstance(right, tuple) else (right,)))
        return left % right

    def _bits(self, count: int) -> None:
        if count > _BITS:
            raise TooMuch(f"the template computes with numbers of more than {_BITS:,} bits")

    def _counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in itertools.chain(items):
            self.step()
            yield item
