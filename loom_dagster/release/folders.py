"""Where snapshots lie: `datasets/<pipeline>/<partition>/<run>`, with names every file system takes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

__all__ = ["TOGETHER", "encoded", "slot"]

TOGETHER = ".together"  # beside the partitions of a pipeline: tables of several, for who reads them at once

_LONGEST = 100


def slot(state: Path, pipeline: str, partition: str) -> Path:
    """The folder of all snapshots of a pipeline's partition; ``all`` when it has none."""
    return state / "datasets" / encoded(pipeline) / (_partition(partition) if partition else "all")


def encoded(name: str) -> str:
    """``name`` in [a-z0-9_.-]; a name that has to be changed gets a hash, so that no two meet."""
    plain = re.sub(r"[^a-z0-9_.-]", "_", name.lower())[:_LONGEST]
    if plain == name and not plain.startswith("."):
        return name
    mark = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{plain.lstrip('.')}-{mark}"


def _partition(partition: str) -> str:
    name = encoded(partition)
    return f"{name}-partition" if name == "all" else name
