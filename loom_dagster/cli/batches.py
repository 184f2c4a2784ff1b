"""``loom batches``: what is with a provider, what it may cost, and how to end it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import counted, dollars, moment
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.release import who
from loom_dagster.cli.terminal import Sign, Terminal

if TYPE_CHECKING:
    from loom_dagster.ledger import BatchRow

__all__ = ["app"]

app = typer.Typer(name="batches", rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def batches(context: typer.Context, project: ProjectDir = None, as_json: AsJson = False) -> int:
    """Questions that are with a provider's batch API (`transform.mode: batch`)."""
    if context.invoked_subcommand is not None:
        return OK
    return list_(None, only_open=False, limit=20, project=project, as_json=as_json)


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[PIPELINE]", help="Of one pipeline.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only what is not settled.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """List batches, newest first, as they were when somebody looked last."""
    loom = open_loom(project)
    book = loom.ledger.batches
    found = (book.open(name) if only_open else book.rows(pipeline=name, limit=limit))[:limit]
    if name is not None and not found:
        loom.watermark(name)  # raises for an unknown name, with the nearest one
    if as_json:
        emit({"batches": [asdict(row) for row in found]})
        return OK
    terminal = Terminal(sys.stdout)
    if not found:
        terminal.line(f"{terminal.sign('good')} No batches")
    terminal.table([_row(terminal, row) for row in found])
    return OK


@app.command()
def cancel(
    batch: Annotated[str, typer.Argument(metavar="ID", help="The batch, or how its id begins.")],
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Ask the provider to end a batch; what it has answered is paid for, and kept."""
    row = open_loom(project).batching.cancel(batch, who())
    if as_json:
        emit({"batch": asdict(row)})
        return OK
    terminal = Terminal(sys.stdout)
    terminal.line(f"{terminal.sign('good')} {row.provider} was asked to end batch {row.batch_id}")
    terminal.line(f"   loom run {row.pipeline}   takes what it has answered, and asks the rest again")
    return OK


@app.command()
def forget(
    batch: Annotated[str, typer.Argument(metavar="ID", help="The batch, or how its id begins.")],
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Wait no longer for a batch whose .loom folder is gone; it counts at the most it can have cost."""
    row = open_loom(project).batching.forget(batch, who())
    if as_json:
        emit({"batch": asdict(row)})
        return OK
    terminal = Terminal(sys.stdout)
    counts = f"it counts as perhaps {dollars(row.unconfirmed)}"
    terminal.line(f"{terminal.sign('good')} Nobody waits for batch {row.batch_id} any more; {counts}")
    terminal.line(f"   loom run {row.pipeline}   asks its questions again")
    return OK


def _row(terminal: Terminal, row: BatchRow) -> tuple[str, ...]:
    state = row.state if row.state != "submitted" else (row.provider_state or row.state).replace("_", " ")
    if row.cancelled_by and "cancel" not in state:
        state += ", cancelled"
    signs: dict[str, Sign] = {"collected": "good", "refused": "bad", "lost": "bad"}
    sign = signs.get(row.state, "none")
    if row.settled_at is None:
        money = f"at most {dollars(row.reserved)}" if row.reserved else ""
    else:
        money = dollars(row.spent)
        if row.unconfirmed:
            money += f" and perhaps {dollars(row.unconfirmed)}"
    of = f"{row.pipeline}, {row.partition}" if row.partition else row.pipeline
    done = f"{row.done + row.failed:,} of {counted(row.requests, 'question')}"
    at = moment(row.submitted_at) if row.submitted_at else ""
    return (terminal.sign(sign), row.batch_id, of, state, done, money, at, row.note or "")
