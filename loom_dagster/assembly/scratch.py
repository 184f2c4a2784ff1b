"""Folders for what a run spills: gone when it ends, however it ends.

The state folder may be on a volume that several containers share, whose processes have the same numbers: nobody
sweeps up after another machine, whose processes it cannot see.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

from loom_dagster.ledger import this_process
from loom_dagster.records import digest

__all__ = ["left_behind", "scratch_in"]


@contextlib.contextmanager
def scratch_in(state: Path) -> Iterator[Path]:
    """A folder below ``state``, which exists."""
    base = state / "scratch"
    base.mkdir(exist_ok=True)
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{_machine()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left_behind(state: Path, before: datetime, batches: Collection[str]) -> list[Path]:
    """What killed processes left (on other machines: what is older), and older reports: of crashes, and of runs, which hold records; and
    older questions that are of none of these ``batches``."""
    questions = (path for path in state.glob("batches/*.jsonl") if path.stem not in batches)
    written = (*state.glob("crash-*.txt"), *state.glob("reports/*.html"), *questions)
    old = (f for f in written if datetime.fromtimestamp(f.stat().st_mtime, UTC) < before)
    return [*_dead(state / "scratch", before), *sorted(old)]


def _sweep(base: Path) -> None:
    for folder in _dead(base):
        shutil.rmtree(folder, ignore_errors=True)


def _dead(base: Path, before: datetime | None = None) -> list[Path]:
    """Of processes of this machine that are no more; of other machines, what is older than ``before``."""
    if not base.is_dir() or not Path("/proc").exists():
        return []
    found, here = [], _machine()
    for folder in sorted(base.iterdir()):
        pid, _, rest = folder.name.partition("-")
        if rest.partition("-")[0] == here:
            gone = pid.isdigit() and not Path("/proc", pid).exists()
        else:
            gone = before is not None and datetime.fromtimestamp(folder.stat().st_mtime, UTC) < before
        if gone:
            found.append(folder)
    return found


def _machine() -> str:
    """The machine and its space of process numbers, in a few letters."""
    return digest(this_process().host).hex()[:8]
