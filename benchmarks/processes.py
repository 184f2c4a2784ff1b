"""What all processes with a mark in their environment took, by what they are for: looked up in /proc while they run.

A cluster is many processes that nobody of ours has started or waits for; whatever they start inherits the mark.
CPU is what a process had used when it was last seen, so that those that have ended count too (Linux only).
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["MARK", "Processes", "Took", "marked"]

MARK = "LOOM_BENCH_PROCESSES"
_EVERY = 0.25  # seconds between two looks
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Took:
    """CPU seconds, and the most megabytes that were resident at one look."""

    role: str
    cpu: float
    peak_mb: float


def marked(mark: str) -> Iterator[int]:
    """The processes whose environment has the mark."""
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
            except OSError:
                continue  # it has ended, or is not ours


class Processes:
    """Looks until it is left; then ``by_role`` says what was taken since it was entered."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._before: dict[tuple[int, str], float] = {}
        self._seen: dict[tuple[int, str], Took] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self.look()
        self._before = {process: took.cpu for process, took in self._seen.items()}
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._done.set()
        self._thread.join()
        self.look()

    def by_role(self) -> dict[str, Took]:
        """CPU is the sum of a role's processes, memory that of the largest."""
        found: defaultdict[str, Took] = defaultdict(lambda: Took("", 0.0, 0.0))
        for process, took in self._seen.items():
            of = found[took.role]
            of.role = took.role
            of.cpu += took.cpu - self._before.get(process, 0.0)
            of.peak_mb = max(of.peak_mb, took.peak_mb)
        return dict(found)

    def _watch(self) -> None:
        while not self._done.wait(_EVERY):
            self.look()

    def look(self) -> None:
        """At all of them, now."""
        for pid in marked(self._mark):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
                words = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue
            fields = stat.rpartition(")")[2].split()  # the name before it may have anything in it
            cpu = (int(fields[11]) + int(fields[12])) / _TICK
            took = self._seen.setdefault((pid, fields[19]), Took("", 0.0, 0.0))
            took.role, took.cpu = role(words) or took.role, cpu
            took.peak_mb = max(took.peak_mb, int(fields[21]) * _PAGE / 1e6)


def role(words: str) -> str:
    """What a process is for, by its command line; empty when it has none any more."""
    if words.startswith("ray::"):
        name = words.partition("::")[2].partition(" ")[0]
        known = {"TillActor": "till", "WorkerActor": "worker", "IDLE": "idle"}
        return next((role for start, role in known.items() if name.startswith(start)), "ray")
    if "loom_dagster" in words:
        return "driver"
    return "ray" if words.strip() else ""
