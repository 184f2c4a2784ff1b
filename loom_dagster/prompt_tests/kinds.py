"""What the names of an expression mean, and whether its parts fit together: known before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from loom_dagster.errors import Misconfigured
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
)
from loom_dagster.prompt_tests.tokens import refused
from loom_dagster.spec import nearest

__all__ = ["ANY", "BOOLEAN", "NUMBER", "TEXT", "Function", "Kind", "Scope", "check"]

Sort = Literal["number", "text", "boolean", "list", "object", "null", "any"]
_WORDS: Mapping[Sort, str] = {
    "number": "a number",
    "text": "a text",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object",
    "null": "null",
    "any": "anything",
}


_COUNTED = "`fraction({} == ...) > 0.8`"
_TOGETHER: Mapping[Sort, str] = {
    "number": "`mean({0})`, `fraction({0} > 0.8)`",
    "boolean": "`fraction({}) > 0.8`",
}
"""How something of one record becomes something of many."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is. ``choices``: the only ones it can be."""

    sort: Sort
    choices: tuple[object, ...] = ()


NUMBER, TEXT, BOOLEAN, ANY = Kind("number"), Kind("text"), Kind("boolean"), Kind("any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """``takes``: the sort of each argument, at least ``needs`` of them. ``over`` records: an argument is worked out for
    each of them, all but ``constant`` ones, which are numbers."""

    takes: tuple[Sort, ...]
    gives: Kind
    needs: int = 1
    over: bool = False
    constant: tuple[int, ...] = ()


_OF_VALUES: Mapping[str, Function] = {
    "abs": Function(takes=("number",), gives=NUMBER),
    "length": Function(takes=("any",), gives=NUMBER),
    "lower": Function(takes=("text",), gives=TEXT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What may be named: ``names`` everywhere; those of one record, ``of_record``, within a function over records
    only. ``open``: first words below which anything may be named, such as an ``input`` whose columns are not known.
    ``absent``: names that could be there, and why they are not."""

    names: Mapping[Path, Kind] = field(default_factory=dict)
    of_record: Mapping[Path, Kind] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    open: frozenset[str] = frozenset()
    absent: Mapping[Path, str] = field(default_factory=dict)

    def within(self) -> Scope:
        """Inside a function over records."""
        return Scope(names={**self.names, **self.of_record}, open=self.open, absent=self.absent)

    def function(self, name: str) -> Function | None:
        return self.functions.get(name) or _OF_VALUES.get(name)

    @property
    def known_functions(self) -> list[str]:
        return sorted({*self.functions, *_OF_VALUES})


def check(node: Node, scope: Scope, text: str) -> None:
    """Raises Misconfigured (kind ``expression``) unless every name is known and ``node`` is true or false."""
    kind = _Checker(text).kind(node, scope)
    if kind.sort not in ("boolean", "any"):
        what = f"this is {_WORDS[kind.sort]}, and nothing that can hold or not"
        raise refused(text, node.at, what, "compare it: `... > 0.8`")


@dataclass(frozen=True, slots=True)
class _Checker:
    text: str

    def kind(self, node: Node, scope: Scope) -> Kind:
        match node:
            case Constant(value=bool()):
                return BOOLEAN
            case Constant(value=None):
                return Kind("null")
            case Constant(value=str()):
                return TEXT
            case Constant():
                return NUMBER
            case Listed():
                return self._listed(node, scope)
            case Name():
                return self._name(node, scope)
            case Call():
                return self._call(node, scope)
            case Negated():
                sort: Sort = "boolean" if node.operator == "not" else "number"
                self._want(node.operand, scope, sort, f"`{node.operator}`")
                return Kind(sort)
            case Combined():
                sort = "boolean" if node.operator in ("and", "or") else "number"
                for side in (node.left, node.right):
                    self._want(side, scope, sort, f"`{node.operator}`")
                return Kind(sort)
            case Compared():
                return self._compared(node, scope)

    def _name(self, node: Name, scope: Scope) -> Kind:
        found = scope.names.get(node.path)
        if found is not None:
            return found
        # below a value of which nothing is known, anything may be
        above = (scope.names.get(node.path[:size]) for size in range(1, len(node.path)))
        if any(kind == ANY for kind in above) or (node.path[0] in scope.open and len(node.path) > 1):
            return ANY
        said = shown(node.path)
        if node.path in scope.absent:
            raise self._wrong(node.at, f"there is no `{said}`: {scope.absent[node.path]}")
        if node.path in scope.of_record:
            fix = f"take it together: {_TOGETHER.get(scope.of_record[node.path].sort, _COUNTED).format(said)}"
            raise self._wrong(node.at, f"`{said}` is of one record, and this is of many", fix)
        if scope.function(node.path[0]) is not None:
            raise self._wrong(node.at, f"`{said}` is a function", f"write `{said}(...)`")
        known = [shown(path) for path in (*scope.names, *scope.of_record)]
        raise self._wrong(node.at, f"there is no `{said}`", nearest(said, known))

    def _call(self, node: Call, scope: Scope) -> Kind:
        function = scope.function(node.function)
        if function is None:
            what = f"there is no function `{node.function}` here"
            raise self._wrong(node.at, what, nearest(node.function, scope.known_functions))
        count, most = len(node.arguments), len(function.takes)
        if not function.needs <= count <= most:
            wanted = str(most) if function.needs == most else f"{function.needs} to {most}"
            what = f"`{node.function}` takes {wanted} argument{'s' if most != 1 else ''}, not {count}"
            raise self._wrong(node.at, what)
        for index, (argument, sort) in enumerate(zip(node.arguments, function.takes, strict=False)):
            if index in function.constant:
                self._constant(node, argument)
            inside = scope.within() if function.over else scope
            self._want(argument, inside, sort, f"`{node.function}`")
        return function.gives

    def _constant(self, call: Call, argument: Node) -> None:
        number = argument.value if isinstance(argument, Constant) else None
        if isinstance(number, float) and (number == 0 or 1 < number <= 100):
            return
        fix = f"write {number * 100:g}" if isinstance(number, float) and 0 < number <= 1 else None
        what = f"`{call.function}` takes a number from 0 to 100 here"
        raise self._wrong(argument.at, what, fix)

    def _listed(self, node: Listed, scope: Scope) -> Kind:
        for item in node.items:
            self.kind(item, scope)
        return Kind("list")

    def _compared(self, node: Compared, scope: Scope) -> Kind:
        left, right = self.kind(node.left, scope), self.kind(node.right, scope)
        if node.operator in ("in", "not in"):
            self._contained(node, left, right)
        elif node.operator in ("==", "!="):
            if "any" not in (left.sort, right.sort) and "null" not in (left.sort, right.sort):
                self._same(node, left, right)
        else:
            for side, kind in ((node.left, left), (node.right, right)):
                if kind.sort not in ("number", "text", "any"):
                    what = f"`{node.operator}` compares numbers, or texts, and this is {_WORDS[kind.sort]}"
                    raise self._wrong(side.at, what)
            if "any" not in (left.sort, right.sort):
                self._same(node, left, right)
        if node.operator in ("==", "!=") or isinstance(node.right, Listed):
            self._possible(left, node.right)
            self._possible(right, node.left)
        return BOOLEAN

    def _contained(self, node: Compared, left: Kind, right: Kind) -> None:
        if right.sort not in ("list", "text", "any"):
            what = f"`{node.operator}` wants a list or a text on its right, and this is {_WORDS[right.sort]}"
            raise self._wrong(node.right.at, what, "write for example `in ['yes', 'no']`")
        if right.sort == "text" and left.sort not in ("text", "any"):
            what = f"only a text can be in a text, and this is {_WORDS[left.sort]}"
            raise self._wrong(node.left.at, what)

    def _same(self, node: Compared, left: Kind, right: Kind) -> None:
        if left.sort != right.sort:
            what = f"{_WORDS[left.sort]} is compared with {_WORDS[right.sort]}"
            said = isinstance(node.right, Constant) and isinstance(node.right.value, str)
            fix = "leave the quotes out" if left.sort == "number" and said else None
            raise self._wrong(node.at, what, fix)

    def _possible(self, kind: Kind, other: Node) -> None:
        """A value that a field can never have is a slip of the pen."""
        said = other.items if isinstance(other, Listed) else (other,)
        for each in said if kind.choices else ():
            if isinstance(each, Constant) and each.value is not None and each.value not in kind.choices:
                what = f"`{each.value}` is none of its values"
                raise self._wrong(each.at, what, nearest(str(each.value), map(str, kind.choices)))

    def _want(self, node: Node, scope: Scope, sort: Sort, who: str) -> None:
        kind = self.kind(node, scope)
        if sort != "any" and kind.sort not in (sort, "any"):
            what = f"{who} takes {_WORDS[sort]}, and this is {_WORDS[kind.sort]}"
            raise self._wrong(node.at, what)

    def _wrong(self, at: int, what: str, fix: str | None = None) -> Misconfigured:
        return refused(self.text, at, what, fix)
