"""Assertions: a small closed language, read before anything is asked and worked out without ``eval``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from loom_dagster.prompt_tests.kinds import Scope, check
from loom_dagster.prompt_tests.nodes import (
    Call,
    Combined,
    Compared,
    Constant,
    Listed,
    Name,
    Negated,
    Node,
    Path,
    shown,
    walk,
)
from loom_dagster.prompt_tests.parsing import parsed

__all__ = ["Expression", "Lookup", "Over", "Unknown", "parse", "value_of"]

Lookup = Callable[[Path], Any]
"""The value of a name; raises Unknown when there is none."""
Over = Callable[[Call], float]
"""The value of a call of a function over records."""


class Unknown(Exception):
    """It cannot be worked out, and why: a score that could not be had, a price nobody knows."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An assertion whose names are known and whose parts fit together."""

    text: str
    node: Node

    def holds(self, lookup: Lookup, over: Over | None = None) -> bool:
        """Whether it does. Raises Unknown."""
        found = value_of(self.node, lookup, over)
        if not isinstance(found, bool):
            raise Unknown(f"it is `{found}`, not true or false")
        return found

    def actual(self, lookup: Lookup) -> dict[str, Any]:
        """The names in it and what they are, each once; one that cannot be had is left out."""
        return dict(self._actual(lookup))

    def _actual(self, lookup: Lookup) -> Iterator[tuple[str, Any]]:
        for node in walk(self.node):
            if isinstance(node, Name):
                try:
                    yield shown(node.path), lookup(node.path)
                except Unknown:
                    continue


def parse(text: str, scope: Scope) -> Expression:
    """The assertion that ``text`` is. Raises Misconfigured (kind ``expression``) with the column."""
    node = parsed(text)
    check(node, scope, text)
    return Expression(text.strip(), node)


def value_of(node: Node, lookup: Lookup, over: Over | None = None) -> Any:
    """What ``node`` comes to; ``over`` works out functions over records. Raises Unknown."""
    match node:
        case Constant():
            return node.value
        case Listed():
            return [value_of(item, lookup, over) for item in node.items]
        case Name():
            return lookup(node.path)
        case Call():
            return _called(node, lookup, over)
        case Negated():
            value = value_of(node.operand, lookup, over)
            return not _truth(value) if node.operator == "not" else -_number(value)
        case Combined(operator="and"):
            return _truth(value_of(node.left, lookup, over)) and _truth(value_of(node.right, lookup, over))
        case Combined(operator="or"):
            return _truth(value_of(node.left, lookup, over)) or _truth(value_of(node.right, lookup, over))
        case Combined():
            left, right = value_of(node.left, lookup, over), value_of(node.right, lookup, over)
            return _reckoned(node.operator, _number(left), _number(right))
        case Compared():
            return _compared(node, value_of(node.left, lookup, over), value_of(node.right, lookup, over))


def _called(node: Call, lookup: Lookup, over: Over | None) -> Any:
    match node.function:
        case "abs":
            return abs(_number(value_of(node.arguments[0], lookup, over)))
        case "length":
            value = value_of(node.arguments[0], lookup, over)
            if isinstance(value, str | list | tuple | dict):
                return float(len(value))
            raise Unknown(f"`{value}` has no length")
        case "lower":
            value = value_of(node.arguments[0], lookup, over)
            if isinstance(value, str):
                return value.lower()
            raise Unknown(f"`{value}` is not a text")
        case _ if over is not None:
            return over(node)
        case _:
            raise Unknown(f"`{node.function}` is of many records")


def _reckoned(operator: str, left: float, right: float) -> float:
    match operator:
        case "+":
            value = left + right
        case "-":
            value = left - right
        case "*":
            value = left * right
        case _ if right == 0:
            raise Unknown("it divides by zero")
        case _:
            value = left / right
    if not math.isfinite(value):
        raise Unknown("it is too large a number")
    return value


def _compared(node: Compared, left: Any, right: Any) -> bool:
    match node.operator:
        case "==":
            return _equal(left, right)
        case "!=":
            return not _equal(left, right)
        case "in" | "not in":
            return _within(left, right) == (node.operator == "in")
    if isinstance(left, str) and isinstance(right, str):
        less, more = left < right, left > right
    else:
        less, more = _number(left) < _number(right), _number(left) > _number(right)
    match node.operator:
        case "<":
            return less
        case "<=":
            return not more
        case ">":
            return more
        case _:
            return not less


def _equal(left: Any, right: Any) -> bool:
    """True is not 1, and the text ``1`` is not the number."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _within(one: Any, many: Any) -> bool:
    if isinstance(many, str):
        return isinstance(one, str) and one in many
    if isinstance(many, list | tuple):
        return any(_equal(one, each) for each in many)
    raise Unknown(f"`{many}` is neither a list nor a text")


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise Unknown("it is too large a number") from None
        if math.isfinite(number):
            return number
    raise Unknown("it is null" if value is None else f"`{value}` is not a number")


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise Unknown("it is null" if value is None else f"`{value}` is not true or false")
