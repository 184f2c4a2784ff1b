"""``loom stream``: a pipeline that consumes a stream, for as long as it is let."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loom_dagster.cli.exits import OK, error_document, exit_code_of, show_error
from loom_dagster.cli.figures import counted, dollars, seconds
from loom_dagster.cli.options import AsJson, ProjectDir, open_loom
from loom_dagster.cli.output import as_plain
from loom_dagster.cli.terminal import Terminal
from loom_dagster.errors import LoomError
from loom_dagster.events import Event, Note

if TYPE_CHECKING:
    from loom_dagster.pipeline import BatchDone, Consumed

__all__ = ["stream"]


def stream(
    name: Annotated[str, typer.Argument(metavar="PIPELINE", help="A pipeline whose source is a stream.")],
    batches: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after N batches.")] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="Stop when no message waits, as a cron job would.")
    ] = False,
    project: ProjectDir = None,
    as_json: AsJson = False,
) -> int:
    """Consume a stream: batch by batch extract, transform, evaluate, load, then acknowledge."""
    loom = open_loom(project)
    loom.project.pipeline(name)
    from loom_dagster.cli.interrupts import interruptible
    from loom_dagster.cli.light import arrow_without_pandas, keep_imports
    from loom_dagster.pipeline import Stop

    arrow_without_pandas()
    keep_imports()
    stop, told = Stop(), _Told(name, as_json=as_json)
    work = partial(
        loom.stream,
        name,
        batches=batches,
        until_empty=until_empty,
        listen=told.hear,
        done=told.batch,
        stop=stop,
    )
    try:
        return told.end(interruptible(work, stop, told.say))
    except LoomError as error:
        return told.failed(error)


class _Told:
    """A line a batch on stdout (with --json one JSON object a line), notes on stderr."""

    def __init__(self, name: str, *, as_json: bool) -> None:
        self._name, self._as_json = name, as_json
        self._out, self._err = Terminal(sys.stdout), Terminal(sys.stderr)
        self._held = False

    def say(self, text: str) -> None:
        self._err.line(text)

    def hear(self, event: Event) -> None:
        if isinstance(event, Note):
            self._err.paragraph(f"{event.pipeline}: {event.text}")

    def batch(self, done: BatchDone) -> None:
        self._held = done.stops and done.outcome is not None and done.outcome.status == "held"
        if self._as_json:
            self._emit({"batch": _document(done)})
        else:
            self._out.line(_sentence(self._name, done))

    def end(self, consumed: Consumed) -> int:
        if self._as_json:
            self._emit({"pipeline": self._name, **asdict(consumed)})
            return consumed.exit_code
        if consumed.exit_code == OK:
            sign, how = "good", "stopped; every message that was taken is settled and acknowledged"
        else:
            sign, how = "bad", f"stopped: {consumed.why}"
        self._out.line(
            f"{self._out.sign(sign)} {self._name}: {how}. {counted(consumed.messages, 'message')} in "  # type: ignore[arg-type]
            f"{counted(consumed.batches, 'batch', 'batches')}, {consumed.loaded:,} loaded, {dollars(consumed.cost)}"
        )
        if self._held:
            name = shlex.quote(self._name)
            self._out.line("   its messages stay in the stream; mend the pipeline, or let them through:")
            self._out.line(f"   loom quarantine list {name}")
            self._out.line(f'   loom release {name} --why "..." && loom stream {name}')
        return consumed.exit_code

    def failed(self, error: LoomError) -> int:
        if self._as_json:
            self._emit(
                {"pipeline": self._name, "error": error_document(error), "exit_code": exit_code_of(error)}
            )
        else:
            show_error(self._err, error)
        return exit_code_of(error)

    def _emit(self, document: dict[str, Any]) -> None:
        self._out.write(json.dumps(as_plain(document)) + "\n")


def _document(done: BatchDone) -> dict[str, Any]:
    """For ``--json``: what scripts look at, not the whole outcome."""
    outcome = done.outcome
    document: dict[str, Any] = {
        "number": done.number,
        "messages": done.messages,
        "settled_before": done.settled,
        "acknowledged": not done.stops,
        "behind": done.behind,
        "seconds": round(done.seconds, 3),
    }
    if outcome is not None:
        document |= {
            "run_id": outcome.run_id,
            "status": outcome.status,
            "passed": outcome.counts.passed,
            "quarantined": outcome.counts.quarantined,
            "deferred": outcome.counts.deferred,
            "cost": outcome.spending.total,
            "reason": outcome.stopped_by or outcome.verdict.reason,
        }
    return document


def _sentence(name: str, done: BatchDone) -> str:
    parts = [f"{name}: batch {done.number:,}: {counted(done.messages, 'message')}"]
    if done.settled:
        parts.append(f"{done.settled:,} settled before and loaded")
    if done.outcome is not None:
        counts = done.outcome.counts
        parts += [f"{counts.passed:,} passed", f"{counts.quarantined:,} rejected"]
        if counts.deferred:
            parts.append(f"{counts.deferred:,} deferred")
        parts.append(dollars(done.outcome.spending.total))
    if done.stops:
        parts.append("not acknowledged")
    if done.behind is not None:
        parts.append(f"{done.behind:,} behind")
    return f"{', '.join(parts)} ({seconds(done.seconds)})"
