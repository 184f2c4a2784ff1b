"""YAML text to a plain tree that knows its lines.

PyYAML's C parser gives the events; the tree is built here because a loader would resolve scalars
(``2.10`` to 2.1), drop duplicate keys silently, expand alias bombs and forget where things stood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]
from yaml.reader import ReaderError

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.spec.findings import Finding
from loom_dagster.spec.scalars import Plain

__all__ = ["Document", "Node", "read_yaml"]

MAX_DEPTH = 100
MAX_ALIASED = 50_000
"""How many nodes aliases may add to a file; more is a bomb, or a mistake."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = frozenset(
    {None, "!", *(_TAG + t for t in ("str", "int", "float", "bool", "null", "map", "seq"))}
)
_TAB = re.compile(r"^ *\t")


@dataclass(slots=True)
class Node:
    """A value and where it stands. ``size`` counts every node in it, an alias as often as it is used;
    ``block`` marks a text written with ``|`` or ``>``, whose first line is the one after."""

    value: Any
    line: int
    size: int = 1
    block: bool = False
    key_lines: dict[str | int, int] = field(default_factory=dict)
    children: dict[str | int, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file: ``tree`` of dict, list, str, Plain and None, what was wrong in it so far, and lines."""

    file: str
    root: Node
    findings: tuple[Finding, ...] = ()

    @property
    def tree(self) -> dict[str, Any]:
        tree: dict[str, Any] = self.root.value
        return tree

    def line(self, *loc: str | int) -> int:
        """The best known line (1-based) for a place in the tree; pydantic's tags in ``loc`` are skipped."""
        if loc[:2] == ("evaluate", "quality_gate") and not self._has("evaluate", "quality_gate"):
            loc = ("load", *loc[1:])
        node, line = self.root, self.root.line
        for token in loc:
            for holder in (node, node.children.get("config")):
                if holder is not None and token in holder.children:
                    node, line = holder.children[token], holder.key_lines[token]
                    break
        return line

    def where(self, *loc: str | int) -> str:
        """``file:line`` of a place in the tree."""
        return f"{self.file}:{self.line(*loc)}"

    def node(self, *loc: str | int) -> Node | None:
        """The node exactly at ``loc``."""
        node: Node | None = self.root
        for token in loc:
            node = node.children.get(token) if node is not None else None
        return node

    def _has(self, *loc: str | int) -> bool:
        return self.node(*loc) is not None


def read_yaml(text: str, *, file: str, first_line: int = 1) -> Document:
    """Parse ``text``; ``first_line`` is the line of the file it begins at.

    Duplicate keys and the like are kept as findings so that the rest can be checked as well.
    Raises Misconfigured when there is no tree to go on with.
    """
    try:
        return _Builder(text, file, first_line).document()
    except yaml.YAMLError as error:
        raise _syntax(error, text, file, first_line) from error


class _Builder:
    def __init__(self, text: str, file: str, first_line: int) -> None:
        self._parser = CParser(text)
        self._lines = text.split("\n")
        self._file, self._offset = file, first_line
        self._anchors: dict[str, Node] = {}
        self._aliased = 0
        self._findings: list[Finding] = []

    def document(self) -> Document:
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise self._stop(1, "is empty", fix="a pipeline has name, extract, transform and load")
        root = self._node(self._next(), 0)
        self._next()  # the document's end
        if not isinstance(after := self._next(), yaml.StreamEndEvent):
            raise self._stop(
                self._line(after), "a second document begins here (`---`)", fix="one file, one pipeline"
            )
        if not isinstance(root.value, dict):
            what = "a list" if isinstance(root.value, list) else "a text" if root.value else "empty"
            raise self._stop(root.line, f"the file is {what}, not a mapping", fix="write `key: value` lines")
        return Document(self._file, root, tuple(self._findings))

    def _node(self, event: Any, depth: int) -> Node:
        line = self._line(event)
        if depth > MAX_DEPTH:
            raise self._stop(line, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line)
        if event.tag not in _KNOWN_TAGS:
            raise self._stop(line, f"the tag `{event.tag}` means nothing here", fix="remove it")
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(line, depth)
        else:
            node = self._mapping(line, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _scalar(self, event: Any, line: int) -> Node:
        plain = event.implicit[0] or ((event.tag or "").startswith(_TAG) and event.tag != _TAG + "str")
        if not plain:
            return Node(str(event.value), line, block=event.style in ("|", ">"))
        return Node(None if event.value in _NULLS else Plain(event.value), line)

    def _sequence(self, line: int, depth: int) -> Node:
        node = Node([], line)
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            child = self._node(event, depth + 1)
            index = len(node.value)
            node.value.append(child.value)
            node.children[index], node.key_lines[index] = child, self._line(event)
            node.size += child.size
        return node

    def _mapping(self, line: int, depth: int) -> Node:
        node = Node({}, line)
        merged: list[tuple[int, Node]] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            at = self._line(event)
            key_node = self._node(event, depth + 1)
            child = self._node(self._next(), depth + 1)
            node.size += key_node.size + child.size
            if isinstance(key_node.value, dict | list):
                self._findings.append(self._complex_key(at))
            elif isinstance(key_node.value, Plain) and key_node.value == "<<":
                merged.append((at, child))
            else:
                key = "null" if key_node.value is None else str(key_node.value)
                self._put(node, key, child, at)
        for at, source in merged:
            self._merge(node, source, at)
        return node

    def _put(self, node: Node, key: str, child: Node, line: int) -> None:
        if key in node.value:
            first = node.key_lines[key]
            self._findings.append(
                Finding(line, f"`{key}` stands here and at line {first}", "keep one of them")
            )
            return
        node.value[key] = child.value
        node.children[key], node.key_lines[key] = child, line

    def _merge(self, node: Node, source: Node, line: int) -> None:
        """``<<``: keys of the mapping itself go first, then those of earlier sources."""
        sources = list(source.children.values()) if isinstance(source.value, list) else [source]
        for each in sources:
            if not isinstance(each.value, dict):
                self._findings.append(Finding(line, "`<<` takes a mapping (an alias like `*defaults`)"))
                continue
            for key, child in each.children.items():
                if key not in node.value:
                    node.value[key] = child.value
                    node.children[key], node.key_lines[key] = child, each.key_lines[key]

    def _alias(self, event: Any, line: int) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            what = f"`*{event.anchor}` is not defined above"
            raise self._stop(line, what, fix=f"mark what it means: `&{event.anchor}`")
        self._aliased += node.size
        if self._aliased > MAX_ALIASED:
            raise self._stop(line, f"aliases blow this file up to more than {MAX_ALIASED:,} values")
        return node

    def _complex_key(self, line: int) -> Finding:
        text = self._text(line)
        if "{{" not in text:
            return Finding(line, "a key is a mapping or a list; keys are words")
        return Finding(line, f"`{text.strip()}` is not YAML: `{{{{` opens a mapping", _template_fix(text))

    def _text(self, line: int) -> str:
        index = line - self._offset
        return self._lines[index] if 0 <= index < len(self._lines) else ""

    def _next(self) -> Any:
        return self._parser.get_event()

    def _line(self, event: Any) -> int:
        return int(event.start_mark.line) + self._offset

    def _stop(self, line: int, what: str, fix: str | None = None) -> Misconfigured:
        return _refused(self._file, line, what, fix)


def _refused(file: str, line: int, what: str, fix: str | None) -> Misconfigured:
    where = f"{file}:{line}"
    return Misconfigured(what, where=where, fix=fix, problems=(Problem(what=what, where=where, fix=fix),))


def _template_fix(text: str) -> str:
    name = re.search(r"\{\{\s*([\w.]+)", text)
    word = name[1].rpartition(".")[2] if name else "column"
    if text.strip().startswith("context"):
        return (
            "`context` lists files; what belongs to one record, like retrieved documents, is a column of the "
            f"source and is named in the prompt: `{{{{ input.{word} }}}}`"
        )
    return 'put a value with `{{ }}` in quotes: "{{ ... }}"'


def _syntax(error: yaml.YAMLError, text: str, file: str, first_line: int) -> Misconfigured:
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + first_line
        return _refused(file, line, "holds a control character, which YAML does not allow", "remove it")
    lines = text.split("\n")
    mark = getattr(error, "problem_mark", None)
    index = mark.line if mark is not None else 0
    line = min(index, max(len(lines) - 1, 0)) + first_line
    for at in (index, index - 1, index + 1):
        if 0 <= at < len(lines) and _TAB.match(lines[at]):
            what = f"line {at + first_line} is indented with a tab; YAML wants spaces"
            return _refused(file, at + first_line, what, None)
    shown = lines[index] if index < len(lines) else ""
    if "{{" in shown:
        return _refused(file, line, f"`{shown.strip()}` is not YAML", _template_fix(shown))
    what = f"not valid YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}"
    opened = getattr(error, "context_mark", None)
    if opened is not None and opened.line != index:
        what += f" ({getattr(error, 'context', None)}, begun at line {opened.line + first_line})"
    return _refused(file, line, what, "look at the indentation, quotes and brackets here and just above")
