"""``loom lineage``: what a pipeline hangs together with, what a run used, where a record came from, what changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import as_plain, emit
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom

__all__ = ["lineage"]

Form = Literal["text", "json", "mermaid", "openlineage"]


def lineage(
    name: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline.")],
    run: Annotated[str | None, typer.Option(metavar="RUN", help="What this run used and came to.")] = None,
    record: Annotated[
        str | None, typer.Option(metavar="ID", help="The story of one record, from source to destination.")
    ] = None,
    diff: Annotated[
        tuple[str, str] | None, typer.Option(metavar="RUN_A RUN_B", help="What changed between two runs.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="KEY", help="Look for the record in this partition only.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How to write it.")] = "text",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to a file.")] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of OpenLineage's jobs; default: the project's folder.")
    ] = None,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Show where outputs come from: of a pipeline, a run or a single record; or what changed between two runs."""
    _check(run, record, diff, partition, form, as_json=as_json)
    loom = open_loom(project)
    form = "json" if as_json else form
    if diff is not None:
        from loom_dagster.assembly.differences import run_diff
        from loom_dagster.cli.diff_page import show_diff

        return _give(run_diff(loom, name, *diff), show_diff, form, output)
    if record is not None:
        from loom_dagster.assembly.tracing import trace
        from loom_dagster.cli.record_page import show_record

        return _give(trace(loom, name, record, run=run, partition=partition), show_record, form, output)
    if form == "openlineage":
        events = _events(loom, name, run, namespace or loom.settings.root.name)
        return _write("".join(json.dumps(as_plain(e), ensure_ascii=True) + "\n" for e in events), output)
    return _of_pipeline(loom, name, run, form, output)


def _of_pipeline(loom: Loom, name: str, run: str | None, form: Form, output: Path | None) -> int:
    from loom_dagster.assembly.describing import pipeline_lineage, run_lineage
    from loom_dagster.cli.lineage_page import show_pipeline, show_run
    from loom_dagster.lineage import pipeline_chart, run_chart

    if run is not None:
        document = run_lineage(loom, name, run)
        return (
            _write(run_chart(document), output)
            if form == "mermaid"
            else _give(document, show_run, form, output)
        )
    document = pipeline_lineage(loom, name)
    return (
        _write(pipeline_chart(document), output)
        if form == "mermaid"
        else _give(document, show_pipeline, form, output)
    )


def _events(loom: Loom, name: str, run: str | None, namespace: str) -> Sequence[Mapping[str, Any]]:
    from loom_dagster.assembly.describing import pipeline_lineage, run_lineage
    from loom_dagster.assembly.open_lineage import events_of_pipeline, events_of_run

    if run is not None:
        return events_of_run(loom, run_lineage(loom, name, run), namespace)
    return events_of_pipeline(loom, pipeline_lineage(loom, name), namespace)


def _check(
    run: str | None,
    record: str | None,
    diff: tuple[str, str] | None,
    partition: str | None,
    form: Form,
    *,
    as_json: bool,
) -> None:
    """Raises Misconfigured for what does not go together."""
    if diff is not None and (run is not None or record is not None):
        raise Misconfigured("--diff goes without --run and --record", fix="--diff RUN_A RUN_B")
    if partition is not None and record is None:
        raise Misconfigured("--partition belongs to --record")
    if as_json and form not in ("text", "json"):
        raise Misconfigured(f"--json and --format {form} are two forms", fix="say one of them")
    if form in ("mermaid", "openlineage") and (diff is not None or record is not None):
        what = "a difference" if diff is not None else "a record"
        raise Misconfigured(f"{what} cannot be written as {form}", fix="--format json")


def _give(
    document: Mapping[str, Any],
    show: Callable[[Mapping[str, Any], Terminal], None],
    form: Form,
    output: Path | None,
) -> int:
    if form == "json" and output is None:
        emit(document)
        return OK
    if output is None:
        show(document, Terminal(sys.stdout))
        return OK
    if form == "json":
        return _write(json.dumps(as_plain(document), indent=2, ensure_ascii=True) + "\n", output)
    import io

    page = io.StringIO()
    show(document, Terminal(page))
    return _write(page.getvalue(), output)


def _write(text: str, output: Path | None) -> int:
    terminal = Terminal(sys.stdout)
    if output is None:
        for line in text.splitlines():
            terminal.line(line)
        return OK
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Misconfigured("cannot be written", where=str(output), why=error.strerror) from error
    terminal.line(f"{terminal.sign('good')} {output}")
    return OK
