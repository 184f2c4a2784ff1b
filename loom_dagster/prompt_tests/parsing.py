"""From the words of an expression to its parts. The whole grammar, loosest first:

either      both (`or` both)*
both        negation (`and` negation)*
negation    `not` negation | comparison
comparison  sum [(`==` `!=` `<` `<=` `>` `>=` `in` `not in`) sum]
sum         product ((`+` `-`) product)*
product     factor ((`*` `/`) factor)*
factor      `-` factor | number | text | `true` `false` `null` | list | name | call | `(` either `)`
name        word (`.` word | `[` text `]`)*
call        word `(` [either (`,` either)*] `)`
"""

from __future__ import annotations

from collections.abc import Callable, Collection

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
)
from loom_dagster.prompt_tests.tokens import Token, refused, tokens

__all__ = ["parsed"]

_DEEPEST = 40
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_KEYWORDS = frozenset({"and", "or", "not", "in"})
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})


def parsed(text: str) -> Node:
    """The parts of ``text``. Raises Misconfigured (kind ``expression``) with the column."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._tokens = text, tokens(text)
        self._next, self._depth = 0, 0

    def whole(self) -> Node:
        if self._ended():
            raise self._wrong("the expression is empty", "write for example `evaluation_score > 0.8`")
        node = self._either()
        if not self._ended():
            raise self._wrong(f"`{self._token.value}` does not belong here")
        return node

    def _either(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"nested deeper than {_DEEPEST} levels")
        node = self._chain(self._both, {"or"})
        self._depth -= 1
        return node

    def _both(self) -> Node:
        return self._chain(self._negation, {"and"})

    def _negation(self) -> Node:
        at, times = self._token.at, 0
        while self._is("not"):
            self._take()
            times += 1
        node = self._comparison()
        # `not not x` is x, as a truth
        return Negated(at, "not", node if times % 2 else Negated(at, "not", node)) if times else node

    def _comparison(self) -> Node:
        left = self._sum()
        operator = self._comparing()
        if operator is None:
            return left
        at = self._token.at
        for _ in operator.split():
            self._take()
        right = self._sum()
        if self._comparing() is not None:
            raise self._wrong("two things are compared at a time", "write `a < b and b < c`")
        return Compared(at, operator, left, right)  # type: ignore[arg-type]  # it is one of them

    def _comparing(self) -> str | None:
        if self._is("not") and self._following.value == "in" and self._following.sort == "word":
            return "not in"
        return str(self._token.value) if self._is(*_COMPARISONS) else None

    def _sum(self) -> Node:
        return self._chain(self._product, {"+", "-"})

    def _product(self) -> Node:
        return self._chain(self._factor, {"*", "/"})

    def _chain(self, part: Callable[[], Node], operators: Collection[str]) -> Node:
        node = part()
        while self._is(*operators):
            token = self._take()
            node = Combined(token.at, str(token.value), node, part())  # type: ignore[arg-type]  # likewise
        return node

    def _factor(self) -> Node:
        at, minus = self._token.at, False
        while self._is("-"):
            self._take()
            minus = not minus
        node = self._atom()
        if not minus:
            return node
        if isinstance(node, Constant) and isinstance(node.value, float):
            return Constant(at, -node.value)
        return Negated(at, "-", node)

    def _atom(self) -> Node:
        token = self._take()
        match token.sort:
            case "number" | "text":
                return Constant(token.at, token.value)
            case "sign" if token.value == "(":
                node = self._either()
                self._expect(")")
                return node
            case "sign" if token.value == "[":
                return Listed(token.at, self._several("]"))
            case "word" if token.value in _WORDS:
                return Constant(token.at, _WORDS[str(token.value)])
            case "word" if token.value not in _KEYWORDS:
                return self._named(token)
        self._next -= 1
        if token.sort == "end":
            raise self._wrong("something is missing at the end")
        raise self._wrong(f"a value is missing before `{token.value}`")

    def _named(self, token: Token) -> Node:
        if self._is("("):
            self._take()
            return Call(token.at, str(token.value), self._several(")"))
        path = [str(token.value)]
        while self._is(".", "["):
            opened = self._take()
            part = self._take()
            if part.sort != ("word" if opened.value == "." else "text"):
                self._next -= 1
                wanted = "a name" if opened.value == "." else "a text in quotes"
                raise self._wrong(f"{wanted} is missing after `{opened.value}`")
            path.append(str(part.value))
            if opened.value == "[":
                self._expect("]")
        return Name(token.at, tuple(path))

    def _several(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._is(end):
            if found:
                self._expect(",")
            found.append(self._either())
        self._take()
        return tuple(found)

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    @property
    def _following(self) -> Token:
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    def _ended(self) -> bool:
        return self._token.sort == "end"

    def _take(self) -> Token:
        token = self._token
        self._next = min(self._next + 1, len(self._tokens))
        return token

    def _is(self, *values: str) -> bool:
        return self._token.sort in ("sign", "word") and self._token.value in values

    def _expect(self, sign: str) -> None:
        if not self._is(sign):
            raise self._wrong(f"`{sign}` is missing")
        self._take()

    def _wrong(self, what: str, fix: str | None = None) -> Misconfigured:
        return refused(self._text, self._token.at, what, fix)
