"""``loom state``: how far an incremental pipeline has come with its source."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import counted, moment
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.release import who
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom

__all__ = ["app"]

app = typer.Typer(
    name="state", help="How far incremental pipelines have come.", rich_markup_mode=None, no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The pipeline.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="The reason; it is kept (`loom audit`).")]


@app.command()
def show(name: Name, project: ProjectDir = None, as_json: AsJson = False) -> int:
    """Show the watermark: what the next run reads from."""
    row = _incremental(project, name).watermark(name)
    if as_json:
        known = None if row is None else row.watermark.as_dict()
        moved = {} if row is None else {"moved_at": row.moved_at, "moved_by": row.moved_by}
        emit({"pipeline": name, "watermark": known, **moved})
        return OK
    terminal = Terminal(sys.stdout)
    if row is None:
        terminal.line(f"{terminal.sign('none')} No watermark: the next run reads everything")
        return OK
    if row.watermark.cursor is not None:
        terminal.line(f"{terminal.sign('good')} {row.watermark.cursor}")
    if row.watermark.files:
        terminal.line(f"{terminal.sign('good')} {counted(len(row.watermark.files), 'file')} loaded")
    terminal.line(f"  moved {moment(row.moved_at)} by {row.moved_by}")
    return OK


@app.command("set")
def set_(
    name: Name,
    value: Annotated[str, typer.Argument(help="A time, a day, a number or a text, like the cursor's.")],
    why: Why = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Let the next run read from VALUE on."""
    from loom_dagster.watermark import Watermark, typed

    loom = _incremental(project, name)
    incremental = loom.spec(name).extract.incremental
    if incremental is None or incremental.cursor is None:
        raise Misconfigured(
            f"`{name}` has no cursor: it reads files it has not loaded", fix=f"loom state reset {name}"
        )
    known = loom.watermark(name)
    as_text = known is not None and isinstance(known.watermark.cursor, str)
    cursor = value if as_text else typed(value)
    loom.ledger.watermarks.set(name, Watermark(cursor=cursor), who=who(), why=why.strip())
    if as_json:
        emit({"pipeline": name, "watermark": Watermark(cursor=cursor).as_dict()})
    else:
        terminal = Terminal(sys.stdout)
        terminal.line(f"{terminal.sign('good')} The next run of {name} reads from {cursor} on")
    return OK


@app.command()
def reset(name: Name, why: Why = "", project: ProjectDir = None, as_json: AsJson = False) -> int:
    """Forget the watermark: the next run reads everything."""
    was = _incremental(project, name).ledger.watermarks.reset(name, who=who(), why=why.strip())
    if as_json:
        emit({"pipeline": name, "reset": was})
    else:
        terminal = Terminal(sys.stdout)
        said = "The next run reads everything" if was else "There was no watermark"
        terminal.line(f"{terminal.sign('good' if was else 'none')} {said}")
    return OK


def _incremental(project: ProjectDir, name: str) -> Loom:
    loom = open_loom(project)
    if loom.spec(name).extract.incremental is None:
        raise Misconfigured(
            f"`{name}` is not incremental: every run reads everything",
            fix="`extract: {incremental: {cursor: COLUMN}}` makes it read what is new",
        )
    return loom
