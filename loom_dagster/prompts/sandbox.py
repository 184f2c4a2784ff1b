"""Jinja2 with nothing in it that reaches out, surprises, or grows without bound.

Columns and contexts are resolved when a template is compiled (see ``rewrite``), so at run time
there is no object here whose methods a template could reach; values have a short list of harmless ones.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from typing import Any

from jinja2 import StrictUndefined, Undefined
from jinja2.filters import FILTERS, do_indent
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from loom_dagster.prompts.limits import Limits

__all__ = ["GLOBALS", "Sandbox"]

GLOBALS = ("dict", "namespace", "range")

_CALL = 10  # a call costs about as much as ten turns of a loop
_FILTERS = (
    *("abs", "capitalize", "count", "dictsort", "first", "float", "groupby", "int", "items", "last"),
    *("length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round"),
    *("select", "selectattr", "sort", "sum", "title", "trim", "truncate", "unique", "upper"),
    *("urlencode", "wordcount"),
)
_TEXT_METHODS = frozenset(
    {"capitalize", "count", "endswith", "find", "isalpha", "isdigit", "islower", "isnumeric", "isspace"}
    | {"isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rpartition", "rsplit"}
    | {"rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper"}
)
_TIME_METHODS = frozenset(
    {"date", "day", "hour", "isoformat", "isoweekday", "minute", "month", "second", "strftime", "time"}
    | {"timestamp", "weekday", "year"}
)


class Sandbox(ImmutableSandboxedEnvironment):
    """One template's environment; ``limits`` counts what its rendering does."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        self.limits = limits = Limits()
        super().__init__(undefined=StrictUndefined, finalize=limits.text, optimized=False, cache_size=0)
        self.globals = {"dict": self._dict, "namespace": Namespace, "range": limits.range}
        self.filters = {name: self._checked(FILTERS[name]) for name in _FILTERS} | self._own_filters()
        self._operators: Mapping[str, Callable[[Any, Any], Any]] = {
            "*": limits.multiply,
            "**": limits.power,
            "+": limits.add,
            "%": limits.modulo,
        }

    def concat(self, pieces: Iterable[Any]) -> str:
        """What blocks and macros are put together with."""
        return self.limits.concat(pieces)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``x.name``: a field of a struct, or a harmless method of a text or a date."""
        if isinstance(obj, Mapping):
            return self.getitem(obj, attribute)
        if isinstance(obj, str):
            if attribute == "replace":
                return functools.partial(self.limits.replace, obj)
            if attribute == "join":
                return lambda items: self.limits.join(items, obj)
        allowed = (
            (isinstance(obj, str) and attribute in _TEXT_METHODS)
            or (isinstance(obj, date | time) and attribute in _TIME_METHODS)
            or (isinstance(obj, LoopContext | Namespace) and not attribute.startswith("_"))
        )
        if allowed:
            return super().getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``x[name]``: an element, never an attribute."""
        try:
            return obj[argument]
        except (TypeError, LookupError):
            if isinstance(obj, Mapping) and argument in ("items", "keys", "values"):
                hint = f"there is no field `{argument}`; for the pairs of a struct write `x | items`"
                return self.undefined(hint)
            return self.undefined(obj=obj, name=argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063 - as Jinja has it
        """Every call counts."""
        __self.limits.step(_CALL)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The operators that can make much out of little."""
        return self._operators[operator](left, right)

    def _own_filters(self) -> dict[str, Callable[..., Any]]:
        limits = self.limits
        return {
            "_loom_concat": lambda *pieces: limits.concat(pieces),
            "_loom_each": limits.each,
            "_loom_weigh": limits.weighed,
            "center": lambda value, width=80: limits.text(value).center(limits.pad(width)),
            "d": _default,
            "default": _default,
            "e": lambda value: html.escape(limits.text(value)),
            "escape": lambda value: html.escape(limits.text(value)),
            "format": limits.format,
            "indent": self._indent,
            "join": self._join,
            "replace": limits.replace,
            "string": limits.text,
            "tojson": limits.json,
        }

    def _checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        limits = self.limits

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            return limits.weighed(function(*args, **kwargs))

        return checked

    def _dict(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        made: dict[Any, Any] = self.limits.weighed(dict(*args, **kwargs))
        return made

    def _indent(self, value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> str:
        text = self.limits.text(value)
        if not isinstance(width, str):
            width = " " * self.limits.pad(width)
        self.limits.chars(len(text) + (text.count("\n") + 1) * len(width))
        return str(do_indent(text, width, first, blank))

    def _join(self, value: Iterable[Any], d: Any = "", attribute: Any = None) -> str:
        items = self.limits.each(value)
        if attribute is not None:
            items = [self.getitem(item, attribute) for item in items]
        return self.limits.join(items, d)


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    """``default``, for null as well as for what is not there."""
    missing = isinstance(value, Undefined) or value is None
    return default_value if missing or (boolean and not value) else value
