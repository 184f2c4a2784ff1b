"""``loom clean``: what is old and nobody needs any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import byte_size, counted
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.release import who
from loom_dagster.cli.terminal import Terminal
from loom_dagster.cli.times import duration
from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly.cleaning import Cleaning, Old

__all__ = ["clean"]


def clean(
    older_than: Annotated[str, typer.Option("--older-than", metavar="TIME", help="How old: 30d, 12w.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Of these only, also of some that are gone."),
    ] = None,
    what: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Some of snapshots,answers,runs,scratch; default: all."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason; it is kept (`loom audit`).")] = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Remove old snapshots that nobody reads, old answers, samples of old runs, and what killed runs left."""
    from loom_dagster.assembly.cleaning import clean as carry_out

    old = _old(older_than, names or [], what)
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    if not (dry_run or yes or asks):
        raise Misconfigured("nobody is there to be asked", fix="say --yes, or look first with --dry-run")
    loom = open_loom(project)
    terminal = Terminal(sys.stdout)
    if dry_run or not yes:
        found = carry_out(loom, old, do=False)
        if not as_json:
            _show(terminal, found, old, done=False)
        if dry_run or not found.parts:
            return _said(found, removed=False, as_json=as_json)
        if not typer.confirm("Remove this?", default=False):
            terminal.line(f"{terminal.sign('none')} Nothing was removed")
            return OK
    done = carry_out(loom, old, do=True, who=who(), why=why.strip())
    if not as_json:
        _show(terminal, done, old, done=True)
    return _said(done, removed=True, as_json=as_json)


def _old(older_than: str, names: list[str], what: str | None) -> Old:
    """Raises Misconfigured."""
    from loom_dagster.assembly.cleaning import WHAT, Old

    age = duration(older_than)
    if not age:
        raise Misconfigured(f"--older-than {older_than} is everything", fix="say how old: 30d, 12w")
    chosen = tuple(dict.fromkeys(word.strip() for word in what.split(","))) if what is not None else WHAT
    for word in chosen:
        if word not in WHAT:
            raise Misconfigured(
                f"`{word}` is nothing that can be cleaned", fix=f"there are: {', '.join(WHAT)}"
            )
    return Old(than=age, said=older_than, pipelines=tuple(dict.fromkeys(names)), what=chosen)


def _show(terminal: Terminal, cleaning: Cleaning, old: Old, *, done: bool) -> None:
    for line in cleaning.left_out:
        terminal.paragraph(line, first=f"{terminal.sign('warn')} Left out: ", rest="   ")
    if not cleaning.parts:
        terminal.line(f"{terminal.sign('good')} Nothing to remove is older than {old.said}")
        return
    rows = [
        (part.what, part.pipeline or "-", f"{part.number:,}", byte_size(part.size) if part.size else "-")
        for part in cleaning.parts
    ]
    terminal.table(rows, head=("WHAT", "PIPELINE", "HOW MANY", "SIZE"))
    total = byte_size(sum(part.size for part in cleaning.parts))
    if done:
        terminal.line(f"{terminal.sign('good')} Removed, about {total}")
    else:
        number = counted(sum(part.number for part in cleaning.parts), "thing")
        terminal.line(f"{number} older than {old.said}, about {total}")


def _said(cleaning: Cleaning, *, removed: bool, as_json: bool) -> int:
    if as_json:
        emit(
            {
                "removed": removed,
                "bytes": sum(part.size for part in cleaning.parts),
                "parts": cleaning.parts,
                "left_out": cleaning.left_out,
            }
        )
    return OK
