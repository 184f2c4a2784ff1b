"""What is wrong in one file, collected first and put into words last.

A file may have ten thousand wrong keys; only those that are shown are worth a search for the
nearest right word, so a finding's advice may be a function.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from loom_dagster.errors import Misconfigured, Problem

__all__ = ["SHOWN", "Finding", "as_problems", "nearest", "refusal"]

SHOWN = 20
"""How many problems of one file are shown; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong at a line of a file."""

    line: int
    what: str
    fix: str | Callable[[], str | None] | None = None
    level: Literal["error", "warning"] = "error"


def as_problems(file: str, findings: Iterable[Finding]) -> tuple[Problem, ...]:
    """The findings of one file by line, errors cut to the first ``SHOWN`` and a count of the rest."""
    ordered = sorted(findings, key=lambda f: f.line)
    errors = [f for f in ordered if f.level == "error"]
    problems = [_worded(file, f) for f in errors[:SHOWN]]
    if len(errors) > SHOWN:
        rest = f"and {len(errors) - SHOWN:,} more"
        problems.append(Problem(what=rest, where=file, fix="mend the first ones and look again"))
    return (*problems, *(_worded(file, f) for f in ordered if f.level == "warning"))


def refusal(problems: Sequence[Problem], what: str) -> Misconfigured:
    """The error that carries ``problems``; the message of a single one is that problem itself."""
    errors = [p for p in problems if p.level == "error"]
    if len(errors) == 1:
        one = errors[0]
        return Misconfigured(one.what, where=one.where, why=one.said, fix=one.fix, problems=tuple(problems))
    return Misconfigured(what, why=f"{len(errors)} problems", problems=tuple(problems))


def nearest(word: str, known: Iterable[str], *, others: bool = True) -> str | None:
    """Advice for a word that is not among ``known``: the nearest one, else (``others``) all of them."""
    choices = sorted(set(known))
    folded: dict[str, str] = {}
    for choice in choices:
        folded.setdefault(choice.lower(), choice)
    near = difflib.get_close_matches(word.lower(), folded, n=1)
    if near:
        return f"did you mean `{folded[near[0]]}`?"
    if not others or not choices:
        return None
    more = f" and {len(choices) - SHOWN} more" if len(choices) > SHOWN else ""
    return f"known: {', '.join(choices[:SHOWN])}{more}"


def _worded(file: str, finding: Finding) -> Problem:
    fix = finding.fix() if callable(finding.fix) else finding.fix
    return Problem(what=finding.what, where=f"{file}:{finding.line}", fix=fix, level=finding.level)
