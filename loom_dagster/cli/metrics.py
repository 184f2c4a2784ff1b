"""``loom metrics``: scores, costs, latencies and tokens over the newest runs, for people and for Prometheus."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import counted, moment
from loom_dagster.cli.history import known, say_simulated
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.since import Since, moment_of
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.ledger import RunNumbers
    from loom_dagster.reports import Trend

__all__ = ["metrics"]

_RIGHT = frozenset({"LAST", "MEAN"})
Runs = Mapping[str, Sequence["RunNumbers"]]


def metrics(
    name: Annotated[str | None, typer.Argument(metavar="PIPELINE", help="Only this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Over the newest N runs.")] = 20,
    since: Since = None,
    form: Annotated[
        Literal["table", "prometheus"], typer.Option("--format", help="prometheus: its text format.")
    ] = "table",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write Prometheus' text there, in one step.")
    ] = None,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Show scores, pass rates, latencies, costs and tokens over the newest runs."""
    _check(form, output, since, as_json=as_json)
    loom = open_loom(project)
    if form == "prometheus":
        _tell_prometheus(loom, name, output)
        return OK
    from loom_dagster.reports import whole

    after = moment_of(since, loom.clock.now())
    if name is not None:
        found: Runs = {name: whole(loom.ledger.history.runs(name, since=after, limit=limit))}
    else:
        newest = loom.ledger.history.newest(limit, numbers=True)
        found = {
            each: [run for run in whole(newest[each]) if after is None or run.started_at >= after]
            for each in sorted(newest)
        }
    if not any(found.values()):
        known(loom, name)
    if as_json:
        emit({"pipelines": [_document(each, runs) for each, runs in found.items() if runs or name]})
    else:
        _show(found, Terminal(sys.stdout))
    return OK


def _check(form: str, output: Path | None, since: str | None, *, as_json: bool) -> None:
    if form != "prometheus" and output is not None:
        raise Misconfigured("--output is for Prometheus", fix="add --format prometheus")
    if form == "prometheus" and (as_json or since is not None):
        given = "--json" if as_json else "--since"
        raise Misconfigured(f"--format prometheus and {given} do not go together", fix=f"leave {given} out")


def _tell_prometheus(loom: Loom, name: str | None, output: Path | None) -> None:
    from loom_dagster.cli.writing import write_whole
    from loom_dagster.reports import exposition

    history = loom.ledger.history
    newest = {each: runs[0] for each, runs in sorted(history.newest(1, numbers=True).items())}
    totals = history.totals()
    if name is not None:
        if name not in newest:
            known(loom, name)
        newest = {name: newest[name]} if name in newest else {}
        totals = [each for each in totals if each.pipeline == name]
    text = exposition(loom.settings.root.name, newest, history.standing(), totals)
    if output is None:
        Terminal(sys.stdout).write(text)
    else:
        write_whole(output, text)


def _show(found: Runs, terminal: Terminal) -> None:
    from loom_dagster.cli.columns import bars, show_columns
    from loom_dagster.reports import figure

    shown = {name: runs for name, runs in found.items() if runs}
    if not shown:
        terminal.line(f"{terminal.sign('none')} No runs")
    for number, (name, runs) in enumerate(shown.items()):
        if number:
            terminal.line()
        terminal.line(f"{name}: {counted(len(runs), 'run')}, the last {moment(runs[0].started_at)}", "bold")
        rows = [
            [label, figure(t.last, t.kind), figure(t.mean, t.kind), bars(terminal, t)]
            for label, t in _trends(runs)
        ]
        show_columns(terminal, ["", "LAST", "MEAN", "RUNS"], rows, right=_RIGHT)
        say_simulated(runs, terminal)


def _trends(runs: Sequence[RunNumbers]) -> list[tuple[str, Trend]]:
    from loom_dagster.reports import evaluator_trends, run_trends

    found = [(trend.name, trend) for trend in run_trends(runs)]
    for each in reversed(evaluator_trends(runs)):
        found.insert(1, (f"{each.name}, reached {each.threshold:.2f}", each.pass_rates))
        found.insert(1, (f"{each.name}, mean", each.means))
    return found


def _document(name: str, runs: Sequence[RunNumbers]) -> dict[str, Any]:
    from loom_dagster.reports import evaluator_trends, run_trends

    def series(trend: Trend) -> dict[str, Any]:
        return {"last": trend.last, "mean": trend.mean, "values": trend.values}

    return {
        "pipeline": name,
        "runs": [run.run_id for run in reversed(runs)],
        "simulated": [bool(run.metrics.get("simulated")) for run in reversed(runs)],
        "evaluators": [
            {
                "name": each.name,
                "type": each.type,
                "threshold": each.threshold,
                "score": series(each.means),
                "pass_rate": series(each.pass_rates),
            }
            for each in evaluator_trends(runs)
        ],
        "metrics": {t.name.replace(" ", "_"): {"unit": t.kind, **series(t)} for t in run_trends(runs)},
    }
