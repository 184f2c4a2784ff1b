"""Templates outside of prompts: the fixed values that are loaded when a record fails."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.prompts.template import Template, compile_template
from loom_dagster.spec import nearest

__all__ = ["check_value", "render_value"]


def check_value(template: str, columns: Sequence[str] | None = None, *, where: str) -> tuple[Problem, ...]:
    """What is wrong with a value's template; ``columns`` are the source's, if they are known."""
    try:
        compiled = _compiled(template)
    except Misconfigured as error:
        return tuple(Problem(what=p.what, where=where, fix=p.fix) for p in error.problems)
    problems = [Problem(what=f"a value has no contexts: `{n}`", where=where) for n in compiled.contexts]
    if not problems and (trial := compiled.trial()):
        problems.append(Problem(what=trial.what, where=where, fix=trial.fix))
    for name in compiled.columns if columns is not None else ():
        if name not in (columns or ()):
            fix = nearest(name, columns or ())
            problems.append(Problem(what=f"the source has no column `{name}`", where=where, fix=fix))
    return tuple(problems)


def render_value(template: str, columns: Mapping[str, Any]) -> str:
    """A value for one record. Raises Permanent (unrenderable), or Misconfigured for a wrong template."""
    return _compiled(template).render(columns)


@functools.lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    return compile_template(template, lambda line: f"the value's line {line}")
