"""``loom quarantine``: what did not pass, why, and what to do about it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loom_dagster.cli.exits import OK
from loom_dagster.cli.figures import counted, moment
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import as_plain, emit
from loom_dagster.cli.partitions import OneKey, check_key
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import Misconfigured
from loom_dagster.settings import RunOptions

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.ledger import QuarantineEntry
    from loom_dagster.pipeline import Outcome
    from loom_dagster.release import Snapshot

__all__ = ["app"]

app = typer.Typer(
    help="List, show, retry and resolve records that did not pass.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_JSON = frozenset({"source", "output", "scores", "versions"})

Name = Annotated[str, typer.Argument(help="The pipeline.")]


@app.command("list")
def list_entries(
    name: Name,
    everything: Annotated[bool, typer.Option("--all", help="Resolved records too.")] = False,
    stage: Annotated[str | None, typer.Option(help="Only those that failed at this stage.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only those of this kind, such as wrong_schema.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N.")] = 50,
    partition: OneKey = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """List the records in quarantine, newest run first."""
    loom = open_loom(project)
    kept = loom.quarantine(name, resolved=everything, partition=partition or None)
    if partition and not kept:
        check_key(loom, name, partition)
    entries = [e for e in kept if (stage is None or e.stage == stage) and (kind is None or e.kind == kind)]
    if as_json:
        emit({"pipeline": name, "total": len(entries), "records": entries[:limit]})
    else:
        show_entries(name, entries, limit, Terminal(sys.stdout))
    return OK


def show_entries(name: str, entries: Sequence[QuarantineEntry], limit: int, terminal: Terminal) -> None:
    """A line a record, and what can be done."""
    if not entries:
        terminal.line(f"{terminal.sign('good')} Nothing in quarantine")
        return
    partitions = any(e.partition for e in entries)
    head = ("RECORD", *(("PARTITION",) if partitions else ()), "STAGE", "KIND", "SINCE", "REASON")
    rows = [
        (
            e.record_id,
            *((e.partition,) if partitions else ()),
            e.stage,
            e.kind if e.resolved_at is None else f"{e.kind} (resolved)",
            moment(e.quarantined_at),
            e.reason,
        )
        for e in entries[:limit]
    ]
    terminal.table(rows, head=head)
    terminal.line()
    more = f", {limit:,} shown (--limit)" if len(entries) > limit else ""
    terminal.line(f"{counted(len(entries), 'record')}{more}")
    quoted = shlex.quote(name)
    terminal.line(f"  loom quarantine show {quoted} {shlex.quote(entries[0].record_id)}")
    of_it = f" --partition {shlex.quote(entries[0].partition)}" if partitions else ""
    terminal.line(f"  loom quarantine retry {quoted}{of_it} --all")


@app.command()
def show(
    name: Name,
    record_id: Annotated[str, typer.Argument(help="As in `loom quarantine list`.")],
    partition: OneKey = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Show one record: its source row, why it failed, its scores, the raw answer, the versions used."""
    loom = open_loom(project)
    whole = whole_record(loom, name, record_id, partition)
    if as_json:
        emit({"pipeline": name, "record": whole})
    else:
        show_record(name, whole, Terminal(sys.stdout))
    return OK


def show_record(name: str, whole: Mapping[str, Any], terminal: Terminal) -> None:
    """The record as a page."""
    terminal.line(f"{name}: {whole['record_id']}", "bold")
    for label in ("stage", "kind", "reason", "run_id", "model", "attempts", "quarantined_at", "resolution"):
        if whole.get(label) not in (None, ""):
            value = moment(whole[label]) if label == "quarantined_at" else str(whole[label])
            terminal.paragraph(value, first=f"  {label.replace('_', ' ') + ':':<16}", rest=" " * 18)
    _block("Source", whole.get("source"), terminal)
    _block("Output", whole.get("output"), terminal)
    _scores(whole.get("scores") or (), terminal)
    _block("Versions", whole.get("versions"), terminal)
    if whole.get("raw_answer"):
        terminal.line()
        terminal.line("Raw answer:", "bold")
        for line in str(whole["raw_answer"]).split("\n"):
            terminal.line(f"  {line}")
    terminal.line()
    terminal.line(f"  loom quarantine retry {shlex.quote(name)} {shlex.quote(str(whole['record_id']))}")


def _block(title: str, values: Mapping[str, Any] | None, terminal: Terminal) -> None:
    if not values:
        return
    terminal.line()
    terminal.line(f"{title}:", "bold")
    for key, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        terminal.paragraph(text, first=f"  {key}: ", rest="    ")


def _scores(scores: Sequence[Mapping[str, Any]], terminal: Terminal) -> None:
    if not scores:
        return
    terminal.line()
    terminal.line("Scores:", "bold")
    for score in scores:
        sign = terminal.sign("good" if score["passed"] else "bad")
        relation = ">=" if score["passed"] else "<"
        said = (
            "no score"
            if score["value"] is None
            else f"{score['value']:.2f} {relation} {score['threshold']:.2f}"
        )
        why = score.get("error") or score.get("explanation")
        terminal.paragraph(
            f"{score['name']}: {said}" + (f". {why}" if why else ""), first=f"  {sign} ", rest="     "
        )


@app.command()
def retry(
    name: Name,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Records to try again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every record that can be tried again.")] = False,
    model: Annotated[str | None, typer.Option(metavar="M", help="With another model.")] = None,
    no_load: Annotated[bool, typer.Option("--no-load", help="Do not load what passes now.")] = False,
    partition: OneKey = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Ask the model again for records in quarantine; what passes now is loaded."""
    from loom_dagster.cli.interrupts import interruptible
    from loom_dagster.cli.progress import watching
    from loom_dagster.cli.run import carry_out, report
    from loom_dagster.pipeline import Stop
    from loom_dagster.spec import is_stream

    wanted = _wanted(ids, everything)
    loom = open_loom(project)
    _known(loom, name, wanted or [], partition)
    options = RunOptions(model=model, load=model is not None)
    stop = Stop()
    with watching(sys.stderr) as watch:
        attempt = partial(loom.retry, name, wanted, options, partition=partition, listen=watch, stop=stop)
        own = partial(_own, loom, name) if is_stream(loom.spec(name).extract.source) else None
        work = partial(
            carry_out, loom, name, options, attempt, load=not no_load, partition=partition, of_stream=own
        )
        ended = interruptible(work, stop, watch.say)
    return report([ended], as_json=as_json)


@app.command()
def resolve(
    name: Name,
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Records that are dealt with.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="How; it is kept with the records.")],
    partition: OneKey = "",
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Mark records as dealt with: they stay on file and are not listed any more."""
    from loom_dagster.cli.release import said, who

    reason = said(why)
    loom = open_loom(project)
    _known(loom, name, ids, partition)
    number = loom.resolve(
        name, list(dict.fromkeys(ids)), resolution=reason, who=who(), partition=partition or None
    )
    if as_json:
        emit({"pipeline": name, "resolved": number})
    else:
        terminal = Terminal(sys.stdout)
        terminal.line(f"{terminal.sign('good')} {counted(number, 'record')} resolved")
    return OK


def _own(loom: Loom, name: str, outcome: Outcome) -> Snapshot | None:
    return loom.releases.snapshot(name, outcome.run_id)


def _wanted(ids: Sequence[str] | None, everything: bool) -> list[str] | None:
    """The ids named, or None for all. Raises Misconfigured."""
    if everything == bool(ids):
        raise Misconfigured("name records or say --all" + (", not both" if ids else ""))
    return list(dict.fromkeys(ids or ())) or None


def _known(loom: Loom, name: str, ids: Sequence[str], partition: str = "") -> dict[str, QuarantineEntry]:
    """The entries of ``ids``. Raises Misconfigured when some are not in quarantine."""
    import difflib

    entries = {e.record_id: e for e in loom.quarantine(name, resolved=True, partition=partition or None)}
    unknown = [i for i in ids if i not in entries]
    if partition and not entries:
        check_key(loom, name, partition)
    if unknown:
        near = difflib.get_close_matches(unknown[0], entries, n=1)
        raise Misconfigured(
            f"not in the quarantine of `{name}`: {', '.join(unknown)}",
            fix=f"did you mean `{near[0]}`?"
            if near
            else f"`loom quarantine list {name} --all` shows what is",
        )
    return {i: entries[i] for i in ids}


def whole_record(loom: Loom, name: str, record_id: str, partition: str = "") -> dict[str, Any]:
    """What the index and the run's own file know of a record. Raises Misconfigured when it is unknown."""
    entry = as_plain(_known(loom, name, [record_id], partition)[record_id])
    snapshot = loom.releases.snapshot(name, entry["run_id"])
    kept = None if snapshot is None else _row(snapshot.quarantine, record_id)
    if kept is None and snapshot is not None and entry["stage"] == "load":
        kept = _refused(snapshot.transformed, record_id, entry["reason"])
    whole = {**(kept or {}), **{k: v for k, v in entry.items() if v is not None}}
    if kept is not None:
        whole["reason"] = kept["reason"]  # the index holds the beginning only
    return whole


def _refused(path: Path, record_id: str, reason: str) -> dict[str, Any] | None:
    """A record that passed and that the destination did not take: its row."""
    import pyarrow.parquet as pq

    rows = (
        pq.read_table(path, filters=[("_loom_record_id", "==", record_id)]).to_pylist()
        if path.exists()
        else []
    )
    if not rows:
        return None
    source = {k: v for k, v in rows[0].items() if not k.startswith("_loom_")}
    found: dict[str, Any] = as_plain(
        {"source": source, "reason": reason, "model": rows[0].get("_loom_model")}
    )
    return found


def _row(path: Path, record_id: str) -> dict[str, Any] | None:
    """The record in a snapshot's quarantine, what is JSON there taken apart; None when it is gone."""
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    rows = pq.read_table(path, filters=[("record_id", "==", record_id)]).to_pylist()
    if not rows:
        return None
    for key in _JSON & rows[0].keys():
        if isinstance(rows[0][key], str):
            rows[0][key] = json.loads(rows[0][key])
    row: dict[str, Any] = as_plain(rows[0])
    return row
