"""A template's syntax tree, made safe and flat before it is compiled.

``input.x`` and ``input['x y']`` become variables of their own, so a column can be called ``items`` and
nothing but columns can be reached; ``context.name`` likewise. Loops, ``~`` and literals are routed
through the counters of ``limits``. What a prompt has no use for is refused here, with its line.
"""

# ruff: noqa: N802 - the names of visitor methods are Jinja's

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from loom_dagster.prompts.sandbox import GLOBALS, Sandbox
from loom_dagster.spec import nearest

__all__ = ["Fault", "Names", "rewrite"]

_ROOTS = ("context", "input")
_OURS = "_loom_"
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Block: "block",
    nodes.Extends: "extends",
    nodes.FromImport: "from",
    nodes.Import: "import",
    nodes.Include: "include",
    nodes.ScopedEvalContextModifier: "autoescape",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at a line (1-based) of a template."""

    line: int
    what: str
    fix: str | None = None


@dataclass(slots=True)
class Names:
    """What a template uses: columns and contexts with the line of their first use and the variable each
    became. ``handled`` are the columns whose null the template looks after itself."""

    columns: dict[str, int] = field(default_factory=dict)
    contexts: dict[str, int] = field(default_factory=dict)
    slots: dict[tuple[str, str], str] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    handled: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)


def rewrite(tree: nodes.Template, sandbox: Sandbox) -> Names:
    """Change ``tree`` in place; what it uses, and what is wrong with it."""
    rewriter = _Rewriter(sandbox)
    rewriter.visit(tree)
    return rewriter.names


class _Rewriter(NodeTransformer):
    def __init__(self, sandbox: Sandbox) -> None:
        self.names = Names()
        self._sandbox = sandbox

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if word := _REFUSED.get(type(node)):
            fix = "a prompt is one file; shared text can be a context"
            self._fault(node, f"`{{% {word} %}}` is not available in a prompt", fix)
        return super().generic_visit(node, *args, **kwargs)

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:
        if isinstance(node.node, nodes.Name) and node.node.name in _ROOTS:
            return self._resolved(node.node.name, node.attr, node)
        if node.attr.startswith("_"):
            self._fault(node, f"`.{node.attr}` is not available in a prompt")
        return self.generic_visit(node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        if not (isinstance(node.node, nodes.Name) and node.node.name in _ROOTS):
            return self.generic_visit(node)
        root = node.node.name
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._resolved(root, node.arg.value, node)
        what = f"what stands in `{root}[...]` is not known before a record is read"
        self._fault(node, what, f"write the name: `{root}['name']`")
        return nodes.Const(None, lineno=node.lineno)

    def visit_Name(self, node: nodes.Name) -> nodes.Node:
        if node.name in _ROOTS and node.ctx == "load":
            self._fault(node, f"`{node.name}` alone has no text", f"write `{{{{ {node.name}.NAME }}}}`")
            return nodes.Const(None, lineno=node.lineno)
        if node.name in _ROOTS or (node.name in GLOBALS and node.ctx != "load"):
            self._fault(node, f"`{node.name}` is taken and cannot be set", "use another name")
        elif node.name == "self":
            self._fault(node, "`self` is not available in a prompt")
        elif node.name.startswith(_OURS):
            self._fault(node, f"names that begin with `{_OURS}` are taken: `{node.name}`")
        elif node.ctx == "load":
            self.names.others.setdefault(node.name, node.lineno)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        self._known("filter", node, self._sandbox.filters)
        if node.name in ("d", "default"):
            self._handled(node.node)
        return self.generic_visit(node)

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        self._known("test", node, self._sandbox.tests)
        self._handled(node.node)
        return self.generic_visit(node)

    def visit_If(self, node: nodes.If) -> nodes.Node:
        self._handled(node.test)
        return self.generic_visit(node)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:
        self._handled(node.test)
        return self.generic_visit(node)

    def visit_Or(self, node: nodes.Or) -> nodes.Node:
        self._handled(node.left)
        return self.generic_visit(node)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            self._fault(node, "recursive loops are not available in a prompt")
        self.generic_visit(node)
        node.iter = _call("_loom_each", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call("_loom_concat", node.nodes[0], node.nodes[1:])

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return self._literal(node, node.items)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return self._literal(node, [pair.value for pair in node.items])

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        return self._literal(node, node.items) if node.ctx == "load" else self.generic_visit(node)

    def _literal(self, node: nodes.Expr, parts: Iterable[nodes.Expr]) -> nodes.Node:
        flat = all(isinstance(part, nodes.Const) for part in parts)
        self.generic_visit(node)
        return node if flat else _call("_loom_weigh", node)

    def _resolved(self, root: str, name: str, node: nodes.Node) -> nodes.Node:
        used = self.names.columns if root == "input" else self.names.contexts
        used.setdefault(name, node.lineno)
        slot = self.names.slots.setdefault((root, name), f"{_OURS}{len(self.names.slots)}")
        return nodes.Name(slot, "load", lineno=node.lineno)

    def _handled(self, node: nodes.Node | None) -> None:
        """Every column inside a condition, or before ``default``, has its null looked after."""
        if node is None:
            return
        for each in (node, *node.find_all((nodes.Getattr, nodes.Getitem))):
            if not (isinstance(each, nodes.Getattr | nodes.Getitem) and isinstance(each.node, nodes.Name)):
                continue
            if each.node.name == "input":
                name = each.attr if isinstance(each, nodes.Getattr) else getattr(each.arg, "value", None)
                self.names.handled.add(str(name))

    def _known(self, kind: str, node: nodes.Filter | nodes.Test, known: Iterable[str]) -> None:
        if node.name not in known:
            words = [word for word in known if not word.startswith("_")]
            self._fault(node, f"there is no {kind} `{node.name}` in prompts", nearest(node.name, words))

    def _fault(self, node: nodes.Node, what: str, fix: str | None = None) -> None:
        self.names.faults.append(Fault(node.lineno, what, fix))


def _call(name: str, first: Any, rest: Iterable[nodes.Expr] = ()) -> nodes.Filter:
    return nodes.Filter(first, name, list(rest), [], None, None, lineno=first.lineno)
