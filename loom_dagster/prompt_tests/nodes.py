"""What an expression is made of. ``at`` is the column, from 1, at which a part begins in its text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Call",
    "Combined",
    "Compared",
    "Constant",
    "Listed",
    "Name",
    "Negated",
    "Node",
    "Path",
    "children",
    "shown",
    "walk",
    "written",
]

Path = tuple[str, ...]
"""``output.sentiment`` is ("output", "sentiment")."""

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in"]


@dataclass(frozen=True, slots=True)
class Constant:
    at: int
    value: float | str | bool | None


@dataclass(frozen=True, slots=True)
class Listed:
    at: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Name:
    at: int
    path: Path


@dataclass(frozen=True, slots=True)
class Call:
    at: int
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """``not x`` or ``-x``."""

    at: int
    operator: Literal["not", "-"]
    operand: Node


@dataclass(frozen=True, slots=True)
class Combined:
    """``at`` is where the operator stands."""

    at: int
    operator: Literal["and", "or", "+", "-", "*", "/"]
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Compared:
    """``at`` is where the operator stands."""

    at: int
    operator: Operator
    left: Node
    right: Node


Node = Constant | Listed | Name | Call | Negated | Combined | Compared


def children(node: Node) -> tuple[Node, ...]:
    """The parts of ``node``, from left to right."""
    match node:
        case Listed():
            return node.items
        case Call():
            return node.arguments
        case Negated():
            return (node.operand,)
        case Combined() | Compared():
            return (node.left, node.right)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """``node`` and all that is in it."""
    yield node
    for child in children(node):
        yield from walk(child)


def shown(path: Path) -> str:
    """As it is written: ``scores.quality``, ``scores['my check']``."""
    first, *rest = path
    return first + "".join(f".{p}" if p.isidentifier() else f"[{p!r}]" for p in rest)


def written(node: Node) -> str:
    """Back to text: what it means, not how it was laid out."""
    match node:
        case Constant(value=bool() | None as value):
            return {True: "true", False: "false", None: "null"}[value]
        case Constant(value=float() as number):
            return f"{number:g}"
        case Constant():
            return repr(node.value)
        case Listed():
            return f"[{', '.join(map(written, node.items))}]"
        case Name():
            return shown(node.path)
        case Call():
            return f"{node.function}({', '.join(map(written, node.arguments))})"
        case Negated():
            return f"not {_inside(node.operand)}" if node.operator == "not" else f"-{_inside(node.operand)}"
        case Compared():
            return f"{written(node.left)} {node.operator} {written(node.right)}"
        case Combined():
            return f"{_inside(node.left)} {node.operator} {_inside(node.right)}"


def _inside(node: Node) -> str:
    """Another operator stands around it."""
    return f"({written(node)})" if isinstance(node, Combined) else written(node)
