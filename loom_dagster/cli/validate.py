"""``loom validate``: everything that is wrong with pipelines, before a call is made."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loom_dagster.cli.exits import MISUSED, OK, problem_document
from loom_dagster.cli.figures import counted, release_name
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Sign, Terminal
from loom_dagster.errors import Misconfigured, Problem

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.assembly.report import Report

__all__ = ["Checked", "validate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One pipeline: its report, or the problems that no report could be made for."""

    name: str
    report: Report | None
    problems: Sequence[Problem]

    @property
    def valid(self) -> bool:
        return (self.report is None or self.report.ok) and not any(p.level == "error" for p in self.problems)

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        sections = self.report.sections if self.report is not None else {}
        return {
            "pipeline": self.name,
            "version": self.report.version if self.report is not None else None,
            "valid": self.valid,
            "sections": {
                title: [{"level": li.level, "text": li.text} for li in lines]
                for title, lines in sections.items()
            },
            "models": dict(self.report.models) if self.report is not None else {},
            "problems": [problem_document(p) for p in self.problems],
        }


def validate(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Pipelines; default: all.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every pipeline of the project (the default).")
    ] = False,
    connections: Annotated[
        bool, typer.Option("--connections", help="Try source and destination too.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Unlocked prompts are errors.")] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Check pipelines and show every problem at once."""
    if everything and names:
        raise Misconfigured("name pipelines or say --all, not both")
    loom = open_loom(project)
    wanted = list(dict.fromkeys(names or ())) or list(loom.project.names)
    checked = [_check(loom, name, strict=strict, connections=connections) for name in wanted]
    rest = () if names else _of_no_pipeline(loom.project.problems, checked)
    if not checked and not rest:
        raise Misconfigured(
            f"no pipelines in {loom.settings.pipelines}/", fix="write one, or let `loom init` do it"
        )
    valid = all(c.valid for c in checked) and not any(p.level == "error" for p in rest)
    if as_json:
        problems = [problem_document(p) for p in rest]
        emit({"valid": valid, "pipelines": [c.document() for c in checked], "problems": problems})
    else:
        show(checked, rest, Terminal(sys.stdout))
    return OK if valid else MISUSED


def show(checked: Sequence[Checked], rest: Sequence[Problem], terminal: Terminal) -> None:
    """The sections of each pipeline, its problems among them, and the word on it."""
    for number, each in enumerate(checked):
        if number:
            terminal.line()
        report = each.report
        terminal.line(f"Validating: {each.name}{release_name(report.version if report else None)}", "bold")
        terminal.line()
        shown = set()
        for title, lines in report.sections.items() if report else ():
            terminal.line(f"{title}:", "bold")
            for line in lines:
                _line(line.level, line.text, terminal)
                shown.add(line.text)
            terminal.line()
        left = [p for p in each.problems if str(p) not in shown]
        if left:
            terminal.line("Problems:", "bold")
            for problem in left:
                _line(problem.level, str(problem), terminal)
            terminal.line()
        _word(each, terminal)
    if rest:
        terminal.line()
        terminal.line("Other problems of the project:", "bold")
        for problem in rest:
            _line(problem.level, str(problem), terminal)
    if len(checked) > 1:
        terminal.line()
        terminal.line(f"{sum(c.valid for c in checked)} of {counted(len(checked), 'pipeline')} valid")


def _line(level: str, text: str, terminal: Terminal) -> None:
    sign: Sign = "good" if level == "ok" else "warn" if level == "warning" else "bad"
    terminal.paragraph(text, first=f"  {terminal.sign(sign)} ", rest="     ")


def _check(loom: Loom, name: str, *, strict: bool, connections: bool) -> Checked:
    try:
        report = loom.validate(name, strict=strict, connections=connections)
    except Misconfigured as error:
        whole = Problem(what=error.what, where=error.where, fix=error.fix)
        return Checked(name=name, report=None, problems=error.problems or (whole,))
    return Checked(name=name, report=report, problems=report.problems)


def _of_no_pipeline(problems: Iterable[Problem], checked: Sequence[Checked]) -> tuple[Problem, ...]:
    shown = {(p.where, p.what) for each in checked for p in each.problems}
    return tuple(p for p in problems if (p.where, p.what) not in shown)


def _word(checked: Checked, terminal: Terminal) -> None:
    warnings = sum(p.level == "warning" for p in checked.problems)
    errors = len(checked.problems) - warnings
    parts = [counted(n, noun) for n, noun in ((errors, "error"), (warnings, "warning")) if n]
    remark = f": {', '.join(parts)}" if parts else ""
    if checked.valid:
        terminal.line(f"Pipeline is valid {terminal.sign('good').rstrip()}{remark}")
    else:
        terminal.line(f"Pipeline is not valid {terminal.sign('bad').rstrip()}{remark}")
