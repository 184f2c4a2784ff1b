"""``loom history``: the runs of a pipeline, and which way its numbers go."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import moment
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.partitions import OneKey, check_key
from loom_dagster.cli.since import Since, moment_of
from loom_dagster.cli.terminal import Terminal

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.ledger import RunNumbers

__all__ = ["history", "known", "say_simulated"]

_EVALUATORS = 3  # columns of scores
_RIGHT = frozenset({"RECORDS", "PASSED", "COST", "TOOK"})
_OPTIONAL = frozenset({"PIPELINE", "PARTITION", "COST", "RELEASED BY"})
_SIGNS: dict[str, Any] = {"released": "good", "succeeded": "good", "running": "none", "superseded": "none"}


def history(
    name: Annotated[str | None, typer.Argument(metavar="PIPELINE", help="Only its runs.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The newest N.")] = 20,
    since: Since = None,
    partition: OneKey = "",
    trials: Annotated[bool, typer.Option("--trials", help="Trial runs too.")] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """List runs, newest first: what became of them, scores, cost, time."""
    loom = open_loom(project)
    runs = loom.ledger.history.runs(
        name,
        partition=partition or None,
        since=moment_of(since, loom.clock.now()),
        limit=limit,
        trials=trials,
    )
    if not runs:
        known(loom, name, partition)
    running = loom.ledger.history.standing().running
    if as_json:
        emit({"runs": [as_document(run, running) for run in runs]})
    else:
        show(runs, running, Terminal(sys.stdout), of=name)
    return OK


def known(loom: Loom, name: str | None, partition: str = "") -> None:
    """To be asked when nothing was found. Raises Misconfigured for a name or a partition that is not there, with the
    nearest one."""
    if name is not None:
        loom.watermark(name)
        if partition and name in loom.project.files:
            check_key(loom, name, partition)


def as_document(run: RunNumbers, running: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """For ``--json``: the fields of the run, its state in one word, and its metrics and scores whole."""
    from loom_dagster.cli.output import as_plain
    from loom_dagster.reports import state_of

    plain: dict[str, Any] = as_plain(run)
    alive = (run.pipeline, run.partition) in running
    return {**plain, "state": state_of(run, alive=alive), "trial": run.partition.startswith("~")}


def show(
    runs: Sequence[RunNumbers],
    running: frozenset[tuple[str, str]],
    terminal: Terminal,
    *,
    of: str | None,
) -> None:
    """A line a run; of one pipeline also the way its numbers go."""
    from loom_dagster.cli.columns import show_columns, width_of
    from loom_dagster.reports import evaluator_trends

    if not runs:
        terminal.line(f"{terminal.sign('none')} No runs" + ("" if of is None else f" of {of}"))
        return
    evaluators = [trend.name for trend in evaluator_trends(runs)][:_EVALUATORS] if of else []
    head, rows = _table(runs, running, evaluators, terminal, of)
    while evaluators and terminal.width is not None and width_of(head, rows) > terminal.width:
        evaluators.pop()  # their means stand below
        head, rows = _table(runs, running, evaluators, terminal, of)
    show_columns(terminal, head, rows, right={*_RIGHT, *evaluators})
    if of is not None and len(runs) > 1:
        terminal.line()
        show_trends(runs, terminal)
    say_simulated(runs, terminal)


def say_simulated(runs: Sequence[RunNumbers], terminal: Terminal) -> None:
    """That an offline model made answers up, if one did."""
    simulated = sum(bool(run.metrics.get("simulated")) for run in runs)
    if simulated:
        of = "all" if simulated == len(runs) else f"{simulated:,}"
        terminal.line(f"simulated answers in {of} of these runs", "yellow")


def _table(
    runs: Sequence[RunNumbers],
    running: frozenset[tuple[str, str]],
    evaluators: Sequence[str],
    terminal: Terminal,
    of: str | None,
) -> tuple[list[str], list[list[str]]]:
    from loom_dagster.cli.columns import without_empty

    head = ["", "RUN", "PIPELINE", "PARTITION", "STATUS", "STARTED", "RECORDS", "PASSED"]
    head += [*evaluators, "COST", "TOOK", "RELEASED BY"]
    rows = [_row(run, running, evaluators, terminal, of) for run in runs]
    return without_empty(head, rows, optional=_OPTIONAL)


def _row(
    run: RunNumbers,
    running: frozenset[tuple[str, str]],
    evaluators: Sequence[str],
    terminal: Terminal,
    of: str | None,
) -> list[str]:
    from loom_dagster.reports import figure, pass_rate_of, state_of

    state = state_of(run, alive=(run.pipeline, run.partition) in running)
    means = {score["name"]: score["mean"] for score in run.scores}
    took = run.metrics.get("seconds_total")
    return [
        terminal.sign(_SIGNS.get(state, "bad" if state in ("held", "failed") else "warn")),
        run.run_id,
        "" if of is not None else run.pipeline,
        run.partition.removeprefix("~") or "-",
        state,
        moment(run.started_at),
        figure(run.metrics.get("extracted"), "count"),
        figure(pass_rate_of(run), "share"),
        *(figure(means.get(name), "score") for name in evaluators),
        figure(run.metrics.get("cost"), "usd"),
        figure(took, "seconds"),
        run.released_by or "-",
    ]


def show_trends(runs: Sequence[RunNumbers], terminal: Terminal) -> None:
    """Pass rate, scores and cost from the oldest of ``runs`` to the newest."""
    from loom_dagster.cli.columns import bars
    from loom_dagster.reports import evaluator_trends, figure, run_trends, whole

    runs = whole(runs)
    shown = [trend for trend in run_trends(runs) if trend.name in ("pass rate", "cost")]
    shown[1:1] = [trend.means for trend in evaluator_trends(runs)]
    arrow = "→" if terminal.ellipsis else "->"
    terminal.table(
        [
            (t.name, bars(terminal, t), f"{figure(t.first, t.kind)} {arrow} {figure(t.last, t.kind)}")
            for t in shown
        ]
    )
