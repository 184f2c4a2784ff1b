"""``loom answers``: what was paid for and is kept, and what is to be asked anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import byte_size, counted, dollars, moment
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.release import said, who
from loom_dagster.cli.terminal import Terminal

if TYPE_CHECKING:
    from loom_dagster.ledger import AnswerGroup

__all__ = ["app"]

app = typer.Typer(
    name="answers",
    help="The answers that were paid for.",
    rich_markup_mode=None,
    invoke_without_command=True,
)


@app.callback()
def answers(context: typer.Context, project: ProjectDir = None, as_json: AsJson = False) -> int:
    """What was paid for and is kept."""
    if context.invoked_subcommand is not None:
        return OK
    return stats(project=project, as_json=as_json)


@app.command()
def stats(project: ProjectDir = None, as_json: AsJson = False) -> int:
    """Show how many answers are kept, of which prompts and models, and what they cost."""
    loom = open_loom(project)
    upkeep, place = loom.upkeep, loom.answer_place.name
    groups, size = upkeep.groups(), upkeep.size()
    total = sum(group.answers for group in groups)
    if as_json:
        emit({"answers": total, "bytes": size, "place": place, "groups": groups})
        return OK
    terminal = Terminal(sys.stdout)
    if not groups:
        terminal.line(f"{terminal.sign('none')} No answers are kept yet")
        return OK
    _show(terminal, groups)
    terminal.line()
    shared = f", on {place}" if "://" in place else ""
    terminal.line(f"{counted(total, 'answer')}, {byte_size(size)}{shared}")
    return OK


def _show(terminal: Terminal, groups: Sequence[AnswerGroup]) -> None:
    head = ("PIPELINE", "PROMPT", "MODEL", "ANSWERS", "COST", "OLDEST", "NEWEST")
    rows = [
        (
            group.pipeline,
            group.prompt or "(judge)",
            group.model,
            f"{group.answers:,}",
            "unknown" if group.cost is None else dollars(group.cost),
            _day(group.oldest),
            _day(group.newest),
        )
        for group in groups
    ]
    terminal.table(rows, head=head)


def _day(seconds: float) -> str:
    return moment(datetime.fromtimestamp(seconds, UTC))


@app.command()
def forget(
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason; it is kept (`loom audit`).")],
    record: Annotated[str | None, typer.Option(metavar="ID", help="Those to this record.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="NAME", help="Those to this prompt.")] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="Those of this model.")] = None,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Forget the answers for which all that is given holds; asking again is paid for again."""
    from loom_dagster.assembly.forgetting import forget_answers
    from loom_dagster.ledger import Selection

    reason, loom = said(why), open_loom(project)
    wanted = Selection(record=record, prompt=prompt, model=model)
    number = forget_answers(loom, wanted, who=who(), why=reason)
    if as_json:
        emit({"forgotten": number})
    else:
        terminal = Terminal(sys.stdout)
        sign = terminal.sign("good" if number else "none")
        terminal.line(f"{sign} {counted(number, 'answer')} forgotten")
        if record is not None and not number:
            text = "no answer was asked for this record first. If it shares that of another one, `loom lineage PIPELINE --record ID` names it"
            terminal.paragraph(text, first="   ", rest="   ")
    return OK


@app.command()
def copy(project: ProjectDir = None, as_json: AsJson = False) -> int:
    """Copy the answers of the file in .loom into the database that `[tool.loom] answers` names; the file stays."""
    from loom_dagster.assembly.moving import copy_answers

    copied = copy_answers(open_loom(project))
    if as_json:
        emit(copied._asdict())
        return OK
    terminal = Terminal(sys.stdout)
    known = copied.answers - copied.new
    there = f"; {known:,} of {copied.answers:,} were there" if known else ""
    terminal.line(f"{terminal.sign('good')} {counted(copied.new, 'answer')} copied to {copied.place}{there}")
    return OK
