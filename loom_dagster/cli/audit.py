"""``loom audit``: who did what, when and why."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.exits import FAILED, OK
from loom_dagster.cli.figures import counted, moment
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.terminal import Terminal
from loom_dagster.cli.times import since as since_when
from loom_dagster.errors import Misconfigured

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.ledger import AuditRow

__all__ = ["audit"]


def audit(
    name: Annotated[str | None, typer.Argument(metavar="[PIPELINE]", help="Of one pipeline.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on: 2026-11-21, or 7d ago.")
    ] = None,
    action: Annotated[
        str | None, typer.Option(metavar="WORD", help="Only one kind of deed, such as release.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many, newest first.")] = 50,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check that no entry was changed or taken away.")
    ] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """List who released, resolved, reset, muted, forgot or removed what, when and why."""
    loom = open_loom(project)
    if verify:
        return _verify(loom, as_json=as_json)
    start = None if since is None else since_when(since, loom.clock.now())
    entries = loom.ledger.audit.entries(pipeline=name, action=action, since=start, limit=limit)
    if not entries:
        _refuse_unknown(loom, name, action)
    if as_json:
        emit({"entries": entries})
        return OK
    terminal = Terminal(sys.stdout)
    if not entries:
        terminal.line(f"{terminal.sign('none')} Nobody did anything that is kept here")
        return OK
    head = ("NO", "WHEN", "WHO", "DID", "TO", "WHY")
    terminal.table([_row(entry) for entry in entries], head=head)
    return OK


def _row(entry: AuditRow) -> tuple[str, ...]:
    where = f"{entry.pipeline} ({entry.partition})" if entry.partition else entry.pipeline
    to = " ".join(part for part in (where, entry.subject, _number(entry)) if part)
    return str(entry.number), moment(entry.at), entry.who, entry.action, to or "-", entry.why or "-"


def _number(entry: AuditRow) -> str:
    """How much it was, where that is told: of records, answers, or of what was cleaned."""
    detail = entry.detail
    if "resolved" in detail:
        return counted(detail["resolved"], "record")
    if entry.action == "answers_forget":
        given = ", ".join(f"{of} {detail[of]}" for of in ("record", "prompt", "model") if of in detail)
        return f"{counted(detail['answers'], 'answer')}, {given}"
    return f"({detail[entry.subject]:,})" if isinstance(detail.get(entry.subject), int) else ""


def _verify(loom: Loom, *, as_json: bool) -> int:
    number, head, wrong = loom.ledger.audit.verify()
    if as_json:
        emit({"entries": number, "hash": head, "intact": wrong is None, "broken": wrong})
        return OK if wrong is None else FAILED
    terminal = Terminal(sys.stdout)
    if wrong is not None:
        terminal.line(f"{terminal.sign('bad')} Entry {wrong.number}: {wrong.why}")
        return FAILED
    terminal.line(f"{terminal.sign('good')} {counted(number, 'entry', 'entries')}, each as it was written")
    if head:
        terminal.line(f"  the last one: {number} {head}")
    return OK


def _refuse_unknown(loom: Loom, name: str | None, action: str | None) -> None:
    """Nothing was found; a name that nobody knows is why. Raises Misconfigured."""
    if name is not None and not loom.ledger.runs(name, limit=1):
        loom.watermark(name)  # raises for an unknown name, with the nearest one
    known = loom.ledger.audit.actions()
    if action is not None and known and action not in known:
        near = difflib.get_close_matches(action, known, n=1)
        fix = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known)}"
        raise Misconfigured(f"nobody did `{action}`", fix=fix)
