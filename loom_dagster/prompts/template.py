"""One template, compiled: what it uses is known, and rendering it is one call of a generator."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.runtime import Context

from loom_dagster.errors import Misconfigured, Permanent, Problem
from loom_dagster.prompts.limits import MAX_OUTPUT, TooMuch
from loom_dagster.prompts.rewrite import Fault, Names, rewrite
from loom_dagster.prompts.sandbox import GLOBALS, Sandbox
from loom_dagster.prompts.values import UNRENDERABLE, admit
from loom_dagster.spec import nearest

__all__ = ["Template", "compile_template"]

_BRACES = re.compile(r"""\{\{[^}]*["'\\:]|\\\w+\{|\{#|\{%|["']\s*:""")
_PLACEHOLDERS: tuple[Any, ...] = ("text", 2, ["text", "text"], {"text": "text"}, None)
_FAST = frozenset({str, int, bool, type(None)})


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """``columns`` and ``contexts`` map names to where they are used first; ``handled`` are the columns
    whose null the template looks after (``default``, ``if``)."""

    columns: Mapping[str, str]
    contexts: Mapping[str, str]
    handled: frozenset[str]
    where: Callable[[int], str] = field(repr=False)
    _sandbox: Sandbox = field(repr=False)
    _template: jinja2.Template = field(repr=False)
    _slots: tuple[tuple[str, str], ...] = field(repr=False)
    _context_slots: tuple[tuple[str, str], ...] = field(repr=False)
    _fixed: dict[str, Any] = field(repr=False)

    def bind(self, contexts: Mapping[str, str]) -> None:
        """Give the template the texts of its contexts, once for all records."""
        self._fixed.update((slot, contexts[name]) for name, slot in self._context_slots if name in contexts)

    def render(self, columns: Mapping[str, Any]) -> str:
        """The text for one record. Raises Permanent (unrenderable), naming column or line."""
        values = {}
        for name, slot in self._slots:
            try:
                value = columns[name]
            except KeyError:
                raise Permanent(
                    f"the record has no column `{name}`", where=self.columns[name], kind=UNRENDERABLE
                ) from None
            values[slot] = value if type(value) in _FAST else admit(name, value)
        context = Context(self._sandbox, self._fixed, None, {})
        context.vars = values
        self._sandbox.limits.reset()
        try:
            pieces = list(self._template.root_render_func(context))
        except Exception as error:
            raise self._unrenderable(error) from error
        if sum(map(len, pieces)) > MAX_OUTPUT:
            raise TooMuch(f"the prompt is longer than {MAX_OUTPUT:,} characters", where=self.where(1))
        text = "".join(pieces)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Permanent(
                "the prompt holds half a unicode character", why=error.reason, kind=UNRENDERABLE
            ) from error
        return text

    def trial(self) -> Problem | None:
        """Render once with placeholder values: what is too much for them is too much for any record.

        Other failures say nothing, since a placeholder is not what the column holds.
        """
        for placeholder in _PLACEHOLDERS:
            try:
                self.render(dict.fromkeys(self.columns, placeholder))
            except TooMuch as error:
                return Problem(what=error.what, where=error.where, fix=error.fix)
            except Permanent:
                continue
            return None
        return None

    def _unrenderable(self, error: Exception) -> Permanent:
        where = self.where(_line(error.__traceback__, self._template))
        if isinstance(error, TooMuch):
            return TooMuch(error.what, where=where, fix=error.fix)
        if isinstance(error, RecursionError):
            return TooMuch("a macro calls itself without end", where=where)
        if isinstance(error, Permanent):
            return error
        return Permanent(
            "the prompt cannot be rendered", where=where, why=str(error)[:300], kind=UNRENDERABLE
        )


def compile_template(source: str, where: Callable[[int], str]) -> Template:
    """Compile a template; ``where`` says for a line (1-based) of it how that place is called.

    Raises Misconfigured with every problem that can be known without a record.
    """
    sandbox = Sandbox()
    try:
        tree = sandbox.parse(source)
        names = rewrite(tree, sandbox)
        if not names.faults:
            _undeclared(tree, names)
        if names.faults:
            raise _misconfigured(names.faults, where)
        compiled = jinja2.Template.from_code(sandbox, sandbox.compile(tree), {})
    except jinja2.TemplateSyntaxError as error:
        fault = Fault(
            error.lineno, f"the template is wrong: {error.message}", _brace_advice(source, error.lineno)
        )
        raise _misconfigured([fault], where) from error
    except (RecursionError, MemoryError, SyntaxError, ValueError) as error:
        fault = Fault(1, "the template is nested too deeply", "write it flatter")
        raise _misconfigured([fault], where) from error
    return Template(
        {name: where(line) for name, line in names.columns.items()},
        {name: where(line) for name, line in names.contexts.items()},
        frozenset(names.handled),
        where,
        sandbox,
        compiled,
        tuple((name, slot) for (root, name), slot in names.slots.items() if root == "input"),
        tuple((name, slot) for (root, name), slot in names.slots.items() if root == "context"),
        dict(sandbox.globals),
    )


def _undeclared(tree: nodes.Template, names: Names) -> None:
    known = {*GLOBALS, *names.slots.values()}
    for name in sorted(meta.find_undeclared_variables(tree) - known):
        line = names.others.get(name, 1)
        advice = nearest(name, ("context", "input"), others=False)
        fix = advice or f"a column is written `{{{{ input.{name} }}}}`, a context `{{{{ context.{name} }}}}`"
        names.faults.append(Fault(line, f"nothing is called `{name}`", fix))


def _brace_advice(source: str, line: int) -> str | None:
    lines = source.split("\n")
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    if _BRACES.search(shown):
        return "braces that are meant as text stand between {% raw %} and {% endraw %}"
    return None


def _misconfigured(faults: Sequence[Fault], where: Callable[[int], str]) -> Misconfigured:
    problems = tuple(
        Problem(what=f.what, where=where(f.line), fix=f.fix) for f in sorted(faults, key=lambda f: f.line)
    )
    return Misconfigured(problems[0].what, where=problems[0].where, fix=problems[0].fix, problems=problems)


def _line(traceback: TracebackType | None, template: jinja2.Template) -> int:
    """The template's line an error passed through last."""
    line = 1
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__jinja_template__") is template:
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line
