"""A query as it is written: SQL, and placeholders whose values are bound and never become part of its text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from loom_dagster.connectors.contract import Scalar
from loom_dagster.errors import Misconfigured

__all__ = ["Query", "parse_query", "placeholders"]

_FIRST = ("select", "with", "values", "table")
_NAME = re.compile(r"\{\{\s*(execution_date|partition_end|partition|params\.[A-Za-z_]\w*)\s*\}\}")
_LIKE_ONE = re.compile(r"\{\{\s*[A-Za-z_][\w.]*\s*(\|[^{}]*)?\}\}")
_ESCAPING = frozenset({"mysql", "mariadb"})  # where a backslash in a text escapes, and # begins a comment

_LINE_COMMENT = r"--[^\n]*"
_HASH_COMMENT = r"\#[^\n]*"
_DOLLARS = r"\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$"
_PLAIN_TEXT = r"'(?:[^']|'')*'"
_ESCAPED_TEXT = r"'(?:[^'\\]|\\.|'')*'"
_NAMES = r'"(?:[^"]|"")*"|`(?:[^`]|``)*`'
_ESCAPED_NAMES = r'"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`'


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """``texts`` with a placeholder between each two: one more than ``names``."""

    texts: tuple[str, ...]
    names: tuple[str, ...]

    def written(self, text: Callable[[str], str], value: Callable[[str], str]) -> str:
        """The query with its texts and its placeholders as these functions write them."""
        parts = [text(self.texts[0])]
        for name, after in zip(self.names, self.texts[1:], strict=True):
            parts += [value(name), text(after)]
        return "".join(parts)

    def values(self, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The values of its placeholders. Raises Misconfigured for one that has none."""
        for name in self.names:
            if name not in given:
                of_partitions = name in ("partition", "partition_end")
                raise Misconfigured(
                    f"`extract.query` asks for `{{{{ {name} }}}}`, which has no value",
                    fix="say what its partitions are: `extract.partitions`"
                    if of_partitions
                    else f"give it: --param {name.removeprefix('params.')}=...",
                )
        return {name: given[name] for name in self.names}


def placeholders(query: str, dialect: str = "") -> tuple[str, ...]:
    """The names of a query's placeholders, each once. Raises Misconfigured for a query that cannot be read."""
    return tuple(dict.fromkeys(parse_query(query, dialect).names))


def parse_query(query: str, dialect: str = "") -> Query:
    """``query`` in the SQL of ``dialect`` (SQLAlchemy's name). Raises Misconfigured for what is not one
    reading statement, for a placeholder in quotes or in a comment, and for any other template language."""
    texts, names, words, ended = [""], [], "", False
    for kind, piece in _pieces(query, dialect):
        if kind == "end":
            ended = True
            continue
        if kind in ("quoted", "comment"):
            _refuse_inside(kind, piece)
        elif ended and piece.strip():
            raise Misconfigured("`extract.query` holds several statements", fix="leave one SELECT")
        if kind == "placeholder":
            names.append(_named(piece))
            texts.append("")
        elif not ended:
            texts[-1] += piece
            words += " " if kind == "comment" else piece
    first = re.match(r"[\s(]*([A-Za-z]*)", words)
    if first is None or first[1].lower() not in _FIRST:
        raise Misconfigured(
            "`extract.query` does not read", fix="it begins with SELECT or WITH; nothing is changed by it"
        )
    return Query(texts=tuple(texts), names=tuple(names))


def _pieces(query: str, dialect: str) -> Iterator[tuple[str, str]]:
    """The query cut into what means something here: kind (quoted, comment, placeholder, end, sql) and text."""
    tokens, at = _tokens(dialect), 0
    while at < len(query):
        if query.startswith("/*", at):
            until = _comment_end(query, at, nested=dialect == "postgresql")
            yield "comment", query[at:until]
            at = until
            continue
        match = tokens.match(query, at)
        if match is None or match.lastgroup is None:
            _refuse_open(query[at])
            yield "sql", query[at]
            at += 1
            continue
        kind = next(name for name in ("quoted", "comment", "placeholder", "end", "sql") if match[name])
        yield kind, match[0]
        at = match.end()


def _tokens(dialect: str) -> re.Pattern[str]:
    escaping = dialect in _ESCAPING
    quoted = [_ESCAPED_TEXT, _ESCAPED_NAMES] if escaping else [_PLAIN_TEXT, _NAMES]
    if dialect == "postgresql":
        quoted = [rf"\b[eE]{_ESCAPED_TEXT}", _DOLLARS, *quoted]
    comments = [_LINE_COMMENT, _HASH_COMMENT] if escaping else [_LINE_COMMENT]
    return re.compile(
        rf"(?P<quoted>{'|'.join(quoted)})|(?P<comment>{'|'.join(comments)})"
        r"|(?P<placeholder>\{\{.*?\}\}|\{%.*?%\}|\{\#.*?\#\})|(?P<end>;)|(?P<sql>\w+|\s+)",
        re.DOTALL,
    )


def _comment_end(query: str, at: int, *, nested: bool) -> int:
    depth = 0
    for mark in re.finditer(r"/\*|\*/", query[at:]):
        depth += 1 if mark[0] == "/*" and (nested or depth == 0) else -1 if mark[0] == "*/" else 0
        if depth == 0:
            return at + mark.end()
    raise Misconfigured("a comment in `extract.query` does not end", fix="close it with */")


def _refuse_open(sign: str) -> None:
    if sign in "'\"`":
        raise Misconfigured(f"a quote ({sign}) in `extract.query` is not closed", fix="close it")


def _refuse_inside(kind: str, piece: str) -> None:
    found = _LIKE_ONE.search(piece)
    if found is None:
        return
    if kind == "comment":
        raise Misconfigured(f"`{found[0]}` stands in a comment of `extract.query`", fix="take it out")
    raise Misconfigured(
        f"`{found[0]}` stands in quotes in `extract.query`",
        why="values are bound, not pasted",
        fix="leave out the quotes",
    )


def _named(piece: str) -> str:
    match = _NAME.fullmatch(piece)
    if match is None:
        raise Misconfigured(
            f"`{' '.join(piece.split())[:80]}` in `extract.query` is not a placeholder",
            why="there are {{ execution_date }}, {{ partition_end }}, {{ partition }} and {{ params.NAME }}, and no other templates",
            fix="leave the rest to SQL, and give values with --param NAME=...",
        )
    return match[1]
