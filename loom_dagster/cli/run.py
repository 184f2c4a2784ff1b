"""``loom run``: pipelines, through Dagster or, with ``--direct``, without it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Annotated

import typer

from loom_dagster.cli.ended import Ended
from loom_dagster.cli.exits import INTERRUPTED, show_error
from loom_dagster.cli.options import AsJson, ProjectDir, chosen, open_loom
from loom_dagster.cli.output import emit
from loom_dagster.cli.partitions import Keys, Range, chosen_keys
from loom_dagster.cli.terminal import Terminal
from loom_dagster.cli.waiting import Timeout, Wait, timeout_of, until_settled
from loom_dagster.errors import LoomError, Misconfigured
from loom_dagster.settings import RunOptions

if TYPE_CHECKING:
    from loom_dagster.assembly import Loom
    from loom_dagster.cli.progress import Watch
    from loom_dagster.pipeline import Outcome
    from loom_dagster.release import Snapshot

__all__ = ["Ended", "carry_out", "report", "run"]


def run(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Pipelines to run.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Run every pipeline of the project.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Without Dagster: starts faster, no UI.")] = False,
    partition: Keys = None,
    partitions: Range = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="A trial of the first N records.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="A trial with another model.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="A trial with simulated answers, free.")] = False,
    param: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A value for the query; repeatable.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not continue a run that did not end.")] = False,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Read an incremental source from its beginning.")
    ] = False,
    load: Annotated[bool, typer.Option("--load", help="Load what a trial gives.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Unlocked prompts are errors.")] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Run pipelines: extract, transform, evaluate, load."""
    options = RunOptions(
        limit=limit,
        model=model,
        offline=offline,
        fresh=fresh,
        full_refresh=full_refresh,
        load=load,
        strict=strict,
        params=parameters(param or []),
    )
    patience = timeout_of(timeout, wait=wait)
    loom = open_loom(project)
    for name in names or []:
        if name in loom.project.broken:
            loom.run(name, options)  # raises, and tells people that it cannot
    wanted = chosen(loom, names or [], everything)
    from loom_dagster.cli.progress import watching

    ended = [_broken(loom, name, options) for name in wanted if name not in loom.project.files]
    sound = [name for name in wanted if name in loom.project.files]
    keys = chosen_keys(loom, sound, partition or [], partitions, everything=everything)
    if sound:
        with watching(sys.stderr) as watch:
            start = partial(run_direct if direct else run_dagster, loom, options=options, watch=watch)
            ended += until_settled(loom, start, keys, patience, watch) if wait else start(keys)
    return report(ended, as_json=as_json)


def parameters(texts: Sequence[str]) -> dict[str, str]:
    """``["day=2026-01-01"]`` as a mapping. Raises Misconfigured."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise Misconfigured(f"--param takes KEY=VALUE, not `{text}`")
        if found.setdefault(key.strip(), value) != value:
            raise Misconfigured(f"--param {key.strip()} is given twice, with different values")
    return found


def run_direct(
    loom: Loom, keys: Mapping[str, Sequence[str]], options: RunOptions, watch: Watch
) -> list[Ended]:
    """One after the other, without Dagster, each after those it reads; not if one of those failed.

    ``keys``: the partitions of each pipeline. A trial publishes nothing, so none waits for another.
    """
    from loom_dagster.cli.interrupts import interruptible
    from loom_dagster.cli.light import arrow_without_pandas, keep_imports
    from loom_dagster.pipeline import Stop

    arrow_without_pandas()
    keep_imports()
    reads = {n: [] if options.trial else sorted({*loom.project.upstream(n)} & {*keys}) for n in keys}
    stop, ended = Stop(), dict[tuple[str, str], Ended]()
    jobs = [(name, key) for name in TopologicalSorter(reads).static_order() for key in keys[name]]
    for name, key in jobs:
        failed = tuple(n for n in reads[name] if _failed(ended, n, key))
        if failed:
            batches = all(_waits(ended, n, key) for n in failed)
            ended[name, key] = Ended(name=name, partition=key, waits_for=failed, for_batches=batches)
            continue
        attempt = partial(loom.run, name, options, partition=key, listen=watch, stop=stop)
        work = partial(carry_out, loom, name, options, attempt, load=True, partition=key)
        ended[name, key] = interruptible(work, stop, watch.say)
        if stop.requested:
            break
    return list(ended.values())


def _failed(ended: Mapping[tuple[str, str], Ended], name: str, key: str) -> bool:
    """Whether ``name`` has nothing for the partition ``key`` of one that reads it: that one failed, or all did."""
    of_it = {k: e for (n, k), e in ended.items() if n == name}
    return all(e.blocks for k, e in of_it.items() if key not in of_it or k == key)


def _waits(ended: Mapping[tuple[str, str], Ended], name: str, key: str) -> bool:
    """Whether ``name`` has nothing for the partition ``key`` of one that reads it, but will when batches have ended."""
    of_it = {k: e for (n, k), e in ended.items() if n == name}
    return any(e.not_begun for k, e in of_it.items() if key not in of_it or k == key)


def carry_out(
    loom: Loom,
    name: str,
    options: RunOptions,
    attempt: Callable[[], Outcome],
    *,
    load: bool,
    partition: str = "",
    of_stream: Callable[[Outcome], Snapshot | None] | None = None,
) -> Ended:
    """``attempt``, and the loading of what it released: ``of_stream`` says which snapshot, for of a stream the
    latest may be another batch by now. An error is part of how it ended."""
    outcome = None
    try:
        outcome = attempt()
        if load and outcome.released and not options.trial:
            own = of_stream(outcome) if of_stream else None
            done = loom.load(name, options, own) if own else loom.load(name, options, partition=partition)
            outcome = replace(outcome, load=done)
    except LoomError as error:
        if outcome is not None:
            outcome = replace(outcome, stopped_by=f"not loaded: {error.sentence()}")
        return Ended(name=name, partition=partition, outcome=outcome, error=error)
    return Ended(name=name, partition=partition, outcome=outcome)


def _broken(loom: Loom, name: str, options: RunOptions) -> Ended:
    try:
        loom.run(name, options)
    except LoomError as error:
        return Ended(name=name, error=error)
    return Ended(name=name)


def run_dagster(
    loom: Loom, keys: Mapping[str, Sequence[str]], options: RunOptions, watch: Watch
) -> list[Ended]:
    """In one Dagster run, or one a partition, in the project's own Dagster home: its UI shows it."""
    from loom_dagster.assets import materialize

    outcomes = materialize(loom.settings.root, list(keys), options, watch, partitions=keys)
    ended = [Ended(name=o.pipeline, partition=o.partition, outcome=o) for o in outcomes]
    waiting: set[str] = {each.name for each in ended if each.waits}
    for i, each in enumerate(ended):
        above = tuple(sorted({*loom.project.upstream(each.name)} & waiting))
        if above and each.outcome is not None and each.outcome.stopped_kind == "upstream":
            ended[i] = Ended(name=each.name, partition=each.partition, waits_for=above, for_batches=True)
            waiting.add(each.name)
    return ended


def report(ended: Sequence[Ended], *, as_json: bool) -> int:
    """Print how it went; gives the exit code, which is the worst one."""
    code = max((e.exit_code for e in ended), default=INTERRUPTED)
    if as_json:
        emit({"runs": [e.document() for e in ended], "exit_code": code})
    else:
        show(ended, Terminal(sys.stdout))
    return code


def show(ended: Sequence[Ended], terminal: Terminal) -> None:
    """The page of each pipeline, and one line a pipeline when there are several."""
    from loom_dagster.cli.summary import summarise
    from loom_dagster.cli.verdict import verdict

    rows: list[tuple[str, str, str]] = []
    for each in ended:
        if rows and (each.outcome is not None or each.waits_for):
            terminal.line()
        if each.outcome is not None:
            summarise(each.outcome, terminal)
            sign, sentence = verdict(each.outcome)
            rows.append((terminal.sign(sign), shown(each), sentence))
        if each.error is not None:
            show_error(Terminal(sys.stderr), each.error)
            if each.outcome is None:
                rows.append((terminal.sign("bad"), shown(each), each.error.what))
        if each.waits_for:
            waits = ", which waits for a batch" if each.for_batches else ""
            sentence = f"not run: it reads from {', '.join(each.waits_for)}{waits}"
            terminal.line(f"Pipeline: {shown(each)}", "bold")
            terminal.line(f"{terminal.sign('warn')} {sentence}")
            rows.append((terminal.sign("warn"), shown(each), sentence))
    if len(ended) > 1:
        terminal.line()
        terminal.table(rows)


def shown(each: Ended) -> str:
    """What a line speaks of."""
    return f"{each.name}, {each.partition}" if each.partition else each.name
