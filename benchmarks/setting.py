"""How large a measurement is, who takes part, and how often it is repeated."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import Unavailable
from benchmarks.runs import Job, Running, write_records
from tests.servers.llm import LLMServer

__all__ = ["Row", "Setting", "measured", "run"]

Row = dict[str, float | str]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """``latency`` in seconds; ``here``: everybody with this interpreter, without environments of their own."""

    records: int
    contestants: tuple[str, ...]
    latency: float = 0.2
    in_flight: int = 256
    repeats: int = 1
    kills: int = 20
    sizes: tuple[int, ...] = (100_000, 1_000_000)
    here: bool = False

    @property
    def ideal(self) -> float:
        """Seconds that one call a record takes when nothing else does."""
        return self.records * self.latency / self.in_flight

    @property
    def few(self) -> int:
        """Records of the run that shows what starting costs."""
        return max(1, min(64, self.records // 10))


def run(
    setting: Setting,
    contestant: str,
    folder: Path,
    server: LLMServer,
    *,
    records: int | None = None,
    criteria: str = "",
    pipeline: dict[str, Any] | None = None,
) -> Running:
    """Start ``contestant`` on ``records`` records in ``folder``."""
    count = records or setting.records
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "records.jsonl"
    if not source.exists():
        write_records(source, count)
    job = Job(
        records=source,
        base_url=server.base_url,
        in_flight=setting.in_flight,
        criteria=criteria,
        pipeline=pipeline or {},
    )
    return Running(contestant, job, folder, here=setting.here)


def measured(
    setting: Setting, measure: Callable[[str, Path], Row], *, repeats: int | None = None
) -> list[Row]:
    """One row a contestant: medians of what ``measure(contestant, folder)`` gives, the worst of what was lost,
    double or wrong; or, by name, why there is none. All take their turn before anybody is measured again,
    and who took more than ten times the ideal is not."""
    taken: dict[str, list[Row]] = {name: [] for name in setting.contestants}
    failed: dict[str, str] = {}
    slow: set[str] = set()
    times = setting.repeats if repeats is None else repeats
    patience = 10 * setting.ideal + 30
    for turn in range(times):
        for name in setting.contestants:
            if name in failed or name in slow:
                continue
            print(f"  {name}, {turn + 1} of {times}", file=sys.stderr)
            began = time.monotonic()
            try:
                with tempfile.TemporaryDirectory(prefix="loom-bench-") as folder:
                    taken[name].append(measure(name, Path(folder)))
            except Unavailable as reason:
                failed[name] = str(reason)
            if time.monotonic() - began > patience:
                slow.add(name)
    return [
        {"contestant": name, "reason": failed[name]}
        if name in failed
        else {"contestant": name, **summary(rows)}
        for name, rows in taken.items()
    ]


def summary(rows: list[Row]) -> Row:
    values = {
        key: [float(row[key]) for row in rows if key in row] for key in {key for row in rows for key in row}
    }
    worst = {"lost", "double", "wrong", "overspend", "paid_twice", "received_and_lost"}
    return {key: max(all_) if key in worst else statistics.median(all_) for key, all_ in values.items()} | {
        "runs": len(rows)
    }
