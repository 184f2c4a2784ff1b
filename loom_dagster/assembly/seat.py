"""A consumer's seat in its group: a name that outlives its process, and notes of the batches it has in hand.

A consumer that is started again sits down where the killed one sat, so that what that one had taken and not
acknowledged is its own. Two that run at once have two seats.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from loom_dagster.errors import Misconfigured

__all__ = ["Notes", "Seat"]

_SEATS = 1000


class Seat:
    """The first free seat in ``folder``; free again when it is closed or the process dies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = self._sit()
        mark = self._file.read().strip()
        if not mark:  # nobody sat here before
            mark = secrets.token_hex(4)
            self._file.write(mark)
            self._file.flush()
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
        self.name = f"{host}-{mark}"

    def _sit(self) -> TextIO:
        for number in range(1, _SEATS):
            file = (self._folder / f"consumer-{number}").open("a+", encoding="ascii")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            file.seek(0)
            return file
        raise Misconfigured(f"{_SEATS} consumers of this pipeline run already", where=str(self._folder))

    def close(self) -> None:
        self._file.close()


class Notes:
    """Which messages a run was given, from before its first call until they are acknowledged: what that run
    has settled is then loaded, and not run again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "batches"
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, run_id: str, ids: Collection[str]) -> None:
        path = self._folder / f"{run_id}.json"
        temporary = path.with_suffix(f".{os.getpid()}.writing")
        temporary.write_text(json.dumps(sorted(ids)), encoding="utf-8")
        temporary.replace(path)

    def of(self, ids: Collection[str]) -> Mapping[str, set[str]]:
        """By run, those of ``ids`` that it was given."""
        wanted = set(ids)
        return {run: both for run, noted in self._all() if (both := wanted & noted)}

    def forget(self, ids: Collection[str]) -> None:
        gone = set(ids)
        for run, noted in self._all():
            if noted <= gone:
                (self._folder / f"{run}.json").unlink(missing_ok=True)
            elif noted & gone:
                self.write(run, noted - gone)

    def _all(self) -> Iterator[tuple[str, set[str]]]:
        for path in sorted(self._folder.glob("*.json")):
            try:
                yield path.stem, set(json.loads(path.read_text(encoding="utf-8")))
            except (FileNotFoundError, ValueError):  # another consumer is done with it; or the disk lost it
                continue
