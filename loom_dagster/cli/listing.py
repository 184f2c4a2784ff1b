"""``loom list``: the pipelines of a project and how each last ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import moment, share, without_login
from loom_dagster.cli.graph import as_document, graph_of, mermaid, show_graph
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom

__all__ = ["list_pipelines"]


def list_pipelines(
    project: ProjectDir = None,
    graph: Annotated[bool, typer.Option("--graph", help="Show what reads what instead.")] = False,
    form: Annotated[Literal["tree", "mermaid"], typer.Option("--format", help="Of the graph.")] = "tree",
    as_json: AsJson = False,
) -> int:
    """List the pipelines of the project and how each last ended."""
    loom = open_loom(project)
    if graph or form == "mermaid":
        found_graph = graph_of(loom.project)
        if as_json:
            emit({"project": str(loom.settings.root), **as_document(found_graph)})
        elif form == "mermaid":
            for line in mermaid(found_graph).splitlines():
                Terminal(sys.stdout).line(line)
        else:
            show_graph(found_graph, Terminal(sys.stdout))
        return OK
    found = [_describe(loom, name) for name in loom.project.names]
    if as_json:
        emit({"project": str(loom.settings.root), "pipelines": found})
    else:
        show(found, Terminal(sys.stdout), folder=loom.settings.pipelines)
    return OK


def show(found: Sequence[dict[str, Any]], terminal: Terminal, *, folder: str) -> None:
    """One line a pipeline, its way from source to destination below it."""
    if not found:
        terminal.line(f"No pipelines in {folder}/ yet; `loom init` writes an example.")
        return
    rows = [
        (
            terminal.sign(_sign(each)),
            each["name"],
            each["version"] or "-",
            each["status"],
            "-" if each["pass_rate"] is None else share(each["pass_rate"], 1.0),
            moment(each["last_run"]),
            each["model"] or "-",
        )
        for each in found
    ]
    terminal.table(rows, head=("", "NAME", "VERSION", "STATUS", "PASSED", "LAST RUN", "MODEL"))
    terminal.line()
    arrow = "→" if terminal.ellipsis else "->"
    for each in found:
        if each["source"]:
            terminal.paragraph(_way(each, arrow), first=f"{each['name']}: ")
        else:
            terminal.paragraph("; ".join(each["problems"]), first=f"{each['name']}: ")


def _way(each: dict[str, Any], arrow: str) -> str:
    by = "" if each["engine"] == "local" else f", on {each['engine']}"
    return f"{each['source']} {arrow} {each['destination']}{by}"


def _sign(each: dict[str, Any]) -> Any:
    return {"succeeded": "good", "released": "good", "never run": "none"}.get(
        each["status"], "bad" if each["status"] in ("held", "failed", "invalid") else "warn"
    )


def _describe(loom: Loom, name: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": name, "version": None, "model": None, "source": None, "destination": None, "engine": None,
        "status": "invalid", "held": False, "pass_rate": None, "last_run": None, "run_id": None, "problems": [],
    }  # fmt: skip
    from loom_dagster.spec import execution_of

    try:
        spec = loom.project.pipeline(name).spec
    except Misconfigured as error:
        return described | {"problems": [str(p) for p in error.problems] or [error.sentence()]}
    model = spec.transform.model or loom.settings.model
    described |= {
        "version": spec.version, "model": model,
        "source": without_login(spec.extract.source), "destination": without_login(spec.load.destination),
        "engine": execution_of(spec.execution, loom.settings.execution).engine,
    }  # fmt: skip
    return described | _last(loom, name)


def _last(loom: Loom, name: str) -> dict[str, Any]:
    """How the newest run ended, trials aside, and whether its batch waits for a person."""
    # partitions that begin with ~ are scratch
    run = next((r for r in loom.ledger.runs(name) if not r.partition.startswith("~")), None)
    if run is None:
        return {"status": "never run"}
    snapshot = loom.verdict(name, run.partition)
    held = snapshot is not None and snapshot.id == run.run_id and snapshot.released_at is None
    return {
        "status": "released" if run.status == "held" and not held else run.status,
        "held": held and run.status == "held",
        "pass_rate": snapshot.pass_rate if snapshot is not None and snapshot.id == run.run_id else None,
        "last_run": run.finished_at or run.started_at,
        "run_id": run.run_id,
    }
