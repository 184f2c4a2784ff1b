"""What was spent, from the books of a project; calls that killed runs had in flight are settled first."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from loom_dagster.assembly.plan import paid_for
from loom_dagster.costs import Spent, fields_for, spent_by

if TYPE_CHECKING:
    from loom_dagster.assembly.state import State

__all__ = ["Report", "spending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``rows`` by what was asked, and their ``total``. ``unpriced``: calls of unknown price, by model. ``in_flight``: USD
    reserved for calls that are going on; ``ordered``: for batches that are not settled."""

    by: Sequence[str]
    rows: Sequence[Spent]
    total: Spent
    unpriced: dict[str, int]
    in_flight: float
    ordered: float


def spending(
    loom: State, by: Sequence[str], *, pipeline: str | None, since: date | None, until: date | None
) -> Report:
    """By ``costs.BY``; days are UTC's and both included."""
    books = loom.ledger.books
    if loom.answer_place.exists():
        with contextlib.closing(loom.answers()) as store:
            books.settle(functools.partial(paid_for, store))
    else:
        books.settle(lambda key, since: None)
    asked = functools.partial(books.rows, pipeline=pipeline, since=since, until=until)
    [total] = spent_by(asked([]), [])
    return Report(
        by=by,
        rows=spent_by(asked(fields_for(by)), by),
        total=total,
        unpriced={row.by[0]: row.unpriced for row in spent_by(asked(["model"]), ["model"]) if row.unpriced},
        in_flight=books.in_flight(pipeline),
        ordered=books.ordered(pipeline),
    )
