"""What is shown while a run goes on: one live line a pipeline in a terminal, plain lines elsewhere.

It goes to stderr, so that stdout carries the result alone.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from loom_dagster.cli.figures import counted, dollars, release_name, seconds
from loom_dagster.cli.terminal import Terminal, clean
from loom_dagster.clock import Clock, SystemClock
from loom_dagster.events import Event, Note, Progress, RunStarted, StageDone

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["Live", "Plain", "Watch", "watching"]

_EVERY = 10.0


class Watch(Protocol):
    """Somebody who is told, for as long as the ``with`` lasts."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, event: Event) -> None: ...

    def say(self, text: str) -> None:
        """A sentence of the command itself."""


def watching(stream: TextIO) -> Watch:
    """The right one for ``stream``."""
    terminal = Terminal(stream)
    live = terminal.interactive and os.environ.get("TERM") != "dumb"
    return Live(terminal, stream) if live else Plain(terminal)


class Plain:
    """Lines: beginning, end of each stage, notes, and counts every ten seconds."""

    def __init__(self, terminal: Terminal, clock: Clock | None = None) -> None:
        self._terminal = terminal
        self._clock = clock or SystemClock()
        self._said = self._clock.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            now = self._clock.monotonic()
            if now - self._said < _EVERY:
                return
            self._said = now
        self._terminal.line(sentence(event))

    def say(self, text: str) -> None:
        self._terminal.line(text)


class Live:
    """A bar that moves, by rich; notes scroll by above it."""

    def __init__(self, terminal: Terminal, stream: TextIO) -> None:
        # rich is only wanted where somebody watches
        from rich.console import Console
        from rich.live import Live as RichLive
        from rich.text import Text

        self._text = Text
        self._lines: dict[str, str] = {}
        self._console = Console(
            file=stream,
            no_color=not terminal.color,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
        )
        self._live = RichLive(
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            self.say(sentence(event))
        elif not isinstance(event, StageDone):
            self._lines[event.pipeline] = sentence(event)
            lines = self._text("\n".join(map(clean, self._lines.values())), no_wrap=True, overflow="ellipsis")
            self._live.update(lines, refresh=True)

    def say(self, text: str) -> None:
        self._console.print(self._text(clean(text)))


def sentence(event: Event) -> str:
    """An event as one line."""
    if isinstance(event, RunStarted):
        doing = "continuing the run that did not end" if event.resumed else "running"
        model = f"{event.model}, simulated answers" if event.simulated else event.model
        return f"{event.pipeline}{release_name(event.version)}: {doing} with {model}"
    if isinstance(event, StageDone):
        return f"{event.pipeline}: {event.stage} done, {counted(event.records, 'record')} ({seconds(event.seconds)})"
    if isinstance(event, Note):
        return f"{event.pipeline}: {event.text}"
    done = event.passed + event.quarantined + event.deferred
    read = f"{event.extracted:,} read" + ("" if event.exhausted else " so far")
    parts = [
        f"{event.pipeline}: {done:,} of {read}",
        f"{event.passed:,} passed",
        f"{event.quarantined:,} rejected",
    ]
    if event.deferred:
        parts.append(f"{event.deferred:,} deferred")
    return ", ".join([*parts, dollars(event.cost)])
