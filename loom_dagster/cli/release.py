"""``loom release``: a person's word that a held batch may go on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.exits import OK, error_document, exit_code_of, show_error
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.partitions import OneKey, check_key
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.settings import whoami

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.pipeline import LoadResult
    from loom_dagster.release import Snapshot

__all__ = ["held", "release", "who"]


def release(
    name: Annotated[
        str, typer.Argument(metavar="PIPELINE|RUN", help="The pipeline, or the run that was held.")
    ],
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason; it is kept with the release.")],
    partition: OneKey = "",
    no_load: Annotated[bool, typer.Option("--no-load", help="Release only.")] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Release the newest held batch of a pipeline, and load it."""
    reason = said(why)
    loom = open_loom(project)
    name, partition = held(loom, name, partition)
    snapshot = loom.release(name, why=reason, who=who(), partition=partition)
    result, error = None, None
    try:
        result = None if no_load else loom.load(name, partition=partition)
    except LoomError as failed:  # what is released stays released, and that has to be said
        error = failed
    if as_json:
        emit(
            {
                "pipeline": name,
                "snapshot": snapshot.id,
                "partition": snapshot.partition,
                "released_at": snapshot.released_at,
                "released_by": snapshot.released_by,
                "why": snapshot.why,
                "load": result,
                **({"error": error_document(error)} if error else {}),
            }
        )
    else:
        show(snapshot, result, Terminal(sys.stdout))
        if error is not None:
            show_error(Terminal(sys.stderr), error)
    return OK if error is None else exit_code_of(error)


def held(loom: Loom, name: str, partition: str) -> tuple[str, str]:
    """The pipeline and partition that are meant. Raises Misconfigured for those that are not there, and for a run that is
    not its newest one."""
    run = None if name in loom.project.names else loom.ledger.run(name)
    if run is None:
        if loom.verdict(name, partition) is None:
            check_key(loom, name, partition)
        return name, partition
    if partition not in ("", run.partition):
        of = f"of partition {run.partition}" if run.partition else "of no partition"
        raise Misconfigured(f"run {run.run_id} of {run.pipeline} is {of}", fix="leave --partition out")
    newest = loom.ledger.latest_snapshot(run.pipeline, run.partition)
    if newest is None or newest.run_id != run.run_id:
        why = "it left no batch" if newest is None else f"{newest.run_id} came after it"
        raise Misconfigured(f"run {run.run_id} of {run.pipeline} holds nothing that can be released", why=why)
    return run.pipeline, run.partition


def show(snapshot: Snapshot, result: LoadResult | None, terminal: Terminal) -> None:
    """What is released and whether it is loaded."""
    passed = int(snapshot.counts.get("passed", 0))
    sign = terminal.sign("good")
    terminal.line(f"{sign} Released {snapshot.id}: {passed:,} passing records, by {snapshot.released_by}")
    if result is None:
        terminal.line(
            f"{terminal.sign('none')} Not loaded; materializing its table in Dagster does (`loom ui`)"
        )
    elif result.loaded:
        terminal.line(f"{sign} {result.rows:,} loaded into {result.destination} ({result.mode})")
    else:
        terminal.line(f"{terminal.sign('warn')} Not loaded: {result.reason}")


def said(why: str) -> str:
    """The reason, which has to be one. Raises Misconfigured."""
    if not why.strip():
        raise Misconfigured("--why is empty", fix="say why; it is kept, and others will want to know")
    return why.strip()


def who() -> str:
    """The person at the keyboard, as far as the machine knows."""
    return whoami()
