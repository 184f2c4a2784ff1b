"""Which snapshots nobody reads any more, and the folders they leave."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from loom_dagster.ledger import Slot, SnapshotRow
from loom_dagster.release.folders import TOGETHER
from loom_dagster.release.folders import slot as folder_of

__all__ = ["bytes_in", "copies", "leftovers", "remove", "unread"]

_RUN = re.compile(r"\.?\d{8}T\d{6}-[0-9a-f]+(-retried)?(\.[a-z]+)?")  # as the folders of snapshots are called


def unread(slot: Slot, before: datetime, *, stream: bool, abandoned: bool) -> list[SnapshotRow]:
    """The snapshots from before then that nobody reads, loads or has to decide on.

    Never the newest one, nor the newest released one with everything that it is added to, nor one with records that wait in
    quarantine, nor that of a run that goes on; of a ``stream`` none that is not loaded. ``abandoned``: the pipeline is
    gone, and nobody reads it at all; nor does anybody read a trial.
    """
    kept = slot.waiting | slot.going_on
    if not abandoned and not slot.partition.startswith("~"):
        kept |= {row.run_id for row in slot.rows[:1]}
        released = [row for row in slot.rows if row.released_at is not None]
        for row in released:
            kept |= {row.run_id}
            if not row.increment:
                break
        if stream:
            kept |= {row.run_id for row in released if row.loaded_at is None}
    old = (row for row in slot.rows if row.cleaned_at is None and _last_word(row) < before)
    return [row for row in old if row.run_id not in kept]


def _last_word(row: SnapshotRow) -> datetime:
    return max(row.created_at, row.released_at or row.created_at)


def leftovers(state: Path, pipeline: str, slot: Slot, before: datetime) -> list[Path]:
    """Folders without a snapshot: of removed ones, at any age, and older ones of runs that were killed or went on. What
    somebody else has put there is not ours."""
    place = folder_of(state, pipeline, slot.partition)
    if slot.taken or not place.is_dir():
        return []
    there = {row.folder for row in slot.rows if row.cleaned_at is None}
    removed = {row.folder for row in slot.rows if row.cleaned_at is not None}
    return [
        folder
        for folder in sorted(place.iterdir())
        if folder.is_dir()
        and folder.name not in there
        and (folder.name in removed or (_RUN.fullmatch(folder.name) and _left(folder, slot.going_on, before)))
    ]


def copies(state: Path, pipeline: str, before: datetime) -> list[Path]:
    """Tables of several partitions that were put together before then; who reads them makes them anew."""
    made = folder_of(state, pipeline, "").with_name(TOGETHER).glob("*.parquet")
    return sorted(f for f in made if datetime.fromtimestamp(f.stat().st_mtime, UTC) < before)


def _left(folder: Path, going_on: frozenset[str], before: datetime) -> bool:
    run_id = folder.name.lstrip(".").partition(".")[0].removesuffix("-retried")
    return run_id not in going_on and datetime.fromtimestamp(folder.stat().st_mtime, UTC) < before


def bytes_in(paths: Sequence[Path]) -> int:
    """Of all files there; what goes while we look counts nothing."""
    return sum(_size(file) for path in paths for file in _files(path))


def remove(paths: Sequence[Path]) -> list[Path]:
    """Take them away; of a link the link, never what it leads to. Gives those that could not be removed."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return [path for path in paths if os.path.lexists(path)]


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink():
        return iter(())
    return path.rglob("*") if path.is_dir() else iter([path])


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0
