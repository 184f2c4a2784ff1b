"""``loom status``: how the pipelines of a project stand, a line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import counted, dollars, moment, share
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal

if TYPE_CHECKING:
    from loom_dagster.assembly.overview import Overview, PipelineStatus

__all__ = ["status"]

_RIGHT = frozenset({"PASSED", "QUARANTINE", "ALERTS", "TODAY"})
_OPTIONAL = frozenset({"LAST RUNS", "QUARANTINE", "ALERTS", "TODAY", "RUNS"})
_GOOD, _QUIET, _BAD = {"released", "succeeded"}, {"never run", "running"}, {"held", "failed", "broken file"}
_SHOWN = 5


def status(project: ProjectDir = None, as_json: AsJson = False) -> int:
    """Show how every pipeline stands: its last run, what waits for people, what was spent, what comes next."""
    from loom_dagster.assembly.overview import overview

    loom = open_loom(project)
    found = overview(loom)
    if as_json:
        emit({"project": str(loom.settings.root), **_document(found)})
    else:
        show(found, Terminal(sys.stdout), folder=loom.settings.pipelines)
    return OK


def _document(found: Overview) -> dict[str, Any]:
    from loom_dagster.cli.output import as_plain

    document: dict[str, Any] = as_plain(found)
    return document


def show(found: Overview, terminal: Terminal, *, folder: str) -> None:
    """A line a pipeline; below them what is wrong, and the money."""
    from loom_dagster.cli.columns import show_columns, without_empty

    if not found.pipelines:
        terminal.line(f"No pipelines in {folder}/ yet; `loom init` writes an example.")
        return
    head = (
        "",
        "PIPELINE",
        "STATE",
        "LAST RUN",
        "PASSED",
        "QUARANTINE",
        "ALERTS",
        "TODAY",
        "LAST RUNS",
        "RUNS",
    )
    rows = [_row(each, terminal) for each in found.pipelines]
    show_columns(terminal, *without_empty(head, rows, optional=_OPTIONAL), right=_RIGHT)
    terminal.line()
    for each in found.pipelines:
        _say(each, terminal)
    of = "" if found.monthly_budget is None else f" of {dollars(found.monthly_budget)}"
    terminal.line(f"Spent: {dollars(found.today)} today, {dollars(found.month)}{of} this month (UTC)")


def _row(each: PipelineStatus, terminal: Terminal) -> list[str]:
    from loom_dagster.cli.columns import bars
    from loom_dagster.reports import Trend

    sign = "good" if each.state in _GOOD else "none" if each.state in _QUIET else "warn"
    budget = "" if each.day_budget is None else f" of {dollars(each.day_budget)}"
    runs = each.trigger if each.next_due is None else f"{each.trigger}, next {moment(each.next_due)}"
    trend = Trend(name="", kind="share", values=each.pass_rates)
    return [
        terminal.sign("bad" if each.state in _BAD else sign),  # type: ignore[arg-type]
        each.name,
        each.state,
        moment(each.last_run),
        "-" if each.pass_rate is None else share(each.pass_rate, 1.0),
        f"{each.quarantined:,}" if each.quarantined else "-",
        f"{each.alerts:,}" if each.alerts else "-",
        f"{dollars(each.today)}{budget}" if each.today or budget else "-",
        bars(terminal, trend) if len(each.pass_rates) > 1 else "",
        runs,
    ]


def _say(each: PipelineStatus, terminal: Terminal) -> None:
    if each.problems:
        more = len(each.problems) - 1
        said = each.problems[0] + (f"; {counted(more, 'more problem')}: loom validate" if more else "")
        terminal.paragraph(said, first=f"{terminal.sign('bad')} {each.name}: ", rest="   ")
    if each.held and each.held != [""]:
        terminal.paragraph(
            f"held: {_some(each.held)}", first=f"{terminal.sign('bad')} {each.name} ", rest="   "
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
