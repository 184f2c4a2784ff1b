"""Folders for what a run spills: gone when it ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["left_behind", "scratch_in"]


@contextlib.contextmanager
def scratch_in(state: Path) -> Iterator[Path]:
    """A folder below ``state``, which exists."""
    base = state / "scratch"
    base.mkdir(exist_ok=True)
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left_behind(state: Path, before: datetime, batches: Collection[str]) -> list[Path]:
    """What killed processes of this machine left, and older reports: of crashes, and of runs, which hold records; and
    older questions that are of none of these ``batches``."""
    questions = (path for path in state.glob("batches/*.jsonl") if path.stem not in batches)
    written = (*state.glob("crash-*.txt"), *state.glob("reports/*.html"), *questions)
    old = (f for f in written if datetime.fromtimestamp(f.stat().st_mtime, UTC) < before)
    return [*_dead(state / "scratch"), *sorted(old)]


def _sweep(base: Path) -> None:
    for folder in _dead(base):
        shutil.rmtree(folder, ignore_errors=True)


def _dead(base: Path) -> list[Path]:
    if not base.is_dir() or not Path("/proc").exists():
        return []
    named = ((folder, folder.name.partition("-")[0]) for folder in sorted(base.iterdir()))
    return [folder for folder, pid in named if pid.isdigit() and not Path("/proc", pid).exists()]
