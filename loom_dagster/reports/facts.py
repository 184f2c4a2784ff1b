"""What a report is made of: everything that is known of a run, read and ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loom_dagster.ledger import RunNumbers
from loom_dagster.reports.comparison import Numbers
from loom_dagster.reports.survey import Survey, WorstRecord

__all__ = ["Previous", "RunFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """The released run before. ``same_data``: it gave the same records the same answers."""

    numbers: Numbers
    versions: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    same_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """``run`` and its ``outcome`` as kept (empty for one that never ended); ``state`` in one word. ``survey`` is None when
    there are no tables to look at, and ``no_tables`` says why. ``worst`` with source and output of each. ``earlier``: the
    runs up to this one, newest first."""

    run: RunNumbers
    state: str
    outcome: Mapping[str, Any]
    made_at: datetime
    survey: Survey | None = None
    no_tables: str = ""
    worst: Sequence[WorstRecord] = ()
    why_released: str = ""
    previous: Previous | None = None
    earlier: Sequence[RunNumbers] = ()
