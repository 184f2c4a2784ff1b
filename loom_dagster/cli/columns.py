"""Columns of numbers, and rows of small bars, in a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from loom_dagster.cli.terminal import Terminal, cells
from loom_dagster.reports.sparkline import sparkline
from loom_dagster.reports.trends import Trend

__all__ = ["bars", "show_columns", "width_of", "without_empty"]


def show_columns(
    terminal: Terminal, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str]
) -> None:
    """A table of which the columns named in ``right`` end below each other."""
    widths = [max(cells(line[at]) for line in (head, *rows)) for at in range(len(head))]

    def padded(line: Sequence[str]) -> list[str]:
        return [
            " " * (width - cells(cell)) + cell if name in right else cell
            for name, cell, width in zip(head, line, widths, strict=True)
        ]

    terminal.table([padded(row) for row in rows], head=padded(head))


def width_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns of a terminal that the table takes."""
    return sum(max(cells(line[at]) for line in (head, *rows)) + 2 for at in range(len(head))) - 2


def without_empty(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, optional: Collection[str]
) -> tuple[list[str], list[list[str]]]:
    """``head`` and ``rows`` without those of the ``optional`` columns in which nothing stands."""
    kept = [
        at
        for at, name in enumerate(head)
        if name not in optional or any(row[at] not in ("", "-") for row in rows)
    ]
    return [head[at] for at in kept], [[row[at] for at in kept] for row in rows]


def bars(terminal: Terminal, trend: Trend) -> str:
    """Its values as small bars. Shares and scores that differ by little are not blown up to the whole height."""
    known = [v for v in trend.values if v is not None]
    low = high = None
    if trend.kind in ("share", "score") and known:
        low, high = min(*known, max(known) - 0.1) if len(known) > 1 else 0.0, max(known)
    elif known:
        low = 0.0
    return sparkline(trend.values, low=low, high=high, unicode=bool(terminal.ellipsis))
